# SPDX-License-Identifier: Apache-2.0
"""Bodies that a server can't hand over whole."""

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
