# SPDX-License-Identifier: Apache-2.0
"""HTTP servers for tests, which answer what a function returns.

As a program this module allows each remote policy check::

    python -m images_service.tests.servers.stubs PORT
"""

import http.server
import socket
import sys
import threading


def serve(test, answer):
    """Start a server on loopback until a test ends; return its port.

    :param answer: takes the handler of a GET and returns the body.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = answer(self)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    test.addCleanup(server.server_close)
    test.addCleanup(server.shutdown)
    return server.server_port


def drip(test, stop):
    """Start a server that answers a byte at a time until a test ends.

    :param stop: an event that ends it; return its port.
    """
    server = socket.create_server(("127.0.0.1", 0))

    def answer(connection):
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not stop.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(
                target=answer, args=(connection,), daemon=True
            ).start()

    threading.Thread(target=accept, daemon=True).start()
    test.addCleanup(server.close)
    return server.getsockname()[1]


class Allowing(http.server.BaseHTTPRequestHandler):
    """Says True to each POST."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"True")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args):
        """Say nothing."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(
        ("127.0.0.1", int(sys.argv[1])), Allowing
    ).serve_forever()
