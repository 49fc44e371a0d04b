# SPDX-License-Identifier: Apache-2.0
import unittest

import webob

from images_service import context
from images_service import exception
from images_service.middleware import fault


class TestFaults(unittest.TestCase):
    def answer(self, application, method="GET"):
        req = webob.Request.blank("/", method=method)
        req.environ["openstack.request_id"] = "req-1"
        return req.get_response(fault.Faults(application))

    def page(self, status, headers=(), mark=False):
        closed = []

        class Body(list):
            def close(self):
                closed.append(True)

        def application(environ, start_response):
            if mark:
                environ[context.ANSWERED] = True
            start_response(status, [("Content-Type", "text/x"), *headers])
            return Body([b"a page"])

        return self.answer(application), closed

    def test_what_is_no_error_passes(self):
        response, _ = self.page("200 OK")
        self.assertEqual(b"a page", response.body)
        self.assertEqual("text/x", response.headers["Content-Type"])

    def test_known_errors_that_filters_raise(self):
        def application(environ, start_response):
            raise exception.IdentityUnavailable

        response = self.answer(application)
        self.assertEqual(503, response.status_int)
        self.assertEqual("5", response.headers["Retry-After"])
        self.assertEqual(["serviceUnavailable"], list(response.json))

    def test_the_applications_own_errors_pass(self):
        response, _ = self.page("404 Not Found", mark=True)
        self.assertEqual(b"a page", response.body)

    def test_pages_of_filters_become_faults(self):
        for status, name in (
            ("400 x", "badRequest"),
            ("401 x", "unauthorized"),
            ("403 x", "forbidden"),
            ("404 x", "itemNotFound"),
            ("413 x", "overLimit"),
            ("500 x", "computeFault"),
            ("502 x", "computeFault"),
            ("503 x", "serviceUnavailable"),
        ):
            with self.subTest(status=status):
                response, closed = self.page(
                    status,
                    [
                        ("WWW-Authenticate", "Keystone uri=x"),
                        ("Set-Cookie", "x"),
                    ],
                )
                self.assertEqual([name], list(response.json))
                code = response.json[name]["code"]
                self.assertEqual(response.status_int, code)
                self.assertEqual("application/json", response.content_type)
                self.assertEqual(
                    "Keystone uri=x", response.headers["WWW-Authenticate"]
                )
                self.assertNotIn("Set-Cookie", response.headers)
                self.assertEqual([True], closed)

    def test_a_503_says_when_to_try_again(self):
        response, _ = self.page("503 x")
        self.assertEqual("5", response.headers["Retry-After"])
        response, _ = self.page("503 x", [("Retry-After", "60")])
        self.assertEqual(["60"], response.headers.getall("Retry-After"))

    def test_exceptions_tell_nothing(self):
        def application(environ, start_response):
            raise ValueError("SELECT password")

        with self.assertLogs("images_service", "ERROR") as logs:
            response = self.answer(application)
        self.assertIn("SELECT password", logs.output[0])
        self.assertEqual(500, response.status_int)
        self.assertNotIn("SELECT", response.text)
        fault = response.json["computeFault"]
        self.assertEqual(500, fault["code"])
        self.assertIn("req-1", fault["message"])

    def test_head_has_no_body(self):
        def application(environ, start_response):
            raise ValueError

        with self.assertLogs("images_service", "ERROR"):
            response = self.answer(application, "HEAD")
        self.assertEqual(500, response.status_int)
        self.assertEqual(b"", response.body)
