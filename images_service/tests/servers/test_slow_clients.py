# SPDX-License-Identifier: Apache-2.0
"""Clients that send or read slowly don't keep others from their answers."""

import contextlib
import http.client
import json
import re
import socket
import threading
import time

from images_service.glance import records
from images_service.tests import base
from images_service.tests.servers import processes

PATH = f"/v2.1/{base.OWNER}/images"
TOKEN = base.TOKENS["member"]
HEAD = f"Host: x\r\nX-Auth-Token: {TOKEN}\r\n"
WHOLE = f"GET {PATH} HTTP/1.1\r\n{HEAD}\r\n"
HALF = f"GET {PATH} HTTP/1.1\r\n{HEAD}"
LARGE = f"GET {PATH}/detail HTTP/1.1\r\n{HEAD}\r\n"
BODY = (
    f"PUT {PATH}/{base.IDS['own']}/metadata HTTP/1.1\r\n{HEAD}"
    "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
)
# Seconds of an answer to others, at most.
SOON = 2


class SlowClients(base.TestCase):
    """images-service-api with two workers of four threads, and no proxy."""

    api_class = processes.Api

    def setUp(self):
        super().setUp()
        folder = self.make_folder()
        self.api = self.api_class(folder, workers=2, threads=4)
        store = self.make_store(base.configuration(self.api.folder))
        # Pages that no socket holds.
        record = {
            "owner": base.OWNER,
            "status": "active",
            **{f"key{number}": "x" * 255 for number in range(10)},
        }
        now = base.NOW
        store.add(
            [
                records.new_image(record, now, generate_id=True)
                for _ in range(1000)
            ]
        )
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()
        self.before = self.settled()
        self.clients = contextlib.ExitStack()
        self.addCleanup(self.clients.close)

    def connect(self, text="", count=1):
        """Open connections, send a text on each, and return them."""
        found = []
        for _ in range(count):
            client = self.clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", self.api.port))
            client.sendall(text.encode())
            found.append(client)
        return found

    def slow_bodies(self, count):
        """Send bodies at one byte a second."""
        clients = self.connect(BODY, count)
        stopped = threading.Event()

        def drip():
            while not stopped.wait(1):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        self.clients.callback(thread.join)
        self.clients.callback(stopped.set)

    def others(self, seconds=0.0):
        """Ask what others ask, each on a connection of its own."""
        deadline = time.monotonic() + seconds
        while True:
            for path in ("/", "/healthcheck", f"{PATH}?limit=3"):
                start = time.monotonic()
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self.api.port, timeout=SOON
                )
                with contextlib.closing(connection):
                    connection.request(
                        "GET", path, headers={"X-Auth-Token": TOKEN}
                    )
                    answer = connection.getresponse()
                    answer.read()
                self.assertEqual(200, answer.status)
                self.assertLess(time.monotonic() - start, SOON, path)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.1)

    def descriptors(self):
        """Return how many sockets all workers have open."""
        return sum(map(processes.count_sockets, self.api.workers()))

    def settled(self):
        """Wait until both workers serve; return how many sockets they have."""
        deadline = time.monotonic() + 20
        counts = [0]
        while len(self.api.workers()) < 2 or counts[-10:] != counts[-1:] * 10:
            self.assertLess(time.monotonic(), deadline)
            self.others()
            time.sleep(0.05)
            counts.append(self.descriptors())
        return counts[-1]

    def leave(self):
        """Close the slow clients' connections; all must be as before."""
        self.clients.close()
        deadline = time.monotonic() + 5
        while self.descriptors() > self.before:
            self.assertLess(time.monotonic(), deadline, "left open")
            time.sleep(0.1)
        self.others()
        with open(self.api.log, encoding="utf-8") as file:
            self.assertNotIn("Traceback", file.read())


class TestSlowClients(SlowClients):
    def test_silent_connections(self):
        self.connect(count=200)
        self.others(3)
        self.leave()

    def test_half_heads(self):
        self.connect(HALF, 16)
        self.others(3)
        self.leave()

    def test_slow_bodies(self):
        self.slow_bodies(16)
        self.others(3)
        self.leave()

    def test_unread_answers(self):
        self.connect(LARGE, 16)
        self.others(3)
        self.leave()

    def test_all_of_them_at_the_same_time(self):
        self.connect(count=200)
        self.connect(HALF, 16)
        self.slow_bodies(16)
        self.connect(LARGE, 16)
        self.others(5)
        self.leave()

    def test_idle_connections_that_are_kept(self):
        for client in self.connect(WHOLE.replace("images", "none"), 300):
            self.assertIn(b"404", client.recv(65536))
        self.others(1)
        self.leave()


class Impatient(processes.Api):
    """images-service-api, which waits for two seconds at most."""

    def command(self):
        program, option, start, *args = super().command()
        return [
            *(program, option),
            "from images_service.cmd import asgi, serving\n"
            "asgi.BODY_SECONDS = 2\n"
            "serving.HEAD_SECONDS = serving.ANSWER_SECONDS = 2\n" + start,
            *args,
        ]


class TestDeadlines(SlowClients):
    """What is not whole in time is closed, and leaves nothing behind."""

    api_class = Impatient

    def rest(self, client):
        """Read until the server closes a connection; return what it sent."""
        client.settimeout(20)
        data = bytearray()
        with contextlib.suppress(ConnectionError):
            while part := client.recv(1 << 20):
                data += part
        return bytes(data)

    def test_of_a_head(self):
        for text in ("", HALF):
            for client in self.connect(text, 10):
                self.assertEqual(b"", self.rest(client))
        for client in self.connect(WHOLE + HALF, 10):
            self.assertEqual(1, self.rest(client).count(b"HTTP/1.1 200 OK"))
        self.leave()

    def test_of_a_body(self):
        self.slow_bodies(10)
        (client,) = self.connect(BODY)
        head, _, body = self.rest(client).partition(b"\r\n\r\n")
        self.assertIn(b"HTTP/1.1 400 ", head)
        self.assertEqual(
            {"code": 400, "message": "Malformed request body"},
            json.loads(body)["badRequest"],
        )
        self.leave()

    def test_of_an_answer(self):
        clients = [
            *self.connect(LARGE, 10),
            *self.connect(LARGE.replace("1.1", "1.0"), 10),
        ]
        # All that time no client reads, then each does.
        time.sleep(8)
        for client in clients:
            head, _, body = self.rest(client).partition(b"\r\n\r\n")
            (length,) = re.findall(rb"Content-Length: (\d+)", head)
            self.assertLess(len(body), int(length))
        self.leave()
