# SPDX-License-Identifier: Apache-2.0
"""Connections to the database, and what its failures mean."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import functools
import sqlite3
from typing import Any
from typing import ParamSpec
from typing import TypeVar

from oslo_config import cfg
from oslo_db import api as db_api
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import enginefacade
from oslo_log import log
import sqlalchemy as sa

from images_service import errors
from images_service.store.sql.connections import Connections

LOG = log.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# What enginefacade takes of the [database] group.
_ENGINE_OPTIONS = (
    "connection",
    "slave_connection",
    "connection_debug",
    "connection_parameters",
    "connection_recycle_time",
    "connection_trace",
    "max_overflow",
    "max_pool_size",
    "max_retries",
    "mysql_sql_mode",
    "mysql_wsrep_sync_wait",
    "pool_timeout",
    "retry_interval",
    "sqlite_synchronous",
)


# What a connection's URL says unless it says otherwise: text beyond the Basic
# Multilingual Plane, and no waiting for a server that doesn't answer.
_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "sqlite": {"timeout": "4", "check_same_thread": "false"},
    "mysql": {"charset": "utf8mb4", "connect_timeout": "3"},
    "postgresql": {"connect_timeout": "3"},
}


# What is said to each new connection: no lock is waited for longer than a
# caller waits, and SQLite's readers and its writer don't wait for each other.
_ON_CONNECT: Mapping[str, str] = {
    "sqlite": "PRAGMA journal_mode=WAL",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 4",
    "mariadb": "SET SESSION innodb_lock_wait_timeout = 4",
    "postgresql": "SET SESSION lock_timeout = '4s'",
}

# Failures that trying again later may heal.
_SQLITE_PASSING = ("locked", "unable to open")
# Connection, resources, locks and operator intervention: the classes of
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES_PASSING = frozenset({"08", "53", "55", "57"})
# Too many connections, a Galera node that isn't ready, shutdown, no locks,
# lock wait timeout, interrupted, read-only, lost or refused connections.
_LOCK_WAIT_TIMEOUT = 1205
# Two transactions in each other's way, one of which was undone.
_MYSQL_DEADLOCK = 1213
_DEADLOCKS = frozenset({"40001", "40P01"})
_MYSQL_PASSING = frozenset(
    {1040, 1047, 1053, _LOCK_WAIT_TIMEOUT, 1206, 1290, 1317, 1836, 1927}
    | {2002, 2003, 2006, 2013, 2055, 4031}
)


class Database:
    """A database: its primary, and a replica that may lag behind it.

    ``primary`` and ``replica`` are for what requests ask; ``writer`` and
    ``reader`` are SQLAlchemy's engines, for everything else.

    Nothing connects before the first query.

    :param conf: its ``[database]`` group is read.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        options = {
            name: getattr(conf.database, name) for name in _ENGINE_OPTIONS
        }
        url = sa.make_url(options["connection"] or "sqlite://")
        if url.get_backend_name() == "sqlite":
            # oslo.db opens SQLite's files anew each time: there is no pool.
            del options["pool_timeout"]
        options["connection_parameters"] = "&".join(
            [
                *filter(None, [options["connection_parameters"]]),
                *(
                    f"{name}={value}"
                    for name, value in _PARAMETERS.get(
                        url.get_backend_name(), {}
                    ).items()
                    if name not in url.query
                ),
            ]
        )
        # Sizes of the pools of connections, as SQLAlchemy calls them.
        self._sizes = {
            "pool_size": conf.database.max_pool_size,
            "max_overflow": conf.database.max_overflow,
            "timeout": conf.database.pool_timeout,
            "recycle": conf.database.connection_recycle_time,
        }
        self._facade = enginefacade.transaction_context()
        self._facade.append_on_engine_create(_prepare)
        self._facade.configure(
            sqlite_fk=True,
            # Only green threads would need to be told to yield.
            thread_checkin=False,
            **{k: v for k, v in options.items() if v is not None},
        )

    @property
    def writer(self) -> sa.Engine:
        """The primary."""
        engine: sa.Engine = self._facade.writer.get_engine()
        return engine

    @property
    def reader(self) -> sa.Engine:
        """A replica where there is one, else the primary."""
        engine: sa.Engine = self._facade.reader.get_engine()
        return engine

    @functools.cached_property
    def primary(self) -> Connections:
        """Connections of requests to the primary."""
        return Connections(self.writer, self._sizes)

    @functools.cached_property
    def replica(self) -> Connections:
        """Connections of requests to a replica, else to the primary."""
        if self.reader is self.writer:
            return self.primary
        return Connections(self.reader, self._sizes)

    def connection_counts(self) -> tuple[int, int]:
        """Return how many of requests' connections are used, and idle."""
        doors = {id(door): door for door in (self.primary, self.replica)}
        used, idle = zip(*(d.count() for d in doors.values()), strict=True)
        return sum(used), sum(idle)

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        for door in (self.writer, self.reader, self.primary, self.replica):
            door.dispose()


