# SPDX-License-Identifier: Apache-2.0
"""A message broker that hangs, or that is not there, delays no request."""

import atexit
import contextlib
import socket
import threading
import time
from unittest import mock

from images_service import app
from images_service.middleware import audit
from images_service.tests import base
from images_service.tests.servers import processes

REQUESTS = 30


class TestBroker(base.RequestTestCase):
    @contextlib.contextmanager
    def hanging(self):
        """Give the port of a server that takes connections, and no more."""
        with contextlib.ExitStack() as taken:
            server = taken.enter_context(
                socket.create_server(("127.0.0.1", 0))
            )

            def accept():
                with contextlib.suppress(OSError):
                    while True:
                        taken.enter_context(server.accept()[0])

            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            yield server.getsockname()[1]
            # A thread that waits for connections notices this, but no close.
            server.shutdown(socket.SHUT_RDWR)
            thread.join()

    @contextlib.contextmanager
    def kept(self):
        """Give the list of senders, and end what they are sending.

        Its errors would be in the log of a later test.
        """
        made = []

        class Sender(audit.Sender):
            def __init__(self, send):
                super().__init__(send)
                made.append(self)

        with mock.patch.object(audit, "Sender", Sender):
            yield made
        (sender,) = made
        sender._send = mock.Mock()
        self.wait(lambda: not sender._waiting.unfinished_tasks)

    def wait(self, is_so):
        deadline = time.monotonic() + 60
        while not is_so():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_broker_that_hangs(self):
        with self.kept() as made, self.hanging() as port:
            self.try_broker(port, made)

    def test_no_broker(self):
        with self.kept() as made:
            self.try_broker(processes.free_port(), made)

    def try_broker(self, port, made):
        url = f"rabbit://user:password@127.0.0.1:{port}/"
        conf = self.make_conf(audit={"transport_url": url})
        with mock.patch.object(audit, "_MOST", 5):
            self.app = app.create(conf, self.make_store(conf))
        times = []
        with (
            self.assertLogs(audit.__name__, "ERROR") as logs,
            mock.patch.object(atexit, "register"),
        ):
            for _ in range(REQUESTS):
                start = time.monotonic()
                response = self.request("GET", "/images", token=None)
                times.append(time.monotonic() - start)
                self.assertEqual(401, response.status_int)
                self.wait(lambda: made[0]._current)
        self.assertLess(max(times), 1)
        # One is being sent, five wait, and the log has the others.
        lost = [line for line in logs.output if "not sent: {" in line]
        self.assertEqual(REQUESTS - 6, len(lost))
        self.assertNotIn("password", "".join(logs.output))
