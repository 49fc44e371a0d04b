# SPDX-License-Identifier: Apache-2.0
"""Distinguishes temporary failures of a database and deadlocks from bugs."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import sqlite3
from typing import ParamSpec
from typing import TypeVar

from oslo_db import api as db_api
from oslo_log import log
import sqlalchemy as sa

from images_service import exception

LOG = log.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# Temporary failures end without a change of the code: the database is down,
# full, read-only, locked, or lacks its tables.

# Primary result codes of https://www.sqlite.org/rescode.html: BUSY, LOCKED,
# READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, NOTADB.
_SQLITE = frozenset({5, 6, 8, 9, 10, 13, 14, 15, 26})
# Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html:
# connection, authorization, catalog, resources, object state, operator.
_SQLSTATE_CLASSES = frozenset({"08", "28", "3D", "53", "55", "57"})
_READ_ONLY = "25006"
_MYSQL = frozenset(
    {
        *(1021, 1030, 1114),  # the disk or a table is full
        *(1040, 1203, 1226),  # too many connections
        *(1044, 1045, 1049),  # no access, no such database
        *(1047, 1053, 1927),  # a Galera node is not ready, shutdown, killed
        1180,  # COMMIT fails: a Galera node has just lost the others
        *(1205, 1206, 1223),  # locks
        *(1290, 1792, 1836),  # read-only
        *(1317, 1969, 3024),  # a statement is interrupted or takes too long
        *(2002, 2003, 2006, 2013, 2055, 4031),  # no connection, or a lost one
    }
)
_NO_TABLE = frozenset({1146, "42P01"})
# The server has rolled back one of two transactions that block each other.
_DEADLOCKS = frozenset({1020, 1213, "40001", "40P01"})

_UPGRADE = "The database lacks a table. Run images-service-manage db sync: %s"


@contextlib.contextmanager
def unavailability() -> Iterator[None]:
    """Turn temporary failures into StoreUnavailable.

    :raises StoreUnavailable: the database can't be reached, has no
        free connection, stays locked, lacks its tables, or a deadlock
        happened too many times.
    """
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise unavailable(error) from error
    except sa.exc.DBAPIError as error:
        if _lacks_tables(error):
            LOG.error(_UPGRADE, cause(error))
            raise exception.StoreUnavailable from error
        if _is_temporary(error) or is_deadlock(error):
            raise unavailable(error) from error
        raise


def unavailable(error: Exception) -> exception.StoreUnavailable:
    """Log a temporary failure; return the error for the caller."""
    # The driver's message has neither the statement nor its values.
    LOG.error("The database is not available: %s", cause(error) or error)
    found = exception.StoreUnavailable()
    found.__cause__ = error
    return found


def lost_connection(error: BaseException) -> bool:
    """Tell whether a failure has ended its connection."""
    return bool(getattr(error, "connection_invalidated", False))


def is_deadlock(error: BaseException) -> bool:
    """Tell whether a transaction was rolled back in favour of another one."""
    return _code(cause(error)) in _DEADLOCKS


def _lacks_tables(error: Exception) -> bool:
    found = cause(error)
    if isinstance(found, sqlite3.Error):
        return "no such table" in str(found)
    return _code(found) in _NO_TABLE


def _is_temporary(error: Exception) -> bool:
    found = cause(error)
    if isinstance(found, sqlite3.Error):
        return getattr(found, "sqlite_errorcode", 0) & 0xFF in _SQLITE
    code = _code(found)
    if isinstance(code, str):
        return code == _READ_ONLY or code[:2] in _SQLSTATE_CLASSES
    if code is not None:
        return code in _MYSQL
    # psycopg raises OperationalError without a code if it gets no connection.
    # Its other errors without a code are bugs of this service.
    return "OperationalError" in [kind.__name__ for kind in type(found).mro()]


def cause(error: BaseException) -> BaseException | None:
    """Return the driver's own exception, inside SQLAlchemy's."""
    found: BaseException | None = getattr(error, "orig", None)
    return found


def _code(found: BaseException | None) -> int | str | None:
    """Return the number of MariaDB or MySQL, or the SQLSTATE of PostgreSQL."""
    number = found.args[0] if found is not None and found.args else None
    if isinstance(number, int):
        return number
    code: str | None = getattr(found, "sqlstate", None)
    return code


def retry_deadlocks(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that writes: run it again after a deadlock.

    The whole function runs again, so it must open its transaction itself.
    Retries take two seconds at most; then it raises StoreUnavailable.
    """
    attempt = db_api.wrap_db_retry(
        max_retries=5,
        retry_interval=0.05,
        max_retry_interval=1,
        exception_checker=is_deadlock,
    )(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with unavailability():
            result: R = attempt(*args, **kwargs)
            return result

    return wrapper