def _prepare(engine: sa.Engine) -> None:
    """Say to each new connection how it is to behave."""
    statement = _ON_CONNECT.get(engine.dialect.name)
    if statement is None:
        return

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        # Where the driver has begun a transaction for it, end that.
        connection.commit()


@contextlib.contextmanager
def unavailability() -> Iterator[None]:
    """Turn failures that pass by themselves into StoreUnavailable.

    :raises errors.StoreUnavailable: the database can't be reached, has no
        free connection, stays locked, or lost a deadlock too many times.
    """
    try:
        yield
    except (
        db_exc.DBConnectionError,
        db_exc.DBDeadlock,
        db_exc.CantStartEngineError,
        sa.exc.TimeoutError,
    ) as error:
        raise _unavailable(error) from error
    except (db_exc.DBError, sa.exc.DBAPIError) as error:
        if _passes(error) or _is_deadlock(error):
            raise _unavailable(error) from error
        raise


def _unavailable(error: Exception) -> errors.StoreUnavailable:
    # What the driver says, without the statement and its values.
    LOG.error("The database is not available: %s", _cause(error) or error)
    return errors.StoreUnavailable()


def _cause(error: Exception) -> BaseException | None:
    """Return the driver's own exception, below oslo.db's and SQLAlchemy's."""
    wrapped = getattr(error, "inner_exception", error)
    cause: BaseException | None = getattr(wrapped, "orig", None)
    return cause


def _passes(error: Exception) -> bool:
    """Tell whether a failure passes, of those that oslo.db doesn't name."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.OperationalError):
        return any(text in str(cause) for text in _SQLITE_PASSING)
    number = cause.args[0] if cause and cause.args else None
    if isinstance(number, int):
        return number in _MYSQL_PASSING
    if cause is None or not hasattr(cause, "sqlstate"):
        return False
    # psycopg has no code for what happens before there is a connection.
    code = cause.sqlstate or "08000"
    return code[:2] in _SQLSTATES_PASSING


def _is_deadlock(error: Exception) -> bool:
    """Tell whether a transaction was the victim of another one's.

    oslo.db calls a lock that MariaDB has waited for in vain a deadlock, too;
    waiting for it again would keep the caller waiting.
    """
    cause = _cause(error)
    code = cause.args[0] if cause and cause.args else None
    if isinstance(error, db_exc.DBDeadlock):
        return bool(code != _LOCK_WAIT_TIMEOUT)
    return isinstance(error, sa.exc.DBAPIError) and (
        code == _MYSQL_DEADLOCK
        or getattr(cause, "sqlstate", None) in _DEADLOCKS
    )


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a method that writes: try again after a deadlock.

    The method runs as a whole each time, so it must open its transaction
    itself.  Retries take two seconds at most; then it is StoreUnavailable.
    """
    attempt = db_api.wrap_db_retry(
        max_retries=5,
        retry_interval=0.05,
        max_retry_interval=1,
        exception_checker=_is_deadlock,
    )(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with unavailability():
            result: R = attempt(*args, **kwargs)
            return result

    return wrapper
