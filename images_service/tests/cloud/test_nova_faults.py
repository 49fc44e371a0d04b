# SPDX-License-Identifier: Apache-2.0
"""Policy edits, reloads and a frozen database inside Nova."""

import collections
import contextlib
import os
import signal
import threading
import time

from images_service.tests.cloud import novas

# In which Nova's other requests are answered whatever this service's database
# does, and in which a reload is done: each worker imports all of Nova.
SECONDS = 5
RELOAD = 60
# After which a policy file that was edited is in force everywhere.
EDIT = 8

Asked = collections.namedtuple("Asked", "path at status seconds")


class TestFaults(novas.NovaTestCase):
    kinds = ("front", "behind")

    def setUp(self):
        super().setUp()
        self.image_id = self.at_glance("amber").create(name="image")
        self.image = f"/v2.1/images/{self.image_id}"
        for kind in self.kinds:
            # It is fetched from Glance.
            self.assertEqual(200, self.ask(kind, "GET", self.image).status)

    @contextlib.contextmanager
    def asking(self, *paths):
        """Ask each Nova for paths all the time; provide what they answer.

        A status is None where the connection is lost.
        """
        stopping = threading.Event()
        answers: dict[str, list[Asked]] = {kind: [] for kind in self.kinds}

        def ask(kind, path):
            while not stopping.wait(0.05):
                start = time.monotonic()
                status = None
                with contextlib.suppress(OSError):
                    status = self.ask(kind, "GET", path).status
                seconds = time.monotonic() - start
                answers[kind].append(Asked(path, start, status, seconds))

        threads = [
            threading.Thread(target=ask, args=(kind, path))
            for kind in self.kinds
            for path in paths
        ]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            stopping.set()
            for thread in threads:
                thread.join(RELOAD)

    def assertAnswered(self, answers, *, within, lost=0):
        """Check that all answers are 200, and in time.

        :param lost: how many connections may be lost.
        """
        self.assertGreater(len(answers), 10)
        gone = [each for each in answers if each.status is None]
        self.assertLessEqual(len(gone), lost)
        self.assertEqual(
            [],
            [
                each
                for each in answers
                if each.status not in (200, None) or each.seconds > within
            ],
        )

    def write_policy(self, text):
        for kind in self.kinds:
            home = self.novas[kind].environ["HOME"]
            path = f"{home}/.images_service/policy.yaml"
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

    def assertInForce(self, status):
        """Wait until all workers answer lists with a status."""

        def is_in_force():
            found = {
                self.ask(kind, "GET", "/v2.1/images").status
                for kind in self.kinds
                for _ in range(10)
            }
            return found == {status}

        self.assertTrue(self.wait_for(is_in_force, EDIT))

    def test_policy_edits(self):
        workers = {kind: self.novas[kind].workers() for kind in self.kinds}
        self.addCleanup(self.write_policy, "# No rules.\n")
        with self.asking("/v2.1/flavors", self.image) as answers:
            for text, status in (
                ('"os_compute_api:images:index": "!"\n', 403),
                ("# No rules.\n", 200),
                ('"os_compute_api:images:index": "role:none"\n', 403),
                # One that is wrong changes nothing.
                ('"os_compute_api:images:index": [', 403),
                ("# No rules.\n", 200),
            ):
                self.write_policy(text)
                self.assertInForce(status)
        for kind in self.kinds:
            self.assertAnswered(answers[kind], within=SECONDS)
            self.assertEqual(workers[kind], self.novas[kind].workers())

    def test_a_reload_and_a_killed_worker(self):
        front = self.novas["front"]
        with self.asking("/v2.1/flavors", self.image) as answers:
            time.sleep(1)
            found = answers["front"]
            before = len(found)
            front.reload(RELOAD)
            # New workers answer when they have imported all of Nova.
            self.assertTrue(
                self.wait_for(lambda: len(found) > before + 20, RELOAD)
            )
            begun = time.monotonic()
            killed = min(front.workers(), key=int)
            os.kill(int(killed), signal.SIGKILL)
            self.assertTrue(
                self.wait_for(
                    lambda: len(front.workers() - {killed}) == 2, RELOAD
                )
            )
            time.sleep(2)
        # A reload loses no request; a killed worker loses what it was at.
        self.assertAnswered(
            [each for each in found if each.at < begun - 1], within=RELOAD
        )
        self.assertAnswered(
            [each for each in found if each.at >= begun - 1],
            within=RELOAD,
            lost=2,
        )
        self.assertAnswered(answers["behind"], within=RELOAD)

    def test_a_frozen_database(self):
        others = ("/v2.1/flavors", "/v2.1/servers")
        images = ("/v2.1/images", self.image, "/v2.1/images/detail")
        with self.asking(*others, *images) as answers:
            time.sleep(1)
            frozen = time.monotonic()
            with novas.store().frozen():
                # A request that has begun before ends after 4 seconds, the
                # next one 4 seconds later.
                time.sleep(10)
            back = time.monotonic()
            time.sleep(SECONDS)
        for kind in self.kinds:
            found = [each for each in answers[kind] if each.path in others]
            self.assertAnswered(found, within=SECONDS)
            slowest = max(each.seconds for each in found)
            print(f"{kind}: others within {slowest:.2f} s")
            found = [each for each in answers[kind] if each.path in images]
            meanwhile = set()
            for each in found:
                self.assertLess(each.seconds, SECONDS + 1)
                ended = each.at + each.seconds
                if ended < frozen or each.at > back + SECONDS - 2:
                    self.assertEqual(200, each.status)
                elif frozen < each.at and ended < back:
                    meanwhile.add(each.status)
            self.assertEqual({503}, meanwhile)
