# SPDX-License-Identifier: Apache-2.0
"""Keystone, and memcached, that take connections and answer nothing."""

import json
import os
import threading
import time

import requests

from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.servers import processes

# What the contract grants an answer, and what needs neither of the two.
SECONDS = 6
AT_ONCE = 1
FROZEN = 12
UNKNOWN = 16


class TestFrozen(base.TestCase):
    def setUp(self):
        super().setUp()
        if not processes.Memcached.installed():
            self.skipTest("memcached is not installed")
        folder = self.make_folder()
        self.tokens = {
            name: ["alice", base.OWNER, ["member", "reader"]]
            for name in ("known", *(f"t{n}" for n in range(5_000)))
        }
        path = os.path.join(folder, "tokens.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.tokens, file)
        self.keystone = processes.Stub(folder, keystone.__name__, path)
        self.memcached = processes.Memcached(folder)
        self.api = processes.Api(folder)
        options = keystone.options(self.keystone.url)
        del options["http_request_max_retries"]
        conf = base.configuration(
            self.api.folder,
            api={"auth_strategy": "keystone"},
            keystone_authtoken=options
            | {"memcached_servers": self.memcached.address},
        )
        self.make_store(conf)
        for server in (self.keystone, self.memcached, self.api):
            self.addCleanup(server.stop)
            server.start()
            server.wait()
        self.numbers = iter(range(5_000))
        self.stopping = threading.Event()
        self.answers = []
        self.failures = []

    def get(self, path, token=None):
        headers = {} if token is None else {"X-Auth-Token": token}
        start = time.monotonic()
        try:
            response = requests.get(
                f"{self.api.url}{path}", headers=headers, timeout=20
            )
        except requests.RequestException as error:
            self.failures.append((path, token, error))
            raise
        end = time.monotonic()
        self.answers.append((path, token, start, end, response))
        return response

    def ask_on(self, path, token=None):
        while not self.stopping.is_set():
            self.get(path, token or f"t{next(self.numbers)}")
            time.sleep(0.25)

    def ask_publicly(self, path):
        while not self.stopping.is_set():
            self.get(path)
            time.sleep(0.1)

    def freeze(self, server):
        """Ask for some seconds while a server is stopped; return the span."""
        self.assertEqual(200, self.get("/v2.1/images", "known").status_code)
        threads = [
            *(
                threading.Thread(target=self.ask_on, args=("/v2.1/images",))
                for _ in range(UNKNOWN)
            ),
            threading.Thread(
                target=self.ask_on, args=("/v2.1/images", "known")
            ),
            threading.Thread(target=self.ask_publicly, args=("/",)),
            threading.Thread(target=self.ask_publicly, args=("/healthcheck",)),
        ]
        for thread in threads:
            thread.start()
        try:
            time.sleep(2)
            with server.frozen():
                frozen = time.monotonic()
                time.sleep(FROZEN)
            thawed = time.monotonic()
            time.sleep(8)
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join(60)
        return frozen, thawed

    def check(self, thawed):
        self.assertEqual([], self.failures, self.api.last_words())
        for path, token, start, end, response in self.answers:
            self.assertLess(end - start, SECONDS, (path, token))
            if response.status_code != 200:
                self.assertEqual(503, response.status_code, response.text)
                self.assertIn("serviceUnavailable", response.json())
                self.assertIn("Retry-After", response.headers)
                self.assertLess(start, thawed + 5)
        counts: dict[tuple[str, bool, int], tuple[int, float]] = {}
        for path, token, start, end, response in self.answers:
            what = (path, token == "known", response.status_code)
            count, slowest = counts.get(what, (0, 0.0))
            counts[what] = count + 1, max(slowest, round(end - start, 2))
        print(self.id(), counts)

    def assertAtOnce(self, answers):
        """Assert that none has waited for what hangs; machines are busy."""
        seconds = sorted(end - start for _, _, start, end, _ in answers)
        self.assertGreater(len(seconds), 5)
        self.assertLess(seconds[len(seconds) * 3 // 4], AT_ONCE)
        self.assertLess(seconds[-1], 3 * AT_ONCE)

    def test_keystone(self):
        frozen, thawed = self.freeze(self.keystone)
        self.check(thawed)
        meanwhile = [
            answer
            for answer in self.answers
            if frozen + 0.5 < answer[2] and answer[3] < thawed
        ]
        needless = [a for a in meanwhile if a[1] in (None, "known")]
        self.assertEqual({200}, {a[4].status_code for a in needless})
        self.assertAtOnce(needless)
        others = {a[4].status_code for a in meanwhile if a not in needless}
        self.assertEqual({503}, others)

    def test_memcached(self):
        frozen, thawed = self.freeze(self.memcached)
        self.check(thawed)
        # Each thread waits for a second, once, and asks Keystone.
        self.assertEqual({200}, {a[4].status_code for a in self.answers})
        self.assertAtOnce(
            [a for a in self.answers if frozen + 4 < a[2] and a[3] < thawed]
        )
