# SPDX-License-Identifier: Apache-2.0
"""Connects to the database, with a deadline for every wait.

oslo.db would ping before each use, and open SQLite's file each time. Both cost
more than a statement, so this module creates engines from oslo.db's options.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import datetime
import math
import os
import time
from typing import Any
from typing import TypeVar

from oslo_config import cfg
import sqlalchemy as sa

from images_service.store import base
from images_service.store.sql import cursor
from images_service.store.sql import failures
from images_service.store.sql import limits

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits, in seconds.

    :param connect: for opening a connection.
    :param lock: for getting a lock.
    :param statement: for a statement with its locks; the server enforces it.
    :param total: for all queries of an action.
    """

    connect: int
    lock: int
    statement: float
    total: float


# A request waits 4 seconds at most for a database that hangs.
REQUESTS = Timeouts(connect=3, lock=3, statement=3.5, total=base.TIME_LIMIT)
# A command of an operator, such as an import or a migration, may take long.
COMMANDS = Timeouts(connect=10, lock=10, statement=3600, total=limits.DAY)
# The mirror may wait for requests, but requests must not wait for the mirror.
MIRROR = Timeouts(connect=10, lock=10, statement=60, total=120)

# Seconds after which a statement that loses its connection is not sent again:
# the server hangs, since a connection from before a restart fails at once.
_STALE = 1.0
# Connections that writes leave to reads.
_FOR_READS = 2
# The type of a DATETIME column in the protocol of MariaDB and MySQL.
_DATETIME = 12


class Server:
    """Runs requests' reads and writes on one database server.

    All queries of an action share one time limit. The number of threads that
    wait for the server is limited; see ``limits.Slots``.

    :param engine: its connections are in autocommit, so a read is one round
        trip, and a transaction sends its own BEGIN.
    :param seconds: the time limit.
    """

    def __init__(self, engine: sa.Engine, slots: int, seconds: float) -> None:
        self.engine = engine
        self._compiler = cursor.compiler(engine.dialect)
        self._seconds = seconds
        self._slots = limits.Slots(slots)
        # Writes leave some slots to reads, which continue while a backup or a
        # migration locks tables against writes.
        self._writing = limits.Slots(max(slots - _FOR_READS, 1))

    def read(self, ask: Callable[[cursor.Cursor], R]) -> R:
        """Call a function that reads, and return its result.

        The function is called again if its connection was lost: after a
        restart of the server, the pool contains lost connections.

        :raises StoreUnavailable: the database doesn't answer.
        """
        return self._answer(ask, base.begun() + self._seconds)

    def write(self, change: Callable[[cursor.Cursor], R]) -> R:
        """Call a function that writes, in a transaction; return its result.

        The function is called again as in ``read``, except if the connection
        was lost during COMMIT: the change may have been stored.

        :raises base.Changed: another transaction came first.
        :raises StoreUnavailable: the database doesn't answer, or the
            answer to COMMIT was lost.
        """
        deadline = base.begun() + self._seconds

        def act(db: cursor.Cursor) -> R:
            try:
                with _transaction(db, _begin(db.db, deadline)):
                    return change(db)
            except sa.exc.DBAPIError as error:
                # Nodes of a Galera cluster find some deadlocks at COMMIT.
                if failures.is_deadlock(error):
                    raise base.Changed from error
                raise

        with self._writing.one(deadline):
            return self._answer(act, deadline)

    def _answer(self, act: Callable[[cursor.Cursor], R], deadline: float) -> R:
        with failures.unavailability(), self._slots.one(deadline):
            last = min(time.monotonic() + _STALE, deadline)
            try:
                return self._run(act, deadline)
            except Exception as error:
                late = time.monotonic() > last
                if late or not failures.lost_connection(error):
                    raise
            return self._run(act, deadline)

    def _run(self, act: Callable[[cursor.Cursor], R], deadline: float) -> R:
        token = limits.DEADLINE.set(deadline)
        try:
            connection = self.engine.connect()
        finally:
            limits.DEADLINE.reset(token)
        with connection as db:
            guard = db.info[limits.GUARD]
            guard.deadline = deadline
            try:
                return act(self.cursor_of(db))
            finally:
                guard.release()

    def cursor_of(self, db: sa.Connection) -> cursor.Cursor:
        """Return the cursor of a connection to this server."""
        return cursor.Cursor(db, self._compiler)


