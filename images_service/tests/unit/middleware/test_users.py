# SPDX-License-Identifier: Apache-2.0
import json
import os
from unittest import mock

import bcrypt

from images_service import watched
from images_service.middleware import users
from images_service.tests import base

GRANT = {"project_id": "p", "roles": ["member"]}


def entry(name, password):
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return f"{name}:{digest}\n"


class UsersTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.take_edits_at_once()
        self.write("passwords", "# Who.\n\n" + entry("alice", "secret"))
        self.write("map.yaml", json.dumps({"alice": GRANT, "bob": GRANT}))
        self.conf = base.configuration(
            self.folder,
            oslo_middleware={"http_basic_auth_user_file": "passwords"},
            http_basic={"user_map": "map.yaml"},
        )

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def later(self, found):
        found._accounts._looked -= 2


class TestUsers(UsersTestCase):
    def test_grants(self):
        found = users.Users(self.conf)
        for name, password, grant in (
            ("alice", b"secret", users.Grant("p", ["member"])),
            ("alice", b"Secret", None),
            ("alice", b"", None),
            ("alice", b"x" * 100, None),
            ("alice", b"\0", None),
            ("bob", b"secret", None),
            ("", b"", None),
        ):
            with self.subTest(name=name, password=password):
                for _ in range(2):
                    self.assertEqual(grant, found.grant(name, password))

    def test_bcrypt_is_asked_once_for_what_was_good(self):
        found = users.Users(self.conf)
        with mock.patch.object(
            bcrypt, "checkpw", wraps=bcrypt.checkpw
        ) as asked:
            for _ in range(3):
                self.assertTrue(found.grant("alice", b"secret"))
            self.assertEqual(1, asked.call_count)
            for number in range(2, 5):
                self.assertIsNone(found.grant("alice", b"wrong"))
                self.assertEqual(number, asked.call_count)
            # One who isn't there takes as long.
            self.assertIsNone(found.grant("mallory", b"secret"))
            self.assertEqual(5, asked.call_count)

    def test_nobody_at_all(self):
        self.write("passwords", "")
        self.assertIsNone(users.Users(self.conf).grant("alice", b"secret"))

    def test_edits(self):
        found = users.Users(self.conf)
        self.assertTrue(found.grant("alice", b"secret"))
        self.write("passwords", entry("alice", "new") + entry("bob", "b"))
        self.later(found)
        self.assertIsNone(found.grant("alice", b"secret"))
        self.assertTrue(found.grant("alice", b"new"))
        self.assertTrue(found.grant("bob", b"b"))
        self.write("map.yaml", "bob: {project_id: q, roles: []}\n")
        self.later(found)
        self.assertIsNone(found.grant("alice", b"new"))
        self.assertEqual(users.Grant("q", []), found.grant("bob", b"b"))
        os.unlink(self.path("map.yaml"))
        self.later(found)
        with self.assertLogs("images_service", "ERROR") as logs:
            self.assertTrue(found.grant("bob", b"b"))
        self.assertIn("The list of users stays as it was", logs.output[0])


class TestRefused(UsersTestCase):
    def assertRefused(self, problem):
        with self.assertRaises(watched.FileError) as caught:
            users.Users(self.conf)
        self.assertIn(problem, str(caught.exception))

    def test_passwords(self):
        for line, text in (
            (1, "alice"),
            (1, "alice:secret"),
            (1, "alice:$apr1$x$y"),
            (1, "alice:$2y$05$short"),
            (1, "alice:$2y$99$" + "." * 53),
            (3, "\n\nalice:{SHA}x"),
            (2, entry("alice", "a") * 2),
        ):
            self.write("passwords", text)
            with self.subTest(text=text):
                self.assertRefused(f"passwords:{line}: ")

    def test_the_map(self):
        for problem, text in (
            ("map.yaml:1: Expecting", "{"),
            ("map.yaml:1: not a map", "[]"),
            ("map.yaml:1: user a needs", '{"a": {}}'),
            ("map.yaml:2: user a needs", '{\n"a": {"project_id": "p"}}'),
            ("map.yaml:1: user a needs", "a: {project_id: 5, roles: []}"),
            ("map.yaml:1: user a needs", "a: {project_id: '', roles: []}"),
            ("map.yaml:1: user a needs", "a: {project_id: p, roles: [5]}"),
            ("map.yaml:1: user a needs", "a: {project_id: p, roles: x}"),
            (
                "map.yaml:1: user a needs",
                '{"a": {"project_id": "p", "roles": [], "role": "x"}}',
            ),
            (
                "map.yaml:1: a stands there twice",
                '{"a": {"project_id": "p", "roles": []}, "a": {}}',
            ),
        ):
            self.write("map.yaml", text)
            with self.subTest(text=text):
                self.assertRefused(problem)

    def test_missing_files(self):
        for name in ("passwords", "map.yaml"):
            os.rename(self.path(name), self.path("away"))
            self.assertRefused(f"{name}: there is no such file")
            os.rename(self.path("away"), self.path(name))
