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
# creates eight thousand objects, and no garbage.
_OBJECTS = 25_000
# Seconds for a request's head, and for an idle connection. Proxies keep idle
# connections for 60 seconds, so they close them first.
HEAD_SECONDS = 75
# Seconds for a client to read an answer.
ANSWER_SECONDS = 60
# Seconds between two checks of a connection's deadlines.
_INTERVAL = 1
# Seconds for other workers to take a connection. A process sleeps for 50
# microseconds at least.
_TURN = 1e-6


def _prepare(arbiter: Any, worker: Any) -> None:
    """Give a new worker the lowest number that no other worker has."""
    taken = {other.number for other in arbiter.WORKERS.values()}
    worker.number = min({*range(len(taken) + 1)} - taken)
    # gunicorn compares the time of a new worker's file, by the system's clock,
    # with the monotonic time, so it would never find that a worker hangs at
    # its start.
    worker.tmp.notify()


def _begin(_arbiter: Any, worker: Any) -> None:
    """Let signals end a worker that has just started; start its counts.

    The handlers that it inherits from gunicorn's master lose the signal, and
    the master would wait for the worker until the graceful time-out.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    metrics.began(worker.number)


_SETTINGS: Mapping[str, Any] = {
    "worker_class": "asgi",
    # The tested loop and parser, even if others are installed.
    "asgi_loop": "uvloop",
    "http_parser": "python",
    "asgi_lifespan": "off",
    "keepalive": HEAD_SECONDS,
    "proc_name": "images-service-api",
    # The longest URLs and headers that Nova's own server accepts.
    "limit_request_line": 16384,
    "limit_request_field_size": 16384,
    # No header of a client sets SCRIPT_NAME, PATH_INFO or the scheme;
    # http_proxy_to_wsgi reads what a proxy sets.
    "forwarder_headers": "",
    "secure_scheme_headers": {},
    "graceful_timeout": 30,
    "control_socket_disable": True,
    "pre_fork": _prepare,
    "post_fork": _begin,
    "child_exit": lambda _arbiter, worker: metrics.ended(worker.number),
}


class Connection(protocol.ASGIProtocol):  # type: ignore[misc]
    """gunicorn's connection, with deadlines and with faults in JSON."""

    _idle_since = _unread_since = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        # With this limit, the loop calls pause_writing for each unread byte.
        transport.set_write_buffer_limits(high=0)
        self._arm_keepalive_timer()
        self._look()
        if self.worker.nr_conns > 1 and self.cfg.workers > 1:
            # Without a pause, the first worker that wakes would take and keep
            # all connections that come at the same time.
            time.sleep(_TURN)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the checks of the deadlines."""
        super().connection_lost(exc)
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        try:
            super().data_received(data)
        except ValueError:
            # gunicorn does not expect a number with more digits than Python
            # converts.
            self._send_error_response(400, "Invalid request")
            self._close_transport()

    def pause_writing(self) -> None:
        """Start to wait for the client to read its answer."""
        super().pause_writing()
        self._unread_since = time.monotonic()

    def resume_writing(self) -> None:
        """Stop waiting: the client has read its answer."""
        super().resume_writing()
        self._unread_since = math.inf

    def _arm_keepalive_timer(self) -> None:
        self._idle_since = time.monotonic()

    def _cancel_keepalive_timer(self) -> None:
        self._idle_since = math.inf

    def _look(self) -> None:
        """Close a connection at a deadline, or if idle at the worker's end."""
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

    :param remake: creates the application again at each SIGHUP; workers with
        the new application replace the old workers.
    :param settings: gunicorn's settings, by name.
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
