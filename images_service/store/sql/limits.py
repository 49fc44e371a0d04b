# SPDX-License-Identifier: Apache-2.0
"""Time limits that the drivers do not have.

The drivers' time-outs begin again at each byte, and limit only one statement.
"""

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import contextvars
import functools
import math
import os
import socket
import sqlite3
import threading
import time
from typing import Any
from typing import TypeVar
import weakref

from oslo_log import log
import sqlalchemy as sa

from images_service import exception
from images_service.store.sql import failures

LOG = log.getLogger(__name__)

R = TypeVar("R")

# Seconds without an answer after which a server counts as hanging.
_PATIENCE = 1.0
# Seconds without an answer after which a server counts as slow.
_SLOW = 0.25
# Seconds between two checks of all connections.
_INTERVAL = 0.2
DAY = 24 * 3600.0
# The key of a connection's guard.
GUARD = "images_service.guard"
# Deadline for the opening of a connection, by the monotonic clock.
DEADLINE: contextvars.ContextVar[float] = contextvars.ContextVar("deadline")


class Slots:
    """Limits how many threads use a server at the same time.

    While the server answers, a thread that finds no free slot waits for one.
    While the server hangs, such a thread is refused at once, so that it can
    serve requests that do not need the server.  The threads that hold a slot
    notice when the server answers again.

    :param count: maximum number of threads.
    :param name: name of the server, for the log.
    :param patience: seconds without an answer after which the server counts
        as hanging.
    :param waiters: maximum number of threads that wait for a slot while the
        server is slow; others are refused.
    """

    def __init__(
        self,
        count: int,
        name: str = "The database",
        patience: float = _PATIENCE,
        waiters: float = math.inf,
    ) -> None:
        self._free = count
        self._waiters = waiters
        self._waiting = 0
        self._name = name
        self._patience = patience
        self._hangs = False
        # When a slot was last taken, or given back in time.
        self._moved = 0.0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def one(self, deadline: float = math.inf) -> Iterator[None]:
        """Hold a slot.

        :param deadline: by the monotonic clock.
        :raises StoreUnavailable: no slot is free, and the server hangs or the
            deadline has passed.
        """
        start = self._take(deadline)
        in_time = True
        try:
            yield
        except BaseException:
            in_time = time.monotonic() - start < self._patience
            raise
        finally:
            with self._changed:
                self._free += 1
                self._hangs = not in_time
                self._moved = time.monotonic()
                self._changed.notify()

    def _take(self, deadline: float) -> float:
        with self._changed:
            self._waiting += 1
            try:
                while not self._free:
                    self._wait(deadline)
            finally:
                self._waiting -= 1
            self._free -= 1
            self._moved = time.monotonic()
            return self._moved

    def _wait(self, deadline: float) -> None:
        """Wait for a change; the lock is held.

        :raises StoreUnavailable: the server hangs, is slow and too many
            threads wait, or the deadline has passed.
        """
        now = time.monotonic()
        left = self._moved + self._patience - now
        if left <= 0 and not self._hangs:
            LOG.error("%s does not answer.", self._name)
            self._hangs = True
        if self._hangs:
            raise exception.StoreUnavailable
        if self._waiting > self._waiters:
            left = min(left, self._moved + _SLOW - now)
        if left <= 0 or now > deadline:
            LOG.error("Too many requests wait for %s.", self._name)
            raise exception.StoreUnavailable
        self._changed.wait(min(left, deadline - now))


class Guard:
    """Ends a connection's statement when its deadline has passed.

    :param raw: the driver's connection.
    :ivar deadline: by the monotonic clock.
    """

    def __init__(self, raw: Any, deadline: float) -> None:
        self.deadline = deadline
        self._lock = threading.Lock()
        self._has_ended = False
        self._socket: socket.socket | None = None
        if hasattr(raw, "interrupt"):
            # SQLite has no socket.
            self._end: Callable[[], None] = raw.interrupt
            return
        # PyMySQL does not show its descriptor.
        number = raw.fileno() if hasattr(raw, "fileno") else raw._sock.fileno()
        # The driver may close its descriptor at any time; another file may
        # then get its number.
        self._socket = socket.socket(fileno=os.dup(number))
        self._end = functools.partial(self._socket.shutdown, socket.SHUT_RDWR)

    def check(self) -> None:
        """End the connection's statement if it is late."""
        with self._lock:
            if time.monotonic() <= self.deadline:
                return
            # The server or SQLAlchemy may have closed the connection.
            with contextlib.suppress(OSError, sqlite3.Error):
                self._end()
            if not self._has_ended:
                LOG.error("The database has not answered in time.")
                self._has_ended = True

    def release(self) -> None:
        """Remove the deadline."""
        with self._lock:
            self.deadline = math.inf
            self._has_ended = False

    def close(self) -> None:
        """Stop guarding a connection that is about to be closed."""
        self.release()
        if self._socket is not None:
            self._socket.close()


