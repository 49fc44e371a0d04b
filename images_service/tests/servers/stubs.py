# SPDX-License-Identifier: Apache-2.0
"""Servers that say what a function says, for tests of what asks them."""

import http.server
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