def _begin(db: sa.Connection, deadline: float) -> str:
    """Return the statement that begins a transaction which writes."""
    if db.dialect.name != "sqlite":
        return "BEGIN"
    # BEGIN IMMEDIATE takes the lock at once: a transaction that reads first
    # may fail when it writes.
    left = max(deadline - time.monotonic(), 0)
    seconds = min(limits.of_url(db.engine.url, "timeout"), left)
    raw: Any = db.connection.dbapi_connection
    raw.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    return "BEGIN IMMEDIATE"


@contextlib.contextmanager
def _transaction(db: cursor.Cursor, begin: str) -> Iterator[None]:
    """Run a transaction on a connection in autocommit.

    :param begin: the statement that begins the transaction.
    :raises StoreUnavailable: the answer to COMMIT was lost.
    """
    db.send(begin)
    try:
        yield
    except BaseException:
        _roll_back(db)
        raise
    try:
        db.send("COMMIT")
    except Exception as error:
        if failures.lost_connection(error):
            raise failures.unavailable(error) from error
        # SQLite leaves the transaction open.
        _roll_back(db)
        raise


def _roll_back(db: cursor.Cursor) -> None:
    """Roll a failed transaction back, or drop its connection."""
    if db.db.invalidated:
        return
    try:
        db.send("ROLLBACK")
    except sa.exc.DBAPIError:
        db.db.invalidate()


class Database:
    """A database: its primary, and a replica that may lag behind it.

    ``primary`` and ``replica`` are for the queries of requests; ``writer`` is
    for the transactions of commands. The first query opens a connection.

    :param conf: its ``[database]`` group is read.
    :param timeouts: ``COMMANDS`` for commands of operators.
    :raises oslo_config.cfg.Error: no database is configured.
    :raises sqlalchemy.exc.ArgumentError: its URL is wrong.
    :raises ImportError: its driver is not installed.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, timeouts: Timeouts = REQUESTS
    ) -> None:
        options = conf.database
        if not options.connection:
            raise cfg.RequiredOptError("connection", cfg.OptGroup("database"))
        slots = options.max_pool_size + options.max_overflow
        self._watch = watch = limits.Watch()

        def server(connection: str) -> Server:
            engine = _engine(connection, options, timeouts, watch)
            return Server(engine, slots, timeouts.total)

        self.primary = self.replica = server(options.connection)
        if options.slave_connection:
            self.replica = server(options.slave_connection)
        self.writer = _transactions(self.primary.engine)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Provide a transaction that reads the state of one moment.

        On SQLite, it does not wait for other writers until it writes.
        """
        with self.primary.engine.connect() as db:
            postgresql = db.dialect.name == "postgresql"
            # The other databases have this level by default.
            level = " ISOLATION LEVEL REPEATABLE READ" if postgresql else ""
            begin = f"BEGIN{level}"
            with _transaction(self.primary.cursor_of(db), begin):
                yield db

    def connection_counts(self) -> tuple[int, int]:
        """Return the numbers of used and idle connections of requests."""
        pools: list[Any] = [
            server.engine.pool for server in {self.primary, self.replica}
        ]
        used = sum(pool.checkedout() for pool in pools)
        return used, sum(pool.checkedin() for pool in pools)

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        self.primary.engine.dispose()
        self.replica.engine.dispose()
        self._watch.end()


def _engine(
    connection: str,
    options: cfg.ConfigOpts.GroupAttr,
    timeouts: Timeouts,
    watch: limits.Watch,
) -> sa.Engine:
    """Return an engine whose connections are in autocommit, with deadlines."""
    url = sa.make_url(connection)
    backend = url.get_backend_name()
    if options.connection_parameters:
        url = url.update_query_string(
            options.connection_parameters, append=True
        )
    parameters = _parameters(backend, timeouts)
    url = url.update_query_dict(
        {k: v for k, v in parameters.items() if k not in url.query}
    )
    if backend == "sqlite":
        _make_private(url)
    engine = sa.create_engine(
        url,
        # Errors are logged, and parameters are tenants' data.
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        # A connection in autocommit has nothing to roll back.
        pool_reset_on_return=None,
        skip_autocommit_rollback=True,
        poolclass=sa.pool.QueuePool,
        pool_size=options.max_pool_size,
        max_overflow=options.max_overflow,
        pool_timeout=options.pool_timeout,
        pool_recycle=options.connection_recycle_time,
        query_cache_size=cursor.STATEMENTS,
    )
    most = options.max_pool_size + options.max_overflow
    limits.limit_connections(engine, watch, timeouts.total, most)

    @sa.event.listens_for(engine, "connect")
    def _prepare(raw: Any, record: Any) -> None:
        first = raw.cursor()
        for statement in _first_statements(engine.dialect, options, timeouts):
            first.execute(statement)
        first.close()
        if backend in ("mysql", "mariadb"):
            _convert_times(raw)
        record.info[limits.GUARD].deadline = time.monotonic() + limits.DAY

    return engine


