# SPDX-License-Identifier: Apache-2.0
"""images-service-manage shadow between two small servers, and real ones."""

import gzip
import json
import os
import re
import shlex
import socketserver
import subprocess
import textwrap
import threading
import time
from unittest import mock
from wsgiref import simple_server

from images_service import app
from images_service.cmd import endpoint
from images_service.cmd import manage
from images_service.cmd import shadow
from images_service.cmd.access_log import Request
from images_service.tests import base
from images_service.tests.servers import processes
from images_service.tests.servers import stubs
from images_service.tests.unit import test_documentation as documentation

TOKEN = "gAAAA-the-token"
PATH = "/v2.1/images"
PROJECT = "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1"


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Handler(simple_server.WSGIRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


class ShadowTestCase(base.ManageTestCase):
    def setUp(self):
        super().setUp()
        pause = mock.patch.object(shadow, "_PAUSE", 0)
        pause.start()
        self.addCleanup(pause.stop)
        environ = mock.patch.dict(os.environ, {"OS_TOKEN": TOKEN})
        environ.start()
        self.addCleanup(environ.stop)

    def serve(self, application):
        """Serve an application on loopback until the test ends.

        :returns: its URL.
        """
        server = simple_server.make_server(
            "127.0.0.1", 0, application, _Server, _Handler
        )
        threading.Thread(
            target=server.serve_forever, args=(0.02,), daemon=True
        ).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def stub(self, document, status="200 OK", headers=()):
        """Serve one answer, and note the requests.

        :param document: bytes, or what is sent as JSON; a function of the
            WSGI environment returns one.
        :returns: URL, and the list of the requests' WSGI environments.
        """
        seen = []

        def application(environ, start_response):
            seen.append(environ)
            body = document(environ) if callable(document) else document
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            start_response(
                status,
                [
                    ("Content-Type", "application/json"),
                    ("Content-Length", str(len(body))),
                    *headers,
                ],
            )
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

        return self.serve(application), seen

    def shadow(self, nova, images, *args, log=PATH):
        """Run the command on a log from stdin.

        :returns: exit status, rows, and what is printed to standard error.
        """
        status, out, err = self.manage(
            *("shadow", "--nova", nova, "--images", images, "-"),
            *("-f", "json", "--rate", "1000", *args),
            stdin=log,
        )
        self.assertNotIn(TOKEN, out + err)
        return status, json.loads(out) if out else None, err


class TestServers(ShadowTestCase):
    def test_what_differs(self):
        path = f"{PATH}/detail"
        image_id = "0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00"
        nova, images = (
            self.stub({"images": [{"id": image_id, "status": status}]})[0]
            for status in ("ACTIVE", "SAVING")
        )
        log = [path] * 3
        log += [f"HEAD {PATH}", f"DELETE {PATH}/{image_id}", "/v2.1/servers"]
        status, rows, err = self.shadow(nova, images, log="\n".join(log))
        self.assertEqual(1, status)
        self.assertEqual(
            [
                {
                    "request": f"GET {path}",
                    "times": 3,
                    "field": "images.status",
                    "where": image_id,
                    "nova": '"ACTIVE"',
                    "images": '"SAVING"',
                    "documented": "",
                }
            ],
            rows,
        )
        page = documentation.read("doc/source/admin/shadow.rst")
        self.assertIn(textwrap.indent(err, "   "), page)

    def test_many_of_a_field_are_one_row(self):
        nova, images = (
            self.stub(
                {"images": [{"id": str(n), "name": text} for n in range(9)]}
            )[0]
            for text in "ab"
        )
        _, (row,), _ = self.shadow(nova, images)
        self.assertEqual("0 and 8 more", row["where"])

    def test_fields_that_may_differ(self):
        nova, _ = self.stub({"images": [{"id": "1", "a": 1, "b": {"c": 1}}]})
        images, _ = self.stub({"images": [{"id": "1", "a": 2, "b": {"c": 2}}]})
        status, rows, _ = self.shadow(nova, images, "--ignore", "images.a")
        self.assertEqual(
            (1, ["images.b.c"]), (status, [r["field"] for r in rows])
        )
        status, rows, err = self.shadow(
            nova, images, "--ignore", "images.a", "--ignore", "*.c"
        )
        self.assertEqual((0, []), (status, rows))
        self.assertIn("nothing differs", err)

    def test_both_get_the_same_request(self):
        nova, at_nova = self.stub({})
        images, at_images = self.stub({})
        line = (
            f'"GET /v2.1/{PROJECT}/images/x/metadata/a b?c=%20" status: 200 '
            "len: 1 microversion: 2.35 time: 0.01"
        )
        status, _, _ = self.shadow(
            *(f"{nova}/compute/v2.1/", images, "--project", "ours"),
            log=f"{line}\nHEAD {PATH}",
        )
        self.assertEqual(0, status)
        for environ, root in ((at_nova[0], "/compute"), (at_images[0], "")):
            self.assertEqual(
                (
                    f"{root}/v2.1/ours/images/x/metadata/a b",
                    *("c=%20", TOKEN, "compute 2.35", "2.35"),
                ),
                (
                    environ["PATH_INFO"],
                    environ["QUERY_STRING"],
                    environ["HTTP_X_AUTH_TOKEN"],
                    environ["HTTP_OPENSTACK_API_VERSION"],
                    environ["HTTP_X_OPENSTACK_NOVA_API_VERSION"],
                ),
            )
        for seen in (at_nova, at_images):
            self.assertNotIn("HTTP_OPENSTACK_API_VERSION", seen[1])
            self.assertEqual("HEAD", seen[1]["REQUEST_METHOD"])

    def test_never_a_write(self):
        """Whatever the log has, GET and HEAD are all that is sent."""
        nova, at_nova = self.stub({})
        images, at_images = self.stub({})
        methods = (
            *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
            *("TRACE", "CONNECT", "get", "GETX", "DELETE GET", "PURGE"),
        )
        paths = (
            PATH,
            f"{PATH}/x",
            f"{PATH}/x/metadata",
            f"{PATH}/x/metadata/y",
        )
        lines = []
        for method in methods:
            for path in paths:
                lines += [
                    f"{method} {path}",
                    f'- "{method} {path} HTTP/1.1" 200 "GET {path} HTTP/1.1"',
                    f'"{method} {path}" status: 200 microversion: 2.1 time: 1',
                    f"] {method} {path} => generated 1 bytes",
                ]
        self.shadow(nova, images, log="\n".join(lines))
        for seen in (at_nova, at_images):
            self.assertGreater(len(seen), 7)
            self.assertEqual(
                {"GET", "HEAD"}, {one["REQUEST_METHOD"] for one in seen}
            )
        asked = endpoint.Endpoint("nova", nova, TOKEN, 5, None)
        for method in methods[2:]:
            with self.subTest(method), self.assertRaises(ValueError):
                asked.ask(Request(method, PATH))

    def test_what_differs_for_a_moment(self):
        """As where an image has changed between two questions."""
        asked = []

        def late(_environ):
            asked.append(1)
            return {"images": [] if len(asked) == 1 else [{"id": "1"}]}

        nova, _ = self.stub({"images": [{"id": "1"}]})
        images, _ = self.stub(late)
        self.assertEqual((0, []), self.shadow(nova, images)[:2])
        self.assertEqual(2, len(asked))

    def test_the_most_frequent_ones(self):
        nova, seen = self.stub({})
        log = "\n".join([PATH, *[f"{PATH}?limit=1"] * 3, *[f"{PATH}/x"] * 2])
        self.shadow(nova, nova, "--limit", "2", log=log)
        self.assertEqual(
            [f"{PATH}?limit=1", f"{PATH}/x"],
            [
                one["PATH_INFO"] + ("?" + one["QUERY_STRING"]).rstrip("?")
                for one in seen[::2]
            ],
        )

    def test_the_rate(self):
        nova, _ = self.stub({})
        log = "\n".join(f"{PATH}/{number}" for number in range(5))
        start = time.monotonic()
        self.shadow(nova, nova, "--rate", "10", log=log)
        self.assertGreater(time.monotonic() - start, 0.4)

    def test_next_pages_have_the_same_rate(self):
        """They were asked for at once, and Nova got twice as many."""

        def document(environ):
            if "marker" in environ["QUERY_STRING"]:
                return {"images": []}
            link = {"rel": "next", "href": "/x?limit=1&marker=1"}
            return {"images": [{"id": "1"}], "images_links": [link]}

        nova, _ = self.stub(document)
        images, _ = self.stub({"images": [{"id": "1"}]})
        log = "\n".join(f"{PATH}?limit={number}" for number in range(1, 4))
        start = time.monotonic()
        with mock.patch.object(shadow, "_PAUSE", 0):
            self.shadow(nova, images, "--rate", "5", log=log)
        # Three lists, three next pages, and both again.
        self.assertGreater(time.monotonic() - start, 11 * 0.2)

    def test_a_last_page(self):
        """Nova's next link leads to nothing, or to images that lack here."""
        for rest, reason in (([], "only if more images"), ([{"id": "2"}], "")):

            def document(environ, rest=rest):
                if "marker=1" in environ["QUERY_STRING"]:
                    return {"images": rest}
                link = {"rel": "next", "href": "/x?limit=1&marker=1"}
                return {"images": [{"id": "1"}], "images_links": [link]}

            nova, seen = self.stub(document)
            images, _ = self.stub({"images": [{"id": "1"}]})
            status, (row,), _ = self.shadow(
                nova, images, log=f"{PATH}?limit=1"
            )
            self.assertEqual("images_links", row["field"])
            self.assertIn(reason, row["documented"])
            self.assertEqual(int(not reason), status)
            self.assertEqual({PATH}, {one["PATH_INFO"] for one in seen})

    def test_redirects_are_not_followed(self):
        other, seen = self.stub({})
        nova, _ = self.stub({}, "302 Found", [("Location", f"{other}{PATH}")])
        self.shadow(nova, nova)
        self.assertEqual([], seen)

    def test_a_token_that_is_repeated(self):
        nova, _ = self.stub({"x": TOKEN})
        images, _ = self.stub({"x": f"x{TOKEN}"}, headers=[("Vary", TOKEN)])
        _, rows, _ = self.shadow(nova, images)
        self.assertEqual(['"***"', '"x***"'], [row["images"] for row in rows])

    def test_nothing_succeeds(self):
        nova, _ = self.stub({"badRequest": {}}, "400 Bad Request")
        status, rows, err = self.shadow(nova, nova)
        self.assertEqual((2, []), (status, rows))
        self.assertIn("--project", err)


class TestFailures(ShadowTestCase):
    def setUp(self):
        super().setUp()
        self.nova, self.at_nova = self.stub({"images": []})
        self.log = "\n".join(f"{PATH}/{number}" for number in range(50))

    def assertStops(self, images, message, *args):
        """Check that the command ends at once with a message."""
        start = time.monotonic()
        status, rows, err = self.shadow(self.nova, images, *args, log=self.log)
        self.assertEqual((2, []), (status, rows), err)
        self.assertIn(message, err)
        self.assertEqual(1, len(self.at_nova))
        self.assertLess(time.monotonic() - start, 5)

    def test_nobody_listens(self):
        url = f"http://127.0.0.1:{processes.free_port()}"
        self.assertStops(url, f"images does not answer GET {PATH}/0: ")

    def test_it_hangs(self):
        stop = threading.Event()
        self.addCleanup(stop.set)
        images, _ = self.stub(lambda _environ: {"x": stop.wait(30)})
        self.assertStops(images, "no answer within 1.0 s", "--timeout", "1")

    def test_it_answers_a_byte_at_a_time(self):
        stop = threading.Event()
        self.addCleanup(stop.set)
        url = f"http://127.0.0.1:{stubs.drip(self, stop)}"
        self.assertStops(url, "no answer within 1.0 s", "--timeout", "1")

    def test_half_an_answer(self):
        def half(_environ, start_response):
            start_response("200 OK", [("Content-Length", "100")])
            return [b'{"images": ']

        self.assertStops(self.serve(half), "IncompleteRead")

    def test_a_huge_answer(self):
        def huge(_environ, start_response):
            start_response("200 OK", [])
            return (b"x" * 1000 for _ in range(1_000_000))

        with mock.patch.object(endpoint, "_LARGEST", 100_000):
            self.assertStops(self.serve(huge), "more than 100000 bytes")

    def test_a_token_that_is_invalid(self):
        images, _ = self.stub({}, "401 Unauthorized")
        self.assertStops(images, "images answers 401: the token is invalid")

    def test_it_goes_down(self):
        """What was compared before is shown."""
        answers = iter(
            [{"images": [1]}, b"", {"images": []}, *[b""] * 3, {"images": []}]
        )

        def falls(environ, start_response):
            body = next(answers)
            length = "1" if body == b"" else str(len(json.dumps(body)))
            start_response(
                "200 OK",
                [
                    ("Content-Type", "application/json"),
                    ("Content-Length", length),
                ],
            )
            return [json.dumps(body).encode() if body != b"" else b""]

        status, rows, err = self.shadow(
            self.nova, self.serve(falls), log=self.log
        )
        self.assertEqual(2, status)
        self.assertIn(f"images does not answer GET {PATH}/5", err)
        self.assertEqual(
            [("images", "200"), ("answer", "none"), ("answer", "none")],
            [(rows[0]["field"], "200")]
            + [(row["field"], row["images"]) for row in rows[1:3]],
        )

    def test_input_that_cannot_be_used(self):
        known = (self.nova, self.nova)
        for log in (
            "",
            "GET /v2.1/servers",
            "DELETE /v2.1/images/x",
            "\0\xff",
        ):
            status, rows, err = self.shadow(*known, log=log)
            self.assertEqual((2, None), (status, rows))
            self.assertIn("- has no read of images", err)
        args = ("shadow", "--nova", self.nova, "--images", self.nova)
        status, _, err = self.manage(*args, f"{self.folder}/missing")
        self.assertEqual(2, status)
        self.assertIn("missing", err)
        for wrong in ("nova:8774", "ftp://nova", "http://", "http://a:b@nova"):
            status, _, err = self.manage(
                "shadow", "--nova", wrong, "--images", self.nova, "-"
            )
            self.assertEqual(2, status)
            self.assertIn("--nova: not http://HOST:PORT", err)
            self.assertNotIn("a:b", err)
        for name, value in (
            *(("--microversion", "3"), ("--rate", "0"), ("--limit", "x")),
        ):
            status, _, err = self.manage(*args, name, value, "-")
            self.assertEqual(2, status)
            self.assertIn(f"argument {name}", err)
        self.assertEqual([], self.at_nova)

    def test_tokens(self):
        path = f"{self.folder}/token"
        for text in ("", "two words", "é", "a\0b"):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            status, _, err = self.shadow(
                self.nova, self.nova, "--token-file", path
            )
            self.assertEqual(2, status)
            self.assertIn(f"{path} holds no token", err)
            if text:
                self.assertNotIn(text, err)
        with mock.patch.dict(os.environ):
            del os.environ["OS_TOKEN"]
            status, _, err = self.shadow(self.nova, self.nova)
            self.assertEqual(2, status)
            self.assertIn("OS_TOKEN holds no token", err)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"{TOKEN}\n")
            status, _, _ = self.shadow(
                self.nova, self.nova, "--token-file", path
            )
        self.assertEqual(0, status)
        self.assertEqual(TOKEN, self.at_nova[-1]["HTTP_X_AUTH_TOKEN"])

    def test_proxies_and_passwords_of_the_user(self):
        with open(f"{self.folder}/.netrc", "w", encoding="utf-8") as file:
            file.write("machine 127.0.0.1 login x password y\n")
        environ = {
            "http_proxy": f"http://127.0.0.1:{processes.free_port()}",
            "NETRC": f"{self.folder}/.netrc",
        }
        with mock.patch.dict(os.environ, environ):
            self.assertEqual(0, self.shadow(self.nova, self.nova)[0])
        self.assertNotIn("HTTP_AUTHORIZATION", self.at_nova[0])


