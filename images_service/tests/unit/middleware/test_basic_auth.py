# SPDX-License-Identifier: Apache-2.0
import base64
import json
import os
import threading
from unittest import mock

import bcrypt

from images_service import exception
from images_service import files
from images_service.middleware import basic_auth
from images_service.middleware import pipeline
from images_service.tests import base
from images_service.tests.unit.middleware.test_auth import caller_of
from images_service.tests.unit.middleware.test_auth import FORGED

GRANT = {"project_id": "p", "roles": ["member"]}


def entry(name, password, cost=4):
    salt = bcrypt.gensalt(cost)
    digest = bcrypt.hashpw(password.encode(), salt).decode()
    return f"{name}:{digest}\n"


class UsersTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
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


class TestUsers(UsersTestCase):
    def test_grants(self):
        found = basic_auth.Users(self.conf)
        for name, password, grant in (
            ("alice", b"secret", ("p", ["member"])),
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
        found = basic_auth.Users(self.conf)
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
        self.assertIsNone(
            basic_auth.Users(self.conf).grant("alice", b"secret")
        )

    def test_edits_have_no_effect_until_a_reload(self):
        found = basic_auth.Users(self.conf)
        self.write("passwords", entry("alice", "new"))
        self.write("map.yaml", "alice: {project_id: q, roles: []}\n")
        self.assertIsNone(found.grant("alice", b"new"))
        self.assertEqual(("p", ["member"]), found.grant("alice", b"secret"))
        found = basic_auth.Users(self.conf)
        self.assertIsNone(found.grant("alice", b"secret"))
        self.assertEqual(("q", []), found.grant("alice", b"new"))


class TestGuessers(UsersTestCase):
    def setUp(self):
        super().setUp()
        self.write(
            "passwords",
            entry("alice", "secret")
            + entry("bob", "b", 6)
            + entry("carol", "c", 5),
        )
        self.found = basic_auth.Users(self.conf)

    def test_unequal_costs_do_not_tell_who_exists(self):
        work = {}
        for name in ("alice", "bob", "carol", "nobody", ""):
            with mock.patch.object(
                bcrypt, "checkpw", wraps=bcrypt.checkpw
            ) as asked:
                self.assertIsNone(self.found.grant(name, b"wrong"))
            work[name] = sum(
                2 ** int(call.args[1][4:6]) for call in asked.mock_calls
            )
        self.assertEqual(dict.fromkeys(work, 2**6), work)

    def test_guessers_do_not_keep_known_users_waiting(self):
        self.assertTrue(self.found.grant("alice", b"secret"))
        checking, go_on = threading.Semaphore(0), threading.Event()
        self.addCleanup(go_on.set)

        def check(password, digest):
            checking.release()
            go_on.wait(60)
            return False

        with mock.patch.object(bcrypt, "checkpw", side_effect=check) as asked:
            guessers = [
                threading.Thread(
                    target=self.found.grant, args=("carol", b"guess")
                )
                for _ in range(2)
            ]
            for guesser in guessers:
                guesser.start()
            for _ in guessers:
                self.assertTrue(checking.acquire(timeout=30))
            for name in ("alice", "bob", "nobody"):
                for _ in range(5):
                    with self.assertRaises(exception.IdentityUnavailable):
                        self.found.grant(name, b"guess")
            self.assertTrue(self.found.grant("alice", b"secret"))
            self.assertEqual(2, asked.call_count)
            go_on.set()
            for guesser in guessers:
                guesser.join(30)
            self.assertIsNone(self.found.grant("nobody", b"guess"))

    def test_what_is_remembered_has_a_bound(self):
        for number in range(20):
            self.found.grant(f"user{number}", b"x")
            self.found.grant("alice", b"%d" % number)
            self.found.grant("alice", b"secret")
        self.assertEqual(["alice"], list(self.found._good))


class TestRefused(UsersTestCase):
    def assertRefused(self, problem):
        with self.assertRaises(files.FileError) as caught:
            basic_auth.Users(self.conf)
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
            (2, entry("alice", "a") + "bob:$2y$15$" + "." * 53),
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
            ("map.yaml:1: user a needs", "a: {project_id: é, roles: []}"),
            (
                "map.yaml:2: user a needs",
                '{\n"a": {"project_id": "p\\u0000", "roles": []}}',
            ),
            ("map.yaml:1: user a needs", "a: {project_id: p, roles: [5]}"),
            ("map.yaml:1: user a needs", "a: {project_id: p, roles: x}"),
            (
                "map.yaml:1: user a needs",
                '{"a": {"project_id": "p", "roles": [], "role": "x"}}',
            ),
            (
                "map.yaml:1: a is defined twice",
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
        wrap = basic_auth.http_basic({pipeline.CONF: self.conf})
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

    def test_more_guesses_than_are_checked_at_a_time(self):
        with mock.patch.object(basic_auth, "_CHECKS", 0):
            wrap = basic_auth.http_basic({pipeline.CONF: self.conf})
        response = caller_of(
            wrap,
            {"Authorization": self.basic("alice:secret")},
        )
        self.assertEqual(503, response.status_int)
        self.assertEqual("5", response.headers["Retry-After"])
        self.assertEqual(["serviceUnavailable"], list(response.json))

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