def _convert_times(raw: Any) -> None:
    """Make a driver for MariaDB and MySQL use Python's parser for times.

    It takes a tenth of the time of the drivers' parsers, and a page of a
    thousand images has two thousand times.
    """
    # mysqlclient and PyMySQL have different names for their converters.
    name = "converter" if hasattr(raw, "converter") else "decoders"
    converters = dict(getattr(raw, name))
    converters[_DATETIME] = datetime.datetime.fromisoformat
    setattr(raw, name, converters)


def _parameters(backend: str, timeouts: Timeouts) -> Mapping[str, str]:
    """Return a connection's parameters, which its URL can override."""
    connect, answer = str(timeouts.connect), str(int(timeouts.statement) + 1)
    if backend == "sqlite":
        return {"timeout": str(timeouts.lock), "check_same_thread": "false"}
    if backend == "postgresql":
        return {
            "connect_timeout": connect,
            # Milliseconds within which the server acknowledges data.
            "tcp_user_timeout": f"{answer}000",
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
    return {
        # Text beyond the Basic Multilingual Plane.
        "charset": "utf8mb4",
        "connect_timeout": connect,
        "read_timeout": answer,
        "write_timeout": answer,
    }


def _first_statements(
    dialect: sa.Dialect, options: cfg.ConfigOpts.GroupAttr, timeouts: Timeouts
) -> Iterator[str]:
    """Yield the statements that each new connection runs first."""
    lock, milliseconds = timeouts.lock, int(timeouts.statement * 1000)
    if dialect.name == "sqlite":
        # In this mode readers and the writer do not wait for each other.
        yield "PRAGMA journal_mode=WAL"
        yield "PRAGMA foreign_keys=ON"
        if not options.sqlite_synchronous:
            yield "PRAGMA synchronous=OFF"
    elif dialect.name == "postgresql":
        # If statistics are wrong, PostgreSQL compiles the statement of a list
        # to machine code, which takes seconds.
        yield "SET jit = off"
        yield f"SET lock_timeout = '{lock}s'"
        yield f"SET statement_timeout = {milliseconds}"
    else:
        # MySQL's variable limits SELECT only.
        most = (
            {"max_statement_time": timeouts.statement}
            if getattr(dialect, "is_mariadb", False)
            else {"max_execution_time": milliseconds}
        )
        values = {
            **most,
            "innodb_lock_wait_timeout": lock,
            # For locks of tables; the server's default is a day.
            "lock_wait_timeout": lock,
            # An empty value keeps the mode of the server.
            "sql_mode": options.mysql_sql_mode
            and f"'{options.mysql_sql_mode}'",
            "wsrep_sync_wait": options.mysql_wsrep_sync_wait,
        }
        yield "SET SESSION " + ", ".join(
            f"{k} = {v}" for k, v in values.items() if v not in (None, "")
        )


def _make_private(url: sa.URL) -> None:
    """Create a missing file of SQLite, readable by the service's user only."""
    path = url.database or ":memory:"
    if path == ":memory:" or url.query.get("uri"):
        return
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


def _transactions(engine: sa.Engine) -> sa.Engine:
    """Return the engine for transactions that SQLAlchemy begins and ends."""
    # The levels that the servers have by default.
    levels = {"sqlite": "SERIALIZABLE", "postgresql": "READ COMMITTED"}
    level = levels.get(engine.dialect.name, "REPEATABLE READ")
    writer = engine.execution_options(isolation_level=level)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(writer, "begin")
        def _begin_writing(db: sa.Connection) -> None:
            db.exec_driver_sql(_begin(db, math.inf))

    return writer
