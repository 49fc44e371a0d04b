# SPDX-License-Identifier: Apache-2.0
import os
import tempfile
import threading
import time
from unittest import mock

import webob

from images_service import exception
from images_service import files
from images_service.middleware import healthcheck
from images_service.middleware import pipeline
from images_service.tests import base


class HealthTestCase(base.ApiTestCase):
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
        later = mock.patch.object(files, "_INTERVAL", 0)
        later.start()
        self.addCleanup(later.stop)


class TestHealthcheck(HealthTestCase):
    def test_good(self):
        self.assertEqual(204, self.get("HEAD").status_int)
        response = self.get()
        self.assertEqual(200, response.status_int)
        self.assertEqual(["OK", "OK"], response.json["reasons"])

    def test_a_database_that_is_away(self):
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


class TestRefused(base.ApiTestCase):
    options = {
        "healthcheck": {
            "allowed_source_ranges": "192.0.2.0/24",
            "ignore_proxied_requests": "True",
            "detailed": "True",
        }
    }

    def get(self, address="192.0.2.1", method="GET", **headers):
        req = webob.Request.blank(
            "/healthcheck",
            method=method,
            headers={n.replace("_", "-"): v for n, v in headers.items()},
            environ={"REMOTE_ADDR": address},
        )
        if address is None:
            del req.environ["REMOTE_ADDR"]
        # WebOb sends a request to the server, where the filter has no
        # application.
        with mock.patch("http.client.HTTPConnection.request") as sent:
            response = req.get_response(self.app)
        sent.assert_not_called()
        return response

    def test_who_may(self):
        self.assertEqual(200, self.get().status_int)

    def test_a_source_out_of_range_does_not_make_the_service_ask_itself(self):
        for address in ("198.51.100.1", "2001:db8::1", "unknown", "", None):
            with self.subTest(address=address):
                self.assertRefused(self.get(address))
                response = self.get(address, "HEAD")
                self.assertEqual(403, response.status_int)
                self.assertEqual(b"", response.body)

    def test_a_proxied_request_does_not_make_the_service_ask_itself(self):
        for header in ("", "_Proto", "_Host", "_For", "_Prefix"):
            with self.subTest(header=header):
                self.assertRefused(
                    self.get(**{f"X_Forwarded{header}": "192.0.2.1"})
                )
        self.assertRefused(self.get(Forwarded="for=192.0.2.1"))

    def assertRefused(self, response):
        self.assertFault(
            response,
            403,
            "forbidden",
            "The health check is not available to this client.",
        )


class TestRefusedBehindProxy(base.ApiTestCase):
    options = {
        "oslo_middleware": {"enable_proxy_headers_parsing": "True"},
        "healthcheck": {"allowed_source_ranges": "192.0.2.0/24"},
    }

    def test_addresses_that_a_proxy_names(self):
        for address, status in (
            ("192.0.2.1", 200),
            ("198.51.100.1", 403),
            ("192.0.2.1, 198.51.100.1", 403),
            ("unknown", 403),
            ("_hidden", 403),
        ):
            with self.subTest(address=address):
                req = webob.Request.blank("/healthcheck")
                req.headers["X-Forwarded-For"] = address
                self.assertEqual(status, req.get_response(self.app).status_int)


class TestDetailed(HealthTestCase):
    options = {"healthcheck": {"detailed": True}}

    def setUp(self):
        super().setUp()
        self.check = healthcheck.StoreCheck(
            self.conf, {pipeline.STORE: self.store}
        )

    def test_good(self):
        reasons = self.get().json["reasons"]
        self.assertEqual(["OK", "OK"], [each["reason"] for each in reasons])

    def test_a_database_that_is_away(self):
        with mock.patch.object(self.store, "ping") as ping:
            ping.side_effect = exception.StoreUnavailable
            response = self.get()
        self.assertEqual(503, response.status_int)
        self.assertIn("database", response.json["reasons"][1]["reason"])

    def test_a_database_that_hangs_keeps_no_thread_waiting(self):
        thaw = threading.Event()
        self.addCleanup(thaw.set)
        ping = mock.Mock(side_effect=lambda: thaw.wait(60))
        with mock.patch.object(self.store, "ping", ping):
            before = set(threading.enumerate())
            start = time.monotonic()
            # The check alone: a detailed answer also tells of all objects of
            # the process, which are many where other tests have run.
            for _ in range(50):
                self.assertFalse(self.check.healthcheck(80).available)
            # Half a second each would make 25.
            self.assertLess(time.monotonic() - start, 10)
            self.assertEqual(1, ping.call_count)
            # Threads of other tests come and go at the same time.
            asking = [
                thread
                for thread in set(threading.enumerate()) - before
                if thread.name.endswith("(_ask)")
            ]
            self.assertEqual(1, len(asking), asking)
        thaw.set()
        self.assertTrue(self.becomes(True))

    def test_checks_that_hang_one_after_the_other_took_more_than_a_second(
        self,
    ):
        thaw = threading.Event()
        self.addCleanup(thaw.set)
        mirror = healthcheck.MirrorCheck(
            self.conf, {pipeline.STORE: self.store}
        )
        with (
            mock.patch.object(self.store, "ping", lambda: thaw.wait(60)),
            mock.patch.object(self.store, "warning", lambda: thaw.wait(60)),
        ):
            start = time.monotonic()
            for check in (self.check, mirror):
                check.healthcheck(80)
            # The rest is for the details, and for a busy machine.
            self.assertLess(time.monotonic() - start, 0.9)

    def test_an_answer_is_shown_for_a_second(self):
        with mock.patch.object(self.store, "ping") as ping:
            for _ in range(5):
                self.assertTrue(self.check.healthcheck(80).available)
            self.assertEqual(1, ping.call_count)
            ping.side_effect = exception.StoreUnavailable
            self.assertTrue(self.becomes(False))
            ping.side_effect = None
            self.assertTrue(self.becomes(True))

    def test_an_error_that_is_no_outage_is_logged(self):
        with (
            mock.patch.object(self.store, "ping") as ping,
            self.assertLogs("images_service", "ERROR"),
        ):
            ping.side_effect = RuntimeError
            self.assertEqual(503, self.get().status_int)

    def becomes(self, available):
        deadline = time.monotonic() + 10
        while self.check.healthcheck(80).available != available:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def test_a_policy_that_cannot_be_taken_is_a_warning(self):
        self.break_the_policy()
        with self.assertLogs("images_service", "ERROR"):
            response = self.get()
        self.assertEqual(200, response.status_int)
        reason, _ = response.json["reasons"]
        self.assertIn("WARNING", reason["reason"])
        self.assertIn(f"{self.path}:2: ", reason["details"])


class TestDraining(HealthTestCase):
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
