# SPDX-License-Identifier: Apache-2.0
import unittest

import webob

from images_service import context
from images_service.middleware import auth
from images_service.middleware import fault

FORGED = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "mallory",
    "X-Project-Id": "victim",
    "X-Roles": "admin",
}


def caller_of(wrap, headers=None, environ=None):
    """Return the context that a filter passes on, or its fault."""
    found = []

    def application(environ, start_response):
        found.append(environ[context.ENVIRON_KEY])
        start_response("200 OK", [])
        return []

    req = webob.Request.blank("/", headers=headers or {}, environ=environ)
    response = req.get_response(fault.Faults(wrap(application)))
    return found[0] if found else response


class TestNoauth2(unittest.TestCase):
    def setUp(self):
        with self.assertLogs("images_service", "WARNING"):
            self.wrap = auth.noauth2({})

    def caller(self, token):
        return caller_of(self.wrap, {"X-Auth-Token": token})

    def test_tokens(self):
        for token, user, project, roles in (
            ("u:p", "u", "p", ["member", "reader"]),
            ("u:p:", "u", "p", ["member", "reader"]),
            ("u:p:a,b", "u", "p", ["a", "b"]),
            ("admin:p", "admin", "p", ["admin", "member", "reader"]),
            ("admin:p:reader", "admin", "p", ["reader"]),
            ("u:", "u", None, ["member", "reader"]),
            (":p", "", "p", ["member", "reader"]),
        ):
            with self.subTest(token=token):
                caller = self.caller(token)
                self.assertEqual(
                    (user, project, roles),
                    (caller.user_id, caller.project_id, caller.roles),
                )

    def test_no_tokens(self):
        for token in ("", "u", "\xfc:p"):
            with self.subTest(token=token):
                response = self.caller(token)
                self.assertEqual(401, response.status_int)
                self.assertEqual(
                    "noauth2", response.headers["WWW-Authenticate"]
                )

    def test_headers_count_nowhere(self):
        self.assertEqual(401, caller_of(self.wrap, FORGED).status_int)
        caller = caller_of(self.wrap, {**FORGED, "X-Auth-Token": "u:p"})
        self.assertEqual("p", caller.project_id)

    def test_request_ids(self):
        caller = caller_of(
            self.wrap,
            {"X-Auth-Token": "u:p"},
            {
                "openstack.request_id": "req-1",
                "openstack.global_request_id": "req-2",
            },
        )
        self.assertEqual("req-1", caller.request_id)
        self.assertEqual("req-2", caller.global_request_id)
