# SPDX-License-Identifier: Apache-2.0
"""The server inside images-service-api: gunicorn, with its ASGI worker."""

import asyncio
from collections.abc import Callable
from collections.abc import Mapping
import gc
from http import HTTPStatus
import math
import signal
import time
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.asgi import protocol
from gunicorn.workers import gasgi
from oslo_context import context
from oslo_log import log

from images_service import exception
from images_service.cmd.asgi import Adapter
from images_service.middleware import metrics

LOG = log.getLogger(__name__)

# New objects after which Python collects garbage; a page of a thousand images
# makes eight thousand, and none of them is garbage.
_OBJECTS = 25_000
# Seconds for a request's head, and for an idle connection. Proxies keep theirs
# for 60, so that they close first.
HEAD_SECONDS = 75
# Seconds for a client to read an answer.
ANSWER_SECONDS = 60
# Seconds between two looks at the deadlines of a connection.
_INTERVAL = 1
# Seconds for other workers to take a connection. A process sleeps for 50
# microseconds at least.
_TURN = 1e-6


def _let_signals_end_it(_arbiter: Any, _worker: Any) -> None:
    """Let signals end a worker that has no handlers of its own yet.

    Those that it has from gunicorn's master lose the signal, and the master
    would wait for the worker until the graceful time-out.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


_SETTINGS: Mapping[str, Any] = {
    "worker_class": "asgi",
    # The ones that are tested, whatever else is installed.
    "asgi_loop": "uvloop",
    "http_parser": "python",
    "asgi_lifespan": "off",
    "keepalive": HEAD_SECONDS,
    "proc_name": "images-service-api",
    # URLs and headers as long as Nova's own server takes them.
    "limit_request_line": 16384,
    "limit_request_field_size": 16384,
    # No header of a client sets SCRIPT_NAME, PATH_INFO or the scheme;
    # http_proxy_to_wsgi reads what a proxy sets.
    "forwarder_headers": "",
    "secure_scheme_headers": {},
    "graceful_timeout": 30,
    "control_socket_disable": True,
    # gunicorn compares the time of a new worker's file, which is of the clock,
    # with the monotonic time, so one that hangs at its start would never be
    # too late.
    "pre_fork": lambda _arbiter, worker: worker.tmp.notify(),
    "post_fork": _let_signals_end_it,
    "child_exit": lambda _arbiter, worker: metrics.ended(worker.pid),
}


class Connection(protocol.ASGIProtocol):  # type: ignore[misc]
    """gunicorn's connection, with deadlines and with faults in JSON."""

    _idle_since = _unread_since = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        # So gunicorn calls pause_writing for each byte that is not read.
        transport.set_write_buffer_limits(high=0)
        self._arm_keepalive_timer()
        self._look()
        if self.worker.nr_conns > 1 and self.cfg.workers > 1:
            # The first worker to wake would take all connections that come
            # at once, and keep them.
            time.sleep(_TURN)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        try:
            super().data_received(data)
        except ValueError:
            # A number of more digits than Python converts, which gunicorn
            # does not expect.
            self._send_error_response(400, "Invalid request")
            self._close_transport()

    def pause_writing(self) -> None:
        """Start to wait for the client to read its answer."""
        super().pause_writing()
        self._unread_since = time.monotonic()

    def resume_writing(self) -> None:
        """Wait no more: the client has read its answer."""
        super().resume_writing()
        self._unread_since = math.inf

    def _arm_keepalive_timer(self) -> None:
        self._idle_since = time.monotonic()

    def _cancel_keepalive_timer(self) -> None:
        self._idle_since = math.inf

    def _look(self) -> None:
        """Close the connection at a deadline, or idle when the worker ends."""
        self._timer = self.worker.loop.call_later(_INTERVAL, self._look)
        now = time.monotonic()
        idle_seconds = HEAD_SECONDS if self.worker.alive else _INTERVAL
        if now - self._unread_since > ANSWER_SECONDS:
            self.transport.abort()
        elif now - self._idle_since > idle_seconds:
            self._keepalive_timeout()

    def _is_websocket_upgrade(self, _request: Any) -> bool:
        return False

    def _send_error_response(
        self, status: int, message: str, _headers: Any = ()
    ) -> None:
        """Send the fault of a request that does not reach the application."""
        phrase = HTTPStatus(status).phrase
        headers, body = exception.fault(status, f"{phrase}: {message}")
        request_id = context.generate_request_id()
        headers += [
            ("x-openstack-request-id", request_id),
            ("x-compute-request-id", request_id),
            ("Connection", "close"),
        ]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n"
        self._safe_write(head.encode() + body)


class Server(BaseApplication):  # type: ignore[misc]
    """Runs gunicorn; its workers share the memory of the application.

    :param remake: creates the application again; each SIGHUP calls it, and
        workers with the new one replace those with the old one.
    :param settings: gunicorn's, by name.
    """

    def __init__(
        self,
        application: Adapter,
        remake: Callable[[], Adapter],
        **settings: Any,
    ) -> None:
        self._application = application
        self._remake = remake
        self._settings = {**_SETTINGS, **settings}
        super().__init__()

    def load_config(self) -> None:
        """Pass the settings to gunicorn."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        """Serve until the process receives a signal to end."""
        # The worker has no setting for these.
        gasgi.ASGIProtocol = Connection
        protocol._REASON_PHRASES.update(
            {status.value: status.phrase for status in HTTPStatus}
        )
        _freeze()
        super().run()

    def reload(self) -> None:
        """Create the application again; keep the old one if that fails."""
        try:
            self._application = self._remake()
        except Exception as error:
            LOG.error("The service stays as it was: %s", error)
        else:
            _freeze()
        super().reload()

    def wsgi(self) -> Adapter:
        """Return the application."""
        return self._application


def _freeze() -> None:
    """Exclude the present objects, which stay, from garbage collections."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)
