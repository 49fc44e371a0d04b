# SPDX-License-Identifier: Apache-2.0
"""The server inside images-service-api: gunicorn, with threads."""

from collections.abc import Callable
import contextlib
import ctypes
import gc
import logging
import os
import select
import socket
import struct
from typing import Any
from typing import TYPE_CHECKING

from gunicorn import arbiter
from gunicorn.app.base import BaseApplication
from gunicorn.workers import gthread
from oslo_log import log

from images_service import metrics

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

LOG = log.getLogger(__name__)

# How many more objects there must be before garbage is looked for; a page of a
# thousand images makes eight thousand.
_OBJECTS = 25_000
# Of Linux; Python has no name for it.
_SO_ATTACH_FILTER = 26


class Worker(gthread.ThreadWorker):  # type: ignore[misc]
    """gunicorn's, which leaves no connection behind that clients have made.

    gunicorn's own leaves those that it has not accepted to the other workers;
    where all of them end, they are reset.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept what is there before accepting no more."""
        if not (enabled or self.alive):
            for listener in self.sockets:
                while select.select([listener], [], [], 0)[0]:
                    self.accept(listener)
        super().set_accept_enabled(enabled)


class Arbiter(arbiter.Arbiter):  # type: ignore[misc]
    """gunicorn's, after whose end nobody waits for an answer in vain."""

    def spawn_worker(self) -> int:
        """Start a worker, and end it where it is done.

        By the way of an exception it would leave whatever this process was in
        when it was forked, and clear away the files that the others use.
        """
        own = os.getpid()
        try:
            pid: int = super().spawn_worker()
        except SystemExit as end:
            if os.getpid() == own:
                raise
            logging.shutdown()
            os._exit(end.code if isinstance(end.code, int) else 0)
        return pid

    def stop(self, graceful: bool = True) -> None:
        """Let nobody connect any more, then end the workers."""
        for listener in self.LISTENERS:
            _connect_no_more(listener.sock)
        super().stop(graceful)


def _connect_no_more(listener: socket.socket) -> None:
    """Drop packets that would make connections to a socket that listens.

    Else clients connect until the last worker has closed it, to be reset
    then. These try again, and are refused.
    """
    # One instruction of the kernel's packet filter: "return 0", for nothing.
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(code))
    # Where that can't be had, the workers must end all the same.
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn around the application, which every worker shares.

    :param remake: returns the application anew; called at each SIGHUP, when
        workers with the new one take the place of those with the old one.
    :param settings: gunicorn's, by name.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        remake: Callable[[], "WSGIApplication"],
        settings: dict[str, Any],
    ) -> None:
        self._application = application
        self._remake = remake
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand the settings over."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        """Serve, until the process is told to end."""
        _settle()
        Arbiter(self).run()

    def reload(self) -> None:
        """Make the application anew, if that can be done."""
        try:
            self._application = self._remake()
        except Exception as error:
            # The one there is goes on.
            LOG.error("The service stays as it was: %s", error)
        else:
            # What gunicorn has kept of the old one.
            self.callable = None
            _settle()
        super().reload()

    def load(self) -> "WSGIApplication":
        """Return the application."""
        return self._application


def _settle() -> None:
    """Spare collections of garbage what is there now, and stays.

    Nor need they look often at the many objects of a large page, none of which
    is garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)


def serve(
    application: "WSGIApplication",
    remake: Callable[[], "WSGIApplication"],
    bind: str,
    workers: int,
    threads: int,
) -> None:
    """Serve an application until the process is told to end.

    :param remake: returns the application anew, when the server is told to
        reload.
    :param bind: address and port to listen on, ``ADDRESS:PORT``; an address of
        IPv6 is in brackets.
    :param workers: processes.
    :param threads: of each process.
    """
    Server(
        application,
        remake,
        {
            "bind": bind,
            "workers": workers,
            "threads": threads,
            "worker_class": Worker,
            "keepalive": 75,
            "proc_name": "images-service-api",
            # URLs and headers as long as Nova's own server takes them.
            "limit_request_line": 16384,
            "limit_request_field_size": 16384,
            "graceful_timeout": 30,
            "control_socket_disable": True,
            "child_exit": lambda _arbiter, worker: metrics.ended(worker.pid),
        },
    ).run()
