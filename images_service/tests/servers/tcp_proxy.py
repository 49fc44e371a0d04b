# SPDX-License-Identifier: Apache-2.0
"""A proxy between a service and its database that drops or delays data."""

import contextlib
import socket
import struct
import threading
import time

# The fate of the next COMMIT: it is lost, its answer is lost, or the
# connection is cut after it.
REQUEST, ANSWER, CUT = range(3)


class Proxy:
    """A TCP proxy on loopback.

    :param port: of the server on loopback.
    :ivar delay: seconds before each part of an answer of the server.
    :ivar pause: seconds after each byte of an answer, 0 for whole answers.
    """

    delay = pause = 0.0

    def __init__(self, port):
        self._server = ("127.0.0.1", port)
        self._flows = threading.Event()
        self._flows.set()
        self._pairs = []
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.commit = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        # A thread that waits for connections notices this, but no close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        self._flows.set()
        for thread in self._threads:
            thread.join(10)

    @contextlib.contextmanager
    def swallowing(self, *, cut=False):
        """Forward nothing; connections stay open, new ones as well.

        :param cut: reset them at the end; else what was sent goes on then.
        """
        self._flows.clear()
        try:
            yield
        finally:
            if cut:
                self.reset()
            self._flows.set()

    @contextlib.contextmanager
    def trickling(self, pause=0.1):
        """Forward answers byte by byte, then cut the connections."""
        self.pause = pause
        try:
            yield
        finally:
            self.pause = 0.0
            self.reset()

    def reset(self):
        """Reset all connections."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _cut(*pair)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(
                    target=self._serve, args=(client,), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _serve(self, client):
        server = socket.socket()
        self._pairs.append((client, server))
        fate = None

        def asked(data):
            nonlocal fate
            if self.commit is not None and b"COMMIT" in data.upper():
                fate, self.commit = self.commit, None
            return fate != REQUEST

        def answered(_data):
            if fate == CUT:
                _cut(client, server)
            time.sleep(self.delay)
            return fate is None

        self._flows.wait()
        with client, server, contextlib.suppress(OSError):
            server.connect(self._server)
            back = threading.Thread(
                target=self._pump, args=(server, client, answered), daemon=True
            )
            back.start()
            self._pump(client, server, asked)
            back.join()

    def _pump(self, source, sink, wanted):
        """Forward what one side sends and is wanted, until it ends."""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                if not wanted(data):
                    continue
                while self.pause and data:
                    sink.sendall(data[:1])
                    data = data[1:]
                    time.sleep(self.pause)
                sink.sendall(data)
            self._flows.wait()
            sink.shutdown(socket.SHUT_WR)


def _cut(*sockets):
    """Reset connections."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            one.shutdown(socket.SHUT_RDWR)
            one.close()
