# SPDX-License-Identifier: Apache-2.0
"""A database that is killed during requests, and comes back."""

import threading
import time

from images_service import app
from images_service.tests import base
from images_service.tests.servers import processes

# What the contract grants: for an answer, and for being well again.
SECONDS = 5


class Outage(base.Mixin):
    server_class: type[processes.MariaDB | processes.PostgreSQL]

    def setUp(self):
        super().setUp()
        if not self.server_class.installed():
            self.skipTest(f"{self.server_class.__name__} is not installed")
        self.server = self.server_class(self.make_folder())
        self.addCleanup(self.server.stop)
        self.server.start()
        self.server.wait()
        self.conf = self.make_conf(connection=self.server.create())
        self.store = self.make_store(self.conf)
        self.app = app.create(self.conf, self.store)
        self.answers = []
        self.stopping = threading.Event()

    def send_on(self, method, path, body=None):
        """Send a request again and again, and note each answer."""
        while not self.stopping.is_set():
            start = time.monotonic()
            response = self.request(method, path, body=body)
            end = time.monotonic()
            self.answers.append((start, end, response))
            time.sleep(0.01)

    def test_killed_and_back(self):
        image = f"/images/{base.IDS['own']}"
        body = {"metadata": {"a": "b"}}
        threads = [
            threading.Thread(target=self.send_on, args=args)
            for args in (
                ("GET", "/images/detail"),
                ("GET", image),
                ("GET", "/images?name=own&property-foo=bar"),
                ("POST", f"{image}/metadata", body),
            )
        ]
        for thread in threads:
            thread.start()
        time.sleep(1)
        killed = time.monotonic()
        self.server.kill()
        time.sleep(4)
        self.server.start()
        self.server.wait()
        back = time.monotonic()
        time.sleep(SECONDS + 2)
        self.stopping.set()
        for thread in threads:
            thread.join(30)
            self.assertFalse(thread.is_alive())
        refused = 0
        for start, end, response in self.answers:
            self.assertLess(end - start, SECONDS)
            if end < killed or start > back + SECONDS:
                self.assertEqual(200, response.status_int, response.body)
                continue
            self.assertIn(response.status_int, (200, 503), response.body)
            if response.status_int == 503:
                refused += 1
                self.assertIn("serviceUnavailable", response.json)
                self.assertIn("Retry-After", response.headers)
                self.assertNotIn(str(self.server.port), response.text)
        self.assertGreater(refused, 0)
        slowest = max(end - start for start, end, _ in self.answers)
        print(
            f"{type(self).__name__}: {len(self.answers)} requests, {refused} "
            f"answered 503, the slowest took {slowest:.2f} s"
        )


class TestMariaDB(Outage, base.RequestTestCase):
    server_class = processes.MariaDB


class TestPostgreSQL(Outage, base.RequestTestCase):
    server_class = processes.PostgreSQL