class Watch:
    """Checks the deadlines of connections in a thread, while any are open."""

    def __init__(self) -> None:
        self._guards: weakref.WeakValueDictionary[int, Guard] = (
            weakref.WeakValueDictionary()
        )
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def guard(self, raw: Any, deadline: float) -> Guard:
        """Return a connection's guard, which is checked while it exists."""
        guard = Guard(raw, deadline)
        with self._changed:
            self._guards[id(guard)] = guard
            # A process that is forked does not have its parent's thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        return guard

    def end(self) -> None:
        """End the thread before a fork, if there are no connections."""
        with self._changed:
            thread = self._thread
            self._changed.notify()
        if thread is not None and not self._guards:
            thread.join(1)

    def _run(self) -> None:
        with self._changed:
            while self._guards:
                self._check()
                self._changed.wait(_INTERVAL)
            self._thread = None

    def _check(self) -> None:
        for reference in self._guards.valuerefs():
            if (guard := reference()) is not None:
                guard.check()


class Opener:
    """Opens connections in other threads, so that a request can stop waiting.

    A server that sends a byte now and then, or a name server that hangs, keeps
    such a thread busy.

    :param most: maximum number of threads.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def open(self, connect: Callable[[], R], seconds: float) -> R:
        """Open a connection.

        :raises StoreUnavailable: there is no connection in time, or all
            threads are busy.
        """
        if not self._free.acquire(blocking=False):
            raise failures.unavailable(TimeoutError("too many attempts"))
        made: futures.Future[R] = futures.Future()
        try:
            # The threads of a pool would prevent the process from ending.
            threading.Thread(
                target=self._open, args=(connect, made), daemon=True
            ).start()
        except RuntimeError:
            self._free.release()
            raise
        try:
            futures.wait([made], max(seconds, 0))
            if made.cancel():
                raise failures.unavailable(TimeoutError("no answer in time"))
            return made.result()
        finally:
            # Otherwise a reference cycle keeps an error and its socket.
            del made

    def _open(
        self, connect: Callable[[], Any], made: futures.Future[Any]
    ) -> None:
        try:
            try:
                raw = connect()
            finally:
                # Release it first: the request may open another connection.
                self._free.release()
        except Exception as error:
            # Earlier errors are in reference cycles, which keep the socket.
            error.__context__ = None
            with contextlib.suppress(futures.InvalidStateError):
                made.set_exception(error.with_traceback(None))
        else:
            try:
                made.set_result(raw)
            except futures.InvalidStateError:
                # The request has stopped waiting.
                raw.close()


def limit_connections(
    engine: sa.Engine, watch: Watch, seconds: float, most: int
) -> None:
    """Give an engine's connections deadlines.

    An attempt to open a connection ends at ``DEADLINE``.  Each later use of
    the connection sets the deadline of its guard.

    :param seconds: for opening a connection if ``DEADLINE`` is not set.
    :param most: maximum number of connections that are opened at one time.
    """
    opener = Opener(most)

    def deadline() -> float:
        return DEADLINE.get(time.monotonic() + seconds)

    def connect(
        dialect: sa.Dialect, _record: Any, args: Any, kwargs: Any
    ) -> Any:
        left = deadline() - time.monotonic()
        return opener.open(
            functools.partial(dialect.connect, *args, **kwargs),
            # One second more, since the driver's error message is better.
            min(of_url(engine.url, "connect_timeout") + 1, left),
        )

    def guard(raw: Any, record: Any) -> None:
        # SQLAlchemy prepares an engine's first connection alone, so another
        # connection may have waited for it.
        if time.monotonic() > deadline():
            raise failures.unavailable(TimeoutError("no answer in time"))
        record.info[GUARD] = watch.guard(raw, deadline())

    def close(_raw: Any, record: Any) -> None:
        if GUARD in record.info:
            record.info.pop(GUARD).close()

    if engine.dialect.name != "sqlite":
        sa.event.listen(engine, "do_connect", connect)
    # Before SQLAlchemy's own listeners, which send statements.
    sa.event.listen(engine, "connect", guard, insert=True)
    sa.event.listen(engine, "close", close)
    sa.event.listen(engine, "detach", close)


def of_url(url: sa.URL, parameter: str) -> float:
    """Return a parameter of a URL, in seconds."""
    return float(str(url.query[parameter]))
