# SPDX-License-Identifier: Apache-2.0
"""Limits the time of a whole answer to a request of a keystoneauth session.

The time-outs of the library requests begin again at each part of an answer.
keystoneauth gets the service's own token under a lock. If the answer to this
request arrives byte by byte, all other requests wait for the lock.
"""

from http import client
import io
import socket
import time
from typing import Any
from typing import TYPE_CHECKING

from keystoneauth1 import session as keystone
import urllib3
from urllib3 import connection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def limit(session: keystone.Session) -> None:
    """Apply the time-outs of a session's requests to whole answers.

    Answers through a forward proxy are not limited.
    """
    for adapter in session.adapters.values():
        adapter.poolmanager.pool_classes_by_scheme = _POOLS


class _Reader(io.RawIOBase):
    """Reads an answer until its time-out.

    :param answer: the stream of the answer.
    :param sock: the socket on which it arrives.
    :param seconds: time limit of the whole answer.
    """

    def __init__(
        self, answer: io.RawIOBase, sock: socket.socket, seconds: float
    ) -> None:
        self._answer = answer
        self._socket = sock
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        """Read some bytes.

        :raises TimeoutError: the answer has not arrived in time.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole answer has not arrived in time")
        self._socket.settimeout(left)
        return self._answer.readinto(buffer)

    def close(self) -> None:
        """Close the stream of the answer, too."""
        self._answer.close()
        super().close()


class _Answer(client.HTTPResponse):
    """An answer that must arrive within the time-out of its connection."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            reader = _Reader(self.fp.detach(), sock, seconds)
            self.fp = io.BufferedReader(reader)


class _Connection(connection.HTTPConnection):
    response_class = _Answer


class _TLSConnection(connection.HTTPSConnection):
    response_class = _Answer


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS = {"http": _Pool, "https": _TLSPool}
