# SPDX-License-Identifier: Apache-2.0
"""One answer of Keystone arrives byte by byte, and the others at once."""

import contextlib
import time
from unittest import mock

from images_service import app
from images_service import exception
from images_service.glance import client
from images_service.middleware import keystone as filters
from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.functional.test_keystone import KeystoneTestCase

# Seconds for which an answer arrives, and for which requests wait for one.
LONG, SHORT = 12, 2
# An answer's beginning, which may be of its head, or of its body.
HEAD = b"HTTP/1.1 201 Created\r\nX-Long: "
BODY = b"HTTP/1.1 201 Created\r\nContent-Length: 5000\r\n\r\n"
CHUNK = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n"


def trickling(server, method, beginning):
    """Let a Keystone's next answer to a method arrive byte by byte."""
    left = [method]

    def misbehave(asked, handler):
        if asked not in left:
            return False
        left.clear()
        handler.close_connection = True
        end = time.monotonic() + LONG
        with contextlib.suppress(OSError):
            handler.wfile.write(beginning)
            while time.monotonic() < end:
                handler.wfile.write(b"x")
                time.sleep(0.1)
        return True

    return mock.patch.object(server, "misbehave", misbehave)


class TestTokens(KeystoneTestCase):
    options = {"http_connect_timeout": "1"}

    def test_one_answer_kept_all_requests_from_keystone(self):
        """Others wait while keystoneauth gets the service's own token."""
        for beginning in (HEAD, BODY, CHUNK):
            with (
                self.subTest(beginning=beginning),
                trickling(self.keystone, "POST", beginning),
                mock.patch.object(filters, "_DEADLINE", SHORT),
            ):
                self.app = app.create(self.conf, self.store)
                response = self.get("/images", "member")
                self.assertFault(response, 503, "serviceUnavailable")
                response = self.get("/images", "member")
                self.assertEqual(200, response.status_int)

    def test_a_slow_answer_that_is_in_time(self):
        def misbehave(method, handler):
            time.sleep(0.3)
            return False

        with mock.patch.object(self.keystone, "misbehave", misbehave):
            response = self.get("/images", "member")
        self.assertEqual(200, response.status_int)


class TestMirror(base.TestCase):
    def test_one_answer_kept_all_requests_from_glance(self):
        server = keystone.Keystone({})
        server.service_roles = ["admin"]
        server.start()
        self.addCleanup(server.stop)
        options = keystone.options(server.url)
        for name in (
            "www_authenticate_uri",
            "http_request_max_retries",
            "service_token_roles_required",
        ):
            del options[name]
        conf = self.make_conf(
            glance={"mode": "mirror", "timeout": "1", **options}
        )
        glance = client.Glance(conf)
        with trickling(server, "POST", HEAD):
            with self.assertRaises(exception.GlanceUnavailable):
                glance.check_role()
            glance.check_role()
