# SPDX-License-Identifier: Apache-2.0
"""policy.json is rewritten in every way while four workers are under load."""

import collections
import http.client
import json
import os
import random
import re
import threading
import time

from images_service.tests import base
from images_service.tests.servers import processes

RULE = "os_compute_api:images:show"
# How long an edit may take to be in force everywhere.
SECONDS = 2
SLOW, FAST = 20, 180
WORKERS = 4
CALLERS = {
    role: f"{role}:{base.OWNER}:{role}"
    for role in ("alpha", "beta", "always", "never")
}


class TestPolicyEdits(base.TestCase):
    def setUp(self):
        super().setUp()
        self.api = processes.Api(self.make_folder(), workers=WORKERS)
        self.folder = self.api.folder
        conf = base.configuration(
            self.folder, policy=json.loads(self.text("alpha"))
        )
        self.make_store(conf)
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()
        self.stopping = threading.Event()
        self.answers = []
        # (when an edit began, when it ended, which role is allowed after it)
        self.edits = [(0.0, 0.0, "alpha")]

    def ask(self, role, connection=None):
        own = connection or http.client.HTTPConnection(
            "127.0.0.1", self.api.port, timeout=30
        )
        own.request(
            "GET",
            f"/v2.1/images/{base.IDS['own']}",
            headers={"X-Auth-Token": CALLERS[role]},
        )
        response = own.getresponse()
        response.read()
        if connection is None:
            own.close()
        return response.status

    def ask_on(self, number):
        roles = list(CALLERS)
        while not self.stopping.is_set():
            # A new connection now and then, so that every worker is asked.
            connection = http.client.HTTPConnection(
                "127.0.0.1", self.api.port, timeout=30
            )
            for turn in range(20):
                role = roles[(number + turn) % len(roles)]
                start = time.monotonic()
                status = self.ask(role, connection)
                self.answers.append((start, time.monotonic(), role, status))
                # Tests with limits may run beside.
                time.sleep(0.05)
            connection.close()

    # What editors and people do to the file.

    def path(self, name="policy.json"):
        return os.path.join(self.folder, name)

    def text(self, role, tabs=False):
        rules = {RULE: f"role:{role} or role:always"}
        return json.dumps(rules, indent="\t" if tabs else None)

    def write(self, text, name="policy.json"):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def truncate_and_write(self, role):
        with open(self.path(), "w", encoding="utf-8") as file:
            file.flush()
            time.sleep(0.02)
            text = self.text(role)
            file.write(text[:20])
            file.flush()
            time.sleep(0.02)
            file.write(text[20:])

    def rename_over(self, role):
        self.write(self.text(role), "new")
        os.replace(self.path("new"), self.path())

    def put_an_older_one_back(self, role):
        self.write(self.text(role), "new")
        past = random.randrange(10**9)
        os.utime(self.path("new"), (past, past))
        os.replace(self.path("new"), self.path())

    def delete_and_recreate(self, role):
        os.unlink(self.path())
        time.sleep(0.02)
        self.write(self.text(role))

    def indent_with_tabs(self, role):
        self.write(self.text(role, tabs=True), "new")
        os.replace(self.path("new"), self.path())

    def swap_symbolic_links(self, role):
        name = f"{role}-{len(self.edits)}.json"
        self.write(self.text(role), name)
        os.symlink(name, self.path("link"))
        os.replace(self.path("link"), self.path())

    # What can't be taken. Each version stands on a line of its own, by which
    # the log tells it from all others.

    def break_it(self, text):
        self.write("\n" * len(self.edits) + text, "new")
        os.replace(self.path("new"), self.path())

    def break_the_json(self, role):
        self.break_it("{")

    def mistype_a_name(self, role):
        self.break_it('{"no such rule": "!"}')

    def write_null(self, role):
        self.break_it(f'{{"{RULE}": null}}')

    def refer_to_nothing(self, role):
        self.break_it(f'{{"{RULE}": "rule:undefined"}}')

    def edit(self, number):
        good = [
            self.truncate_and_write,
            self.rename_over,
            self.put_an_older_one_back,
            self.delete_and_recreate,
            self.indent_with_tabs,
            self.swap_symbolic_links,
        ]
        bad = [
            self.break_the_json,
            self.mistype_a_name,
            self.write_null,
            self.refer_to_nothing,
        ]
        ways = good + bad
        way = ways[number % len(ways)]
        before = self.edits[-1][2]
        role = "beta" if before == "alpha" else "alpha"
        start = time.monotonic()
        way(role)
        after = before if way in bad else role
        self.edits.append((start, time.monotonic(), after))
        return way in bad

    def refusals(self):
        """Return how often each worker has refused each line that is wrong."""
        with open(self.api.log, encoding="utf-8") as file:
            lines = re.findall(
                r"^\S+ \S+ (\d+) ERROR .* Policy stays as it was: "
                r".*policy\.json:(\d+): ",
                file.read(),
                re.MULTILINE,
            )
        return collections.Counter((pid, int(line)) for pid, line in lines)

    def wait_for_all_workers(self, line):
        """Wait until each worker has refused a line, or for ten seconds.

        A worker reads the file when it is asked, and it may happen that all
        connections are with others.
        """
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if sum(key[1] == line for key in self.refusals()) == WORKERS:
                return
            time.sleep(0.1)

    def possible(self, start, end):
        """Return the roles that may be allowed during some time."""
        found = {
            role
            for (_, done, role), (following, _, _) in zip(
                self.edits, [*self.edits[1:], (end, 0, None)], strict=True
            )
            # It may be in force from its beginning on, and until two seconds
            # after the end of the next one.
            if done <= end and following + SECONDS + 0.5 >= start
        }
        return found | {
            role for begun, done, role in self.edits if begun <= end <= done
        }

    def test_no_false_answer_for_longer_than_two_seconds(self):
        threads = [
            threading.Thread(target=self.ask_on, args=(number,))
            for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for number in range(FAST):
            self.edit(number)
            time.sleep(random.uniform(0.01, 0.2))
        seen_by_all = []
        for number in range(SLOW):
            is_bad = self.edit(number)
            time.sleep(SECONDS + 0.7)
            if is_bad:
                # Of the line that the version stands on.
                seen_by_all.append(len(self.edits))
                self.wait_for_all_workers(len(self.edits))
        self.stopping.set()
        for thread in threads:
            thread.join(30)
        counts: collections.Counter = collections.Counter()
        for start, end, role, status in self.answers:
            self.assertIn(status, (200, 403))
            counts[role, status] += 1
            allowed = self.possible(start, end) | {"always"}
            if status == 200:
                self.assertIn(role, allowed)
            elif role in allowed:
                # Denied, so the other role was in force.
                self.assertNotEqual({role, "always"}, allowed)
        self.assertEqual(0, counts["always", 403])
        self.assertEqual(0, counts["never", 200])
        for role in ("alpha", "beta"):
            self.assertGreater(counts[role, 200], 0)
            self.assertGreater(counts[role, 403], 0)
        refusals = self.refusals()
        print(
            f"{len(self.edits) - 1} edits, {len(self.answers)} answers "
            f"{dict(counts)}, {len(refusals)} refusals of {WORKERS} workers"
        )
        self.assertEqual({1}, set(refusals.values()))
        self.assertEqual(WORKERS, len({pid for pid, _ in refusals}))
        for line in seen_by_all:
            refused = [key for key in refusals if key[1] == line]
            self.assertEqual(WORKERS, len(refused), line)


class TestAWriterThatPauses(base.TestCase):
    """policy.yaml is rewritten in place, and half of it is good YAML."""

    rules = (
        "os_compute_api:images:index",
        "os_compute_api:images:detail",
        "os_compute_api:images:show",
    )

    def setUp(self):
        super().setUp()
        self.api = processes.Api(self.make_folder(), workers=WORKERS)
        self.path = os.path.join(self.api.folder, "policy.yaml")
        conf = base.configuration(
            self.api.folder, oslo_policy={"policy_file": "policy.yaml"}
        )
        with open(self.path, "w", encoding="utf-8") as file:
            file.writelines(self.lines("old"))
        self.make_store(conf)
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()

    def lines(self, role):
        """Return a file that denies all but a role; the denials come last."""
        comment = "# Who reads images, and why.\n" * 20
        return [
            comment,
            *(f'"{rule}": "role:{role}"\n' for rule in self.rules),
        ]

    def ask(self, role, path):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.api.port, timeout=30
        )
        token = f"{role}:{base.OWNER}:{role}"
        connection.request("GET", path, headers={"X-Auth-Token": token})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    def allowed(self, role):
        """Return what a role reads, of each path asked for 8 times."""
        paths = (
            "/v2.1/images",
            "/v2.1/images/detail",
            f"/v2.1/images/{base.IDS['own']}",
        )
        statuses: collections.Counter[int] = collections.Counter()
        for _ in range(8):
            for path in paths:
                statuses[self.ask(role, path)] += 1
                time.sleep(0.02)
        return statuses

    def assertInForce(self, role, other):
        time.sleep(SECONDS + 0.5)
        self.assertEqual({200: 24}, self.allowed(role))
        self.assertEqual({403: 24}, self.allowed(other))

    def test_a_yaml_file_paused_in_its_writing(self):
        for pause in (0.3, 3):
            with open(self.path, "w", encoding="utf-8") as file:
                for line in self.lines("new"):
                    file.flush()
                    time.sleep(pause)
                    self.assertEqual({403: 24}, self.allowed("other"))
                    file.write(line)
            self.assertInForce("new", "old")
            with open(self.path, "w", encoding="utf-8") as file:
                file.writelines(self.lines("old"))
            self.assertInForce("old", "new")

    def test_a_yaml_file_that_grows_for_long(self):
        text = "".join(self.lines("new"))
        with open(self.path, "w", encoding="utf-8") as file:
            for number in range(0, len(text), 10):
                file.write(text[number : number + 10])
                file.flush()
                self.assertEqual(403, self.ask("other", "/v2.1/images"))
                time.sleep(0.05)
        self.assertInForce("new", "old")

    def test_rules_that_are_left_out_have_their_defaults_again(self):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("# No rules.\n")
        time.sleep(SECONDS + 0.5)
        self.assertEqual({200: 24}, self.allowed("other"))
