# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import socket
import threading
import time

from oslo_config import cfg
from oslo_policy import opts

from images_service import app
from images_service import config
from images_service import exception
from images_service.tests import base
from images_service.tests.servers import stubs
from images_service.tests.unit.policy import test_enforcer

DELETE = test_enforcer.DELETE
SHOW = test_enforcer.SHOW


class TestRemoteChecks(test_enforcer.PolicyTestCase):
    def ask(self, text, rule=DELETE, **who):
        asked = self.policy(
            {rule: text}, oslo_policy={"remote_timeout": "0.5"}
        )
        return asked.allows(rule, test_enforcer.caller(**who), {})

    def assertUnavailable(self, text, reason):
        with (
            self.assertLogs(level=logging.WARNING) as logs,
            self.assertRaises(exception.PolicyUnavailable),
        ):
            self.ask(text)
        self.assertEqual(1, len(logs.output))
        self.assertNotIn("\n", logs.output[0])
        self.assertNotIn("secret", logs.output[0])
        self.assertRegex(logs.output[0], reason)

    def test_a_service_that_refuses(self):
        self.assertUnavailable(
            "http://me:secret@127.0.0.1:1/secret",
            f"Policy rule {DELETE}: no answer from http://127.0.0.1:1: "
            "ConnectionRefusedError",
        )

    def test_a_service_that_is_silent(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            start = time.monotonic()
            self.assertUnavailable(
                f"http://127.0.0.1:{port}/", "(TimeoutError|timed out)"
            )
            self.assertLess(time.monotonic() - start, 3)

    def test_a_service_that_drips(self):
        stop = threading.Event()
        self.addCleanup(stop.set)
        port = stubs.drip(self, stop)
        start = time.monotonic()
        self.assertUnavailable(f"http://127.0.0.1:{port}/", "TimeoutError")
        self.assertLess(time.monotonic() - start, 3)

    def test_a_certificate_that_is_missing(self):
        with (
            self.assertLogs("images_service", "ERROR") as logs,
            self.assertRaises(exception.PolicyUnavailable),
        ):
            self.policy(
                {DELETE: "https://127.0.0.1:1/"},
                oslo_policy={"remote_ssl_client_crt_file": "/none"},
            ).allows(DELETE, test_enforcer.caller(), {})
        self.assertIn("/none", logs.output[0])

    def test_who_need_not_be_asked_for_is_not(self):
        text = "role:admin or http://127.0.0.1:1/"
        self.assertTrue(self.ask(text, roles=["admin"]))

    def test_all_checks_of_a_request_have_one_deadline(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            asked = self.policy({DELETE: f"http://127.0.0.1:{port}/"})
            who = test_enforcer.caller()
            who.began -= 10
            start = time.monotonic()
            with self.assertRaises(exception.PolicyUnavailable):
                asked.allows(DELETE, who, {})
            self.assertLess(time.monotonic() - start, 2.5)

    def test_the_library_keeps_its_own_default(self):
        conf = config.new()
        self.assertEqual(3, conf.oslo_policy.remote_timeout)
        # As another service in the same process has it.
        other = cfg.ConfigOpts()
        opts.set_defaults(other)
        self.assertEqual(60, other.oslo_policy.remote_timeout)
        self.assertEqual("policy.yaml", other.oslo_policy.policy_file)


class TestFaults(base.ApiTestCase):
    options = {"oslo_policy": {"remote_timeout": "0.5"}}

    def test_a_remote_check_that_cannot_be_asked_is_a_503(self):
        self.take_edits_at_once()
        for rule in (SHOW, "context_is_admin", "os_compute_api:image-size"):
            path = os.path.join(
                os.path.dirname(self.conf.config_file[0]), "policy.json"
            )
            with open(path, "w", encoding="utf-8") as file:
                json.dump({rule: "http://127.0.0.1:1/"}, file)
            self.app = app.create(self.conf, self.store)
            with self.assertLogs("images_service", "ERROR"):
                response = self.request("GET", f"/images/{base.IDS['own']}")
            self.assertFault(
                response,
                503,
                "serviceUnavailable",
                "The service is temporarily unavailable. Try again later.",
            )
            self.assertEqual("5", response.headers["Retry-After"])
