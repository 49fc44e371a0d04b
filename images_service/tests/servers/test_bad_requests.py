# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong below the API's own checks."""

import http.client
import json
import socket
import struct

from images_service.tests import base
from images_service.tests.servers import processes

ITEM = f"/v2.1/{base.OWNER}/images/{base.IDS['own']}/metadata"
HEAD = f"Host: x\r\nX-Auth-Token: {base.TOKENS['member']}\r\n"
PUT = f"PUT {ITEM} HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\n"
CHUNKED = f"{PUT}Transfer-Encoding: chunked\r\n\r\n"
GET = f"GET {ITEM} HTTP/1.1\r\n{HEAD}"


class TestBadRequests(base.TestCase):
    """A fault in JSON or nothing, and no traceback in the log."""

    def setUp(self):
        super().setUp()
        self.api = processes.Api(self.make_folder())
        self.make_store(base.configuration(self.api.folder))
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()

    def tearDown(self):
        status, _ = self.send(f"{GET}\r\n")
        self.assertEqual(200, status)
        with open(self.api.log, encoding="utf-8") as file:
            log = file.read()
        for word in ("Traceback", "ERROR", "status: 500"):
            self.assertNotIn(word, log)

    def connect(self):
        client = socket.create_connection(
            ("127.0.0.1", self.api.port), timeout=10
        )
        self.addCleanup(client.close)
        return client

    def send(self, text, end=False):
        """Send bytes; return the answer's status and document, if one comes.

        :param end: send no more after them.
        """
        client = self.connect()
        client.sendall(text.encode("latin-1"))
        if end:
            client.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(client)
        try:
            answer.begin()
        except (ConnectionError, http.client.BadStatusLine):
            return None, None
        self.assertIn("x-openstack-request-id", answer.headers)
        self.assertEqual(http.client.responses[answer.status], answer.reason)
        return answer.status, json.load(answer)

    def assertFault(self, status, name, sent):
        self.assertEqual(status, sent[0], sent)
        ((found, fault),) = sent[1].items()
        self.assertEqual(
            (name, status, {"code", "message"}),
            (found, fault["code"], set(fault)),
        )

    def test_chunked_bodies_that_are_none(self):
        for text in (
            "zz\r\n{}\r\n0\r\n\r\n",
            "-5\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}0\r\n\r\n",
        ):
            with self.subTest(text):
                self.assertFault(400, "badRequest", self.send(CHUNKED + text))
        # What follows the last chunk is thrown away unread.
        whole = '10\r\n{"metadata": {}}\r\n0\r\nno trailer\r\n\r\n'
        self.assertEqual((200, {"metadata": {}}), self.send(CHUNKED + whole))
        huge = "ffffffffffffffffffffff\r\n{}\r\n0\r\n\r\n"
        for text in (huge, "10\r\n{", "10\r\n", ""):
            with self.subTest(text):
                status, _ = self.send(CHUNKED + text, end=True)
                self.assertIn(status, (None, 400))

    def test_clients_that_leave_within_their_body(self):
        length = f"{PUT}Content-Length: 100\r\n\r\n"
        for text in (f'{length}{{"metadata"', f"{CHUNKED}64\r\n{{"):
            status, _ = self.send(text, end=True)
            self.assertIn(status, (None, 400))
            client = self.connect()
            client.sendall(text.encode())
            # No waiting for what is not sent: a reset.
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            client.close()

    def test_a_script_name_has_no_effect(self):
        for name in ("SCRIPT_NAME", "Script-Name", "PATH_INFO"):
            with self.subTest(name):
                sent = self.send(f"{GET}{name}: /elsewhere\r\n\r\n")
                self.assertEqual((200, ["metadata"]), (sent[0], [*sent[1]]))

    def test_a_scheme_that_a_client_names_was_believed(self):
        for text in (
            "X-Forwarded-Proto: https\r\n",
            "X-Forwarded-Protocol: ssl\r\n",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        ):
            with self.subTest(text):
                status, document = self.send(
                    f"GET / HTTP/1.1\r\nHost: x\r\n{text}\r\n"
                )
                self.assertEqual(200, status)
                self.assertNotIn("https://", json.dumps(document))

    def test_what_is_no_request(self):
        for status, name, text in (
            (400, "badRequest", "nonsense\r\n\r\n"),
            (400, "badRequest", f"{GET}no colon\r\n\r\n"),
            (400, "badRequest", f"{GET}Host: y\r\n\r\n"),
            (400, "badRequest", f"{PUT}Content-Length: x\r\n\r\n"),
            (400, "badRequest", f"{PUT}Content-Length: {'9' * 5000}x\r\n\r\n"),
            (400, "badRequest", f"{PUT}Content-Length: {'9' * 5000}\r\n\r\n"),
            (413, "overLimit", f"{PUT}Content-Length: {'9' * 4000}\r\n\r\n"),
            (414, "computeFault", f"GET /{'x' * 20000} HTTP/1.1\r\n\r\n"),
            (431, "computeFault", f"{GET}X: {'x' * 20000}\r\n\r\n"),
            (
                501,
                "computeFault",
                f"{PUT}Transfer-Encoding: unknown, chunked\r\n\r\n",
            ),
        ):
            with self.subTest(text[:100] + text[-20:]):
                self.assertFault(status, name, self.send(text))

    def test_a_reason_that_gunicorn_does_not_know(self):
        version = "OpenStack-API-Version: compute 9.9\r\n"
        sent = self.send(f"{GET}{version}\r\n")
        self.assertFault(406, "computeFault", sent)

    def test_websockets_and_http_2_are_not_offered(self):
        for text in (
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n",
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        ):
            status, _ = self.send(f"{GET}{text}\r\n")
            self.assertEqual(200, status)

    def test_a_body_that_is_too_long_is_told_while_it_is_sent(self):
        body = "x" * 500_000
        for text in (
            f"{PUT}Content-Length: {len(body)}\r\n\r\n{body}",
            f"{CHUNKED}{len(body):x}\r\n{body}\r\n0\r\n\r\n",
        ):
            self.assertFault(413, "overLimit", self.send(text))
