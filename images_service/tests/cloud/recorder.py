# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy that records the requests that it forwards."""

import collections
import contextlib
import http.client
import http.server
import threading
import time

Request = collections.namedtuple("Request", "time method path headers status")

# Headers that say how one connection is used, not what is said on it.
_OF_A_CONNECTION = {"connection", "content-length", "transfer-encoding"}


class Recorder:
    """A proxy on loopback in front of an HTTP server there.

    :param port: of the server.
    :ivar requests: what was forwarded, in the order of the answers.
    """

    def __init__(self, port):
        self.requests: list[Request] = []

        class Handler(_Handler):
            server_port = port
            requests = self.requests

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True
        )
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, image_id, *methods):
        """Return the requests of an image and of what is below it."""
        return [
            request
            for request in list(self.requests)
            if image_id in request.path
            and (not methods or request.method in methods)
        ]

    def writes(self):
        """Return the requests that change something."""
        return [
            request
            for request in list(self.requests)
            if request.method not in ("GET", "HEAD")
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet, for which nobody waits.
    wbufsize = -1
    disable_nagle_algorithm = True
    # Seconds until a client that says nothing more is left.
    timeout = 60
    server_port = 0
    requests: list[Request] = []

    def _forward(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server_port, timeout=60
        )
        start = time.monotonic()
        with contextlib.closing(connection):
            connection.request(
                self.command,
                self.path,
                body or None,
                {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in _OF_A_CONNECTION
                },
            )
            response = connection.getresponse()
            answer = response.read()
        self.requests.append(
            Request(
                start, self.command, self.path, self.headers, response.status
            )
        )
        self.send_response(response.status)
        for name, value in response.headers.items():
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        if response.status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _forward

    def log_message(self, *args):
        """Say nothing."""
