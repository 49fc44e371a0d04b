# SPDX-License-Identifier: Apache-2.0
"""Bodies that a server can't hand over whole; queries that come again."""

import io
import json

import webob

from images_service.tests import base

PATH = f"/v2.1/images/{base.IDS['own']}/metadata"


class Broken(io.BytesIO):
    """What servers do where a client leaves, or sends no chunks."""

    def __init__(self, error):
        super().__init__()
        self._error = error

    def read(self, *_args):
        raise self._error


class ChunkError(Exception):
    """An error of a server's own, which is no OSError."""


class TestBody(base.ApiTestCase):
    def put(self, stream, **environ):
        req = webob.Request.blank(PATH, method="PUT")
        req.headers["X-Auth-Token"] = base.TOKENS["member"]
        req.environ["wsgi.input"] = stream
        req.environ.pop("CONTENT_LENGTH", None)
        req.environ.update(environ)
        return req.get_response(self.app)

    def assertMalformed(self, response):
        self.assertEqual(400, response.status_int, response.text)
        fault = json.loads(response.text)["badRequest"]
        self.assertEqual("Malformed request body", fault["message"])

    def test_a_stream_that_breaks_is_a_400(self):
        for error in (
            ConnectionResetError("reset"),
            TimeoutError("slow"),
            OSError("uwsgi: error reading"),
            ChunkError("no size"),
            ValueError("bad size"),
            EOFError(),
        ):
            for environ in (
                {"wsgi.input_terminated": True},
                {"CONTENT_LENGTH": "20"},
            ):
                with self.subTest(error=error, **environ):
                    self.assertMalformed(self.put(Broken(error), **environ))

    def test_a_body_that_ends_early_is_a_400_though_it_is_json(self):
        body = io.BytesIO(b'{"metadata": {}}')
        self.assertMalformed(self.put(body, CONTENT_LENGTH="20"))


class TestQuery(base.ApiTestCase):
    def status(self, path):
        req = webob.Request.blank(f"/v2.1/images{path}")
        req.headers["X-Auth-Token"] = base.TOKENS["member"]
        return req.get_response(self.app).status_int

    def test_what_is_remembered_of_one_action_does_not_serve_another(self):
        show = f"/{base.IDS['own']}?limit=x"
        # That of an image has no parameters, and ignores them.
        for _ in range(2):
            self.assertEqual(200, self.status(show))
            self.assertEqual(400, self.status("?limit=x"))
            self.assertEqual(400, self.status("/detail?limit=x"))
        for _ in range(2):
            self.assertEqual(200, self.status("?limit=1"))
            self.assertEqual(200, self.status("/detail?limit=1"))

    def test_what_is_remembered_stays_as_it_was(self):
        pages = [
            webob.Request.blank(
                "/v2.1/images?limit=1&limit=2&name=&frob=1",
                headers={"X-Auth-Token": base.TOKENS["member"]},
            )
            .get_response(self.app)
            .text
            for _ in range(2)
        ]
        self.assertEqual(*pages)
