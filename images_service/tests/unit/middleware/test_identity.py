# SPDX-License-Identifier: Apache-2.0
import base64
import json
import os
import unittest

import bcrypt
import webob

from images_service import context
from images_service.middleware import identity
from images_service.middleware import standard
from images_service.tests import base

FORGED = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "mallory",
    "X-Project-Id": "victim",
    "X-Roles": "admin",
}


def caller_of(wrap, headers=None, environ=None):
    """Return the context that a filter has made, or the filter's answer."""
    found = []

    def application(environ, start_response):
        found.append(environ[context.ENVIRON_KEY])
        start_response("200 OK", [])
        return []

    req = webob.Request.blank("/", headers=headers or {}, environ=environ)
    response = req.get_response(wrap(application))
    return found[0] if found else response


class TestNoauth2(unittest.TestCase):
    def setUp(self):
        with self.assertLogs("images_service", "WARNING"):
            self.wrap = identity.noauth2({})

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


class TestContext(unittest.TestCase):
    def test_what_auth_token_has_validated(self):
        caller = caller_of(
            identity.context({}),
            {
                "X-Identity-Status": "Confirmed",
                "X-User-Id": "u",
                "X-Project-Id": "p",
                "X-Roles": "member,reader",
                "X-Service-Catalog": "[]",
            },
        )
        self.assertEqual(
            ("u", "p", ["member", "reader"], "[]"),
            (
                caller.user_id,
                caller.project_id,
                caller.roles,
                caller.service_catalog,
            ),
        )

    def test_anything_else(self):
        for status in ({}, {"X-Identity-Status": "Invalid"}):
            response = caller_of(
                identity.context({}), {**FORGED, **status} if status else {}
            )
            self.assertEqual(401, response.status_int)


class TestHttpBasic(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.write(
            "passwords",
            "".join(
                f"{user}:{bcrypt.hashpw(word, bcrypt.gensalt(4)).decode()}\n"
                for user, word in (("alice", b"secret"), ("bob", b"b:b"))
            ),
        )
        self.write(
            "http-basic-users.json",
            json.dumps({"alice": {"project_id": "p", "roles": ["member"]}}),
        )
        self.conf = base.configuration(
            self.folder,
            oslo_middleware={
                "http_basic_auth_user_file": f"{self.folder}/passwords"
            },
        )

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def caller(self, authorization, **headers):
        wrap = identity.http_basic({standard.CONF: self.conf})
        if authorization is not None:
            headers["Authorization"] = authorization
        return caller_of(wrap, headers)

    def basic(self, text):
        return "Basic " + base64.b64encode(text.encode()).decode()

    def test_a_user(self):
        caller = self.caller(self.basic("alice:secret"), **FORGED)
        self.assertEqual(
            ("alice", "p", ["member"]),
            (caller.user_id, caller.project_id, caller.roles),
        )

    def test_nobody(self):
        for authorization in (
            None,
            "",
            "Basic",
            "Basic !",
            "Bearer x",
            self.basic("alice"),
            self.basic("alice:wrong"),
            self.basic("alice:" + "x" * 100),
            self.basic("alice:\0"),
            self.basic("carol:secret"),
            # Known by password, but of no project.
            self.basic("bob:b:b"),
        ):
            with self.subTest(authorization=authorization):
                response = self.caller(authorization)
                self.assertEqual(401, response.status_int)
                self.assertEqual(
                    'Basic realm="images_service"',
                    response.headers["WWW-Authenticate"],
                )
