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
    def hanging(self):
        """Return the port of a server that takes connections, and no more."""
        server = socket.create_server(("127.0.0.1", 0))
        taken = []
        self.addCleanup(server.close)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept())

        threading.Thread(target=accept, daemon=True).start()
        # A thread that waits for connections notices this, but no close.
        self.addCleanup(server.shutdown, socket.SHUT_RDWR)
        return server.getsockname()[1]

    def test_no_request_waits(self):
        for port in (self.hanging(), processes.free_port()):
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
            self.assertLess(max(times), 1)
            # One is being sent, five wait, and the log has the others.
            lost = [line for line in logs.output if "not sent: {" in line]
            self.assertIn(len(lost), (REQUESTS - 6, REQUESTS - 5))
            self.assertNotIn("password", "".join(logs.output))
