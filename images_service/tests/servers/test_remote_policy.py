# SPDX-License-Identifier: Apache-2.0
"""The service that a policy rule asks freezes, drips and is gone."""

import collections
import http.client
import os
import signal
import threading
import time

from images_service.tests import base
from images_service.tests.servers import processes
from images_service.tests.servers import stubs

RULE = "os_compute_api:images:show"
SHOW, INDEX = f"/v2.1/images/{base.IDS['own']}", "/v2.1/images"
WAIT, OTHERS = 6, 1
SECONDS = 8


class TestRemotePolicy(base.TestCase):
    def start(self, port):
        """Start the service with a rule that asks a port."""
        self.api = processes.Api(self.make_folder(), workers=1)
        conf = base.configuration(
            self.api.folder, policy={RULE: f"http://127.0.0.1:{port}/"}
        )
        self.make_store(conf)
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()
        self.stopping = threading.Event()
        self.answers = []

    def ask(self, path):
        start = time.monotonic()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.api.port, timeout=30
        )
        token = {"X-Auth-Token": base.TOKENS["member"]}
        connection.request("GET", path, headers=token)
        response = connection.getresponse()
        response.read()
        connection.close()
        retry = response.headers["Retry-After"]
        return response.status, retry, time.monotonic() - start

    def ask_on(self, path):
        while not self.stopping.is_set():
            self.answers.append((path, *self.ask(path)))
            time.sleep(0.02)

    def hold(self, seconds):
        """Ask for some seconds: 16 clients, and others beside them."""
        paths = [SHOW] * 16 + ["/", "/healthcheck", INDEX]
        threads = [
            threading.Thread(target=self.ask_on, args=(path,))
            for path in paths
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.stopping.set()
        for thread in threads:
            thread.join(30)
        counts = collections.Counter(
            (path, status) for path, status, *_ in self.answers
        )
        slowest = {
            path: max(s for p, *_, s in self.answers if p == path)
            for path in set(paths)
        }
        print(dict(counts), slowest)
        self.assertLess(slowest[SHOW], WAIT)
        for path in ("/", "/healthcheck", INDEX):
            self.assertLess(slowest[path], OTHERS, path)
        for path, status, retry, _ in self.answers:
            if path == SHOW:
                self.assertEqual((503, "5"), (status, retry))
            else:
                self.assertEqual(200, status)
        with open(self.api.log, encoding="utf-8") as log:
            text = log.read()
        self.assertNotIn("Traceback", text)
        self.assertIn(f"Policy rule {RULE}: no answer from http://", text)

    def test_a_remote_service_that_freezes_stops_no_others(self):
        remote = processes.Stub(self.make_folder(), stubs.__name__)
        self.addCleanup(remote.kill)
        remote.start()
        remote.wait()
        self.start(remote.port)
        self.assertEqual(200, self.ask(SHOW)[0])
        os.kill(remote.process.pid, signal.SIGSTOP)
        try:
            self.hold(SECONDS)
        finally:
            os.kill(remote.process.pid, signal.SIGCONT)
        time.sleep(1)
        for _ in range(20):
            self.assertEqual(200, self.ask(SHOW)[0])

    def test_a_remote_service_that_drips(self):
        stop = threading.Event()
        self.addCleanup(stop.set)
        self.start(stubs.drip(self, stop))
        self.hold(SECONDS)

    def test_a_remote_service_that_is_gone(self):
        self.start(processes.free_port())
        self.hold(2)

    def test_a_healthy_one_answers_all_at_once(self):
        remote = processes.Stub(self.make_folder(), stubs.__name__)
        self.addCleanup(remote.kill)
        remote.start()
        remote.wait()
        self.start(remote.port)
        threads = [
            threading.Thread(target=self.ask_on, args=(SHOW,))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        time.sleep(3)
        self.stopping.set()
        for thread in threads:
            thread.join(30)
        statuses = collections.Counter(s for _, s, *_ in self.answers)
        self.assertEqual({200}, set(statuses), statuses)
