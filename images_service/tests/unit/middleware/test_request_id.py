# SPDX-License-Identifier: Apache-2.0
import unittest

import webob

from images_service.middleware import pipeline

GOOD = "req-0123abcd-0123-4567-89ab-0123456789ab"


class TestRequestId(unittest.TestCase):
    def answer(self, **headers):
        self.environ: dict[str, object] = {}

        def application(environ, start_response):
            self.environ = environ
            start_response("200 OK", [("X-Own", "kept")])
            return [b"body"]

        req = webob.Request.blank("/", headers=headers)
        return req.get_response(pipeline.RequestId.factory({})(application))

    def test_an_id_for_each(self):
        first, second = self.answer(), self.answer()
        for response in (first, second):
            self.assertEqual("kept", response.headers["X-Own"])
            self.assertEqual(b"body", response.body)
        told = second.headers["x-openstack-request-id"]
        self.assertRegex(told, "^req-[0-9a-f-]{36}$")
        self.assertEqual(told, second.headers["x-compute-request-id"])
        self.assertEqual(told, self.environ["openstack.request_id"])
        self.assertNotEqual(told, first.headers["x-openstack-request-id"])

    def test_a_callers_own(self):
        name = "openstack.global_request_id"
        response = self.answer(**{"X-OpenStack-Request-ID": GOOD})
        self.assertEqual(GOOD, self.environ[name])
        self.assertNotEqual(GOOD, response.headers["x-openstack-request-id"])
        for bad in ("x", GOOD.upper(), f"{GOOD}0", f"{GOOD} ", f"x{GOOD}"):
            self.answer(**{"X-OpenStack-Request-ID": bad})
            self.assertNotIn(name, self.environ)