class TestService(ShadowTestCase):
    """The service itself on both sides."""

    def setUp(self):
        super().setUp()
        os.environ["OS_TOKEN"] = base.TOKENS["member"]
        store = self.make_store(self.conf)
        self.url = self.serve(app.create(self.conf, store))

    def test_nothing_differs_from_itself(self):
        own = base.IDS["own"]
        log = [
            *("/v2.1/images", "/v2.1/images/detail", "/v2/images/detail"),
            f"/v2.1/{PROJECT}/images/detail?limit=2",
            f"HEAD /v2.1/{PROJECT}/images/{own}",
            f"/v2.1/images/{own}/metadata",
            f"/v2.1/images/{own}/metadata/foo",
            f"/v2.1/images/{base.UNKNOWN}",
            "/v2.1/images?limit=0",
            "/v2.1/images/detail?changes-since=2026-01-01T00:00:00Z",
        ]
        other = self.serve(app.create(self.conf))
        status, rows, err = self.shadow(
            *(self.url, other, "--project", base.OWNER), log="\n".join(log)
        )
        self.assertEqual((0, []), (status, rows), err)
        self.assertIn("Both answer 200: 8\n", err)
        self.assertIn("Both answer 404: 1\n", err)

    def test_an_image_that_has_changed(self):
        conf = self.make_conf()
        store = self.make_store(conf)
        base.change_metadata(store, base.IDS["own"], {"foo": "other"})
        base.delete(store, base.IDS["own-shared"])
        other = self.serve(app.create(conf, store))
        status, rows, _ = self.shadow(
            self.url, other, log="/v2.1/images/detail"
        )
        self.assertEqual(1, status)
        found = {(row["field"], row["where"]): row for row in rows}
        self.assertEqual(
            {
                ("images.metadata.foo", base.IDS["own"]),
                ("images.updated", base.IDS["own"]),
                ("images", base.IDS["own-shared"]),
            },
            set(found),
        )
        row = found["images.metadata.foo", base.IDS["own"]]
        self.assertEqual(('"bar"', '"other"'), (row["nova"], row["images"]))

    def test_the_commands_of_the_page(self):
        page = documentation.read("doc/source/admin/shadow.rst")
        blocks = re.findall(r"code-block:: console\n\n   (.+)", page)
        self.assertEqual(3, len(blocks))
        for name, text in (
            ("access.log", f'"GET /v2.1/{PROJECT}/images HTTP/1.1" 200 1'),
            ("token", base.TOKENS["member"]),
        ):
            with open(f"{self.folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        with gzip.open(f"{self.folder}/access.log.2.gz", "wt") as file:
            file.write("/v2.1/images/detail")
        own = {
            "http://nova.example:8774": self.url,
            "http://images.example:8775": self.url,
            "--token-file token": f"--token-file {self.folder}/token",
            "/var/log/nginx": self.folder,
            f"--project {PROJECT}": f"--project {base.OWNER}",
        }
        for block in blocks:
            line = block
            for known, value in own.items():
                line = line.replace(known, value)
            *pipe, command = line.split(" | ")
            log = "".join(
                subprocess.run(
                    shlex.split(part),
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
                for part in pipe
            )
            program, *args = shlex.split(command)
            self.assertEqual(manage.PROGRAM, program)
            with self.subTest(command):
                status, _, err = self.manage(*args, stdin=log)
                self.assertIn("compared: 1", err)
                # The second one names another project than the token's.
                self.assertEqual(2 if "--ignore" in args else 0, status)
