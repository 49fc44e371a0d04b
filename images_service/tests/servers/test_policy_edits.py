# SPDX-License-Identifier: Apache-2.0
"""policy.json is rewritten in every way while four workers are under load."""

import collections
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from images_service.tests import base
from images_service.tests.servers import processes

RULE = "os_compute_api:images:show"
START = "import sys; from images_service.cmd import api; sys.exit(api.main())"
# How long an edit may take to be in force everywhere.
SECONDS = 2
SLOW, FAST = 16, 184
CALLERS = {
    role: f"{role}:{base.OWNER}:{role}"
    for role in ("alpha", "beta", "always", "never")
}


class TestPolicyEdits(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        conf = base.configuration(
            self.folder, policy=json.loads(self.text("alpha"))
        )
        self.make_store(conf)
        self.port = processes.free_port()
        self.log = os.path.join(self.folder, "api.log")
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-c", START, "--workers", "4"),
                    *("--threads", "4", "--port", str(self.port)),
                    *("--config-file", f"{self.folder}/images_service.conf"),
                ],
                stdout=log,
                stderr=log,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.send_signal, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.ask("always") == 200:
                    break
            except OSError:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
        self.stopping = threading.Event()
        self.answers = []
        # (when an edit began, when it ended, which role is allowed after it)
        self.edits = [(0.0, 0.0, "alpha")]

    def ask(self, role, connection=None):
        own = connection or http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=30
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
                "127.0.0.1", self.port, timeout=30
            )
            for turn in range(20):
                role = roles[(number + turn) % len(roles)]
                start = time.monotonic()
                status = self.ask(role, connection)
                self.answers.append((start, time.monotonic(), role, status))
                time.sleep(0.005)
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

    def break_it(self, role):
        text = random.choice(
            [
                "{",
                '{"no such rule": "!"}',
                f'{{"{RULE}": null}}',
                f'{{"{RULE}": "rule:undefined"}}',
                "",
            ]
        )
        self.write(text, "new")
        os.replace(self.path("new"), self.path())

    def edit(self, number):
        ways = [
            self.truncate_and_write,
            self.rename_over,
            self.put_an_older_one_back,
            self.delete_and_recreate,
            self.indent_with_tabs,
            self.swap_symbolic_links,
            self.break_it,
        ]
        way = ways[number % len(ways)]
        before = self.edits[-1][2]
        role = "beta" if before == "alpha" else "alpha"
        start = time.monotonic()
        way(role)
        after = before if way == self.break_it else role
        self.edits.append((start, time.monotonic(), after))

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
            time.sleep(0.1)
        for number in range(SLOW):
            self.edit(number)
            time.sleep(SECONDS + 0.7)
        self.stopping.set()
        for thread in threads:
            thread.join(30)
        counts = collections.Counter()
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
        with open(self.log, encoding="utf-8") as file:
            refused = re.findall("Policy stays as it was: .*", file.read())
        print(
            f"{len(self.edits) - 1} edits, {len(self.answers)} answers "
            f"{dict(counts)}, {len(refused)} versions refused by 4 workers"
        )
        self.assertGreater(len(refused), 0)
