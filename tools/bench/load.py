# SPDX-License-Identifier: Apache-2.0
"""Load from one process: some connections, each with one request under way."""

import math
import re
import selectors
import socket
import time
from typing import NamedTuple

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)


class Load(NamedTuple):
    """What was sent and how long each answer took, in seconds."""

    seconds: float
    latencies: list[float]


class _Connection:
    def __init__(self, port: int, requests: list[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._number = 0

    def send(self) -> None:
        self._received = b""
        self._chunks = 0
        self._left = -1
        request = self._requests[self._number % len(self._requests)]
        self._number += 1
        self.started = time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Read what is there; tell whether the answer is whole."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("The server has closed a connection")
        if self._left >= 0:
            self._left -= len(data)
            return self._left == 0
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
            raise ConnectionError(self._received[:2000].decode())
        found = _LENGTH.search(head)
        self._left = (int(found.group(1)) if found else 0) - len(body)
        return self._left == 0


def run(
    port: int,
    requests: list[list[bytes]],
    seconds: float = math.inf,
    count: float = math.inf,
) -> Load:
    """Send requests for some time, or so many.

    :param requests: for each connection the requests that it sends in turn.
    :param count: a few more are sent, those that are then under way.
    """
    connections = [_Connection(port, each) for each in requests]
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(
                connection.socket, selectors.EVENT_READ, connection
            )
            connection.send()
        start = now = time.perf_counter()
        waiting = len(connections)
        while waiting:
            for key, _ in selector.select():
                connection = key.data
                if not connection.is_answered():
                    continue
                now = time.perf_counter()
                latencies.append(now - connection.started)
                if now - start < seconds and len(latencies) < count:
                    connection.send()
                else:
                    waiting -= 1
        for connection in connections:
            connection.socket.close()
    return Load(now - start, latencies)
