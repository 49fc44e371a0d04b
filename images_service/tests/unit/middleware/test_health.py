# SPDX-License-Identifier: Apache-2.0
import os
from unittest import mock

import webob

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
        self.assertEqual(["OK"], response.json["reasons"])

    def test_a_policy_that_cannot_be_taken_is_a_warning(self):
        self.break_the_policy()
        with self.assertLogs("images_service", "ERROR"):
            response = self.get()
        self.assertEqual(200, response.status_int)
        (reason,) = response.json["reasons"]
        self.assertIn("WARNING", reason)
        # Where files are, not everybody must know.
        self.assertNotIn(self.path, response.text)


class TestDetailed(TestHealthcheck):
    options = {"healthcheck": {"detailed": True}}

    def test_good(self):
        (reason,) = self.get().json["reasons"]
        self.assertEqual("OK", reason["reason"])

    def test_a_policy_that_cannot_be_taken_is_a_warning(self):
        self.break_the_policy()
        with self.assertLogs("images_service", "ERROR"):
            response = self.get()
        self.assertEqual(200, response.status_int)
        (reason,) = response.json["reasons"]
        self.assertIn("WARNING", reason["reason"])
        self.assertIn(f"{self.path}:2: ", reason["details"])
