# SPDX-License-Identifier: Apache-2.0
import os
import tempfile
import threading
import time
from unittest import mock

import webob

from images_service import errors
from images_service import watched
from images_service.tests import base


class TestHealthcheck(base.ApiTestCase):
    def setUp(self):
        super().setUp()
        self.take_edits_at_once()

    def get(self, method="GET"):
        req = webob.Request.blank("/healthcheck", method=method)
        req.accept = "application/json"
        return req.get_response(self.app)

    def break_the_policy(self):
        folder = os.path.dirname(self.conf.config_file[0])
        self.path = os.path.join(folder, "policy.json")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("{\nbroken")
        # The next request looks at it.
        later = mock.patch.object(watched, "_INTERVAL", 0)
        later.start()
        self.addCleanup(later.stop)

    def test_good(self):
        self.assertEqual(204, self.get("HEAD").status_int)
        response = self.get()
        self.assertEqual(200, response.status_int)
        self.assertEqual(["OK", "OK"], response.json["reasons"])

    def test_a_database_that_is_away_is_not_asked(self):
        with mock.patch.object(self.store, "ping") as ping:
            self.assertEqual(200, self.get().status_int)
        ping.assert_not_called()

    def test_a_policy_that_cannot_be_taken_is_a_warning(self):
        self.break_the_policy()
        with self.assertLogs("images_service", "ERROR"):
            response = self.get()
        self.assertEqual(200, response.status_int)
        reason, _ = response.json["reasons"]
        self.assertIn("WARNING", reason)
        # Where files are, not everybody must know.
        self.assertNotIn(self.path, response.text)


class TestDetailed(TestHealthcheck):
    options = {"healthcheck": {"detailed": True}}

    def test_good(self):
        reasons = self.get().json["reasons"]
        self.assertEqual(["OK", "OK"], [each["reason"] for each in reasons])

    def test_a_database_that_is_away_is_not_asked(self):
        """Nor would it be, if it were not detailed."""
        with mock.patch.object(self.store, "ping") as ping:
            ping.side_effect = errors.StoreUnavailable
            response = self.get()
        self.assertEqual(503, response.status_int)
        self.assertIn("database", response.json["reasons"][1]["reason"])

    def test_a_database_that_does_not_answer(self):
        done = threading.Event()
        self.addCleanup(done.set)
        with mock.patch.object(self.store, "ping", done.wait):
            start = time.monotonic()
            response = self.get()
        self.assertEqual(503, response.status_int)
        self.assertLess(time.monotonic() - start, 3)

    def test_a_policy_that_cannot_be_taken_is_a_warning(self):
        self.break_the_policy()
        with self.assertLogs("images_service", "ERROR"):
            response = self.get()
        self.assertEqual(200, response.status_int)
        reason, _ = response.json["reasons"]
        self.assertIn("WARNING", reason["reason"])
        self.assertIn(f"{self.path}:2: ", reason["details"])


class TestDraining(TestHealthcheck):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.drain = f"{folder.name}/drain"
        self.options = {"healthcheck": {"disable_by_file_path": self.drain}}
        super().setUp()

    def test_good(self):
        self.assertEqual(200, self.get().status_int)
        with open(self.drain, "w", encoding="utf-8"):
            pass
        response = self.get()
        self.assertEqual(503, response.status_int)
        self.assertIn("DISABLED BY FILE", response.json["reasons"])
        os.unlink(self.drain)
        self.assertEqual(200, self.get().status_int)

    def test_a_policy_that_cannot_be_taken_is_a_warning(self):
        self.break_the_policy()
        with self.assertLogs("images_service", "ERROR"):
            self.assertEqual(200, self.get().status_int)
