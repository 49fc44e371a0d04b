# SPDX-License-Identifier: Apache-2.0
"""Statements that requests send, on the shortest way to the driver.

SQLAlchemy writes their text, once; the driver executes it.  What SQLAlchemy
does for each execution besides (a transaction around each read, a ping before
it, a rollback after it, objects for the execution and its result) costs a
small answer several times what the driver does.

Connections are in autocommit: a read is one round trip, and a transaction
begins with a BEGIN of its own.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
import os
from typing import Any
from typing import cast
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import pool

R = TypeVar("R")

Values = Mapping[str, Any]
Row = Sequence[Any]
# How a driver is told that a connection is in autocommit.
_AUTOCOMMIT: Mapping[str, Callable[[Any], object]] = {
    "sqlite": lambda connection: setattr(connection, "isolation_level", None),
    "postgresql": lambda connection: setattr(connection, "autocommit", True),
    "mysql": lambda connection: connection.autocommit(True),
    "mariadb": lambda connection: connection.autocommit(True),
}


class Statement:
    """A statement as a driver takes it.

    :param clause: what SQLAlchemy makes the text of.
    :param dialect: the database's.
    """

    def __init__(self, clause: sa.ClauseElement, dialect: sa.Dialect) -> None:
        compiled = cast(
            sa.sql.compiler.SQLCompiler, clause.compile(dialect=dialect)
        )
        self.text = str(compiled)
        # Values that are part of the statement, and what makes of the others
        # what the driver takes.
        self._fixed: dict[str, Any] = {}
        self._binds: dict[str, Callable[[Any], Any]] = {}
        for bind, name in compiled.bind_names.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.required:
                value = bind.effective_value
                self._fixed[name] = convert(value) if convert else value
            elif convert:
                self._binds[name] = convert
        # Names in the order of the text's marks; None where marks have names.
        self._order = compiled.positiontup
        self._results: list[tuple[int, Callable[[Any], Any]]] = []
        for number, column in enumerate(
            getattr(clause, "selected_columns", ())
        ):
            kind = column.type.dialect_impl(dialect)
            convert = kind.result_processor(dialect, None)
            if convert:
                self._results.append((number, convert))

    def arguments(self, values: Values) -> Any:
        """Return values as the driver takes them."""
        found = {**self._fixed, **values}
        for name, convert in self._binds.items():
            found[name] = convert(found[name])
        if self._order is None:
            return found
        return [found[name] for name in self._order]

    def rows(self, found: Sequence[Row]) -> Sequence[Row]:
        """Return a result's rows, their values as the columns' types say."""
        if not self._results:
            return found
        rows = []
        for values in found:
            row = list(values)
            for number, convert in self._results:
                row[number] = convert(row[number])
            rows.append(row)
        return rows


class Session:
    """A connection while somebody uses it.

    :param cursor: the driver's.
    :param statement: returns the statement of a clause.
    """

    def __init__(
        self, cursor: Any, statement: Callable[[sa.ClauseElement], Statement]
    ) -> None:
        self._cursor = cursor
        self._statement = statement

    def rows(self, clause: sa.ClauseElement, values: Values) -> Sequence[Row]:
        """Execute a SELECT and return its rows."""
        return self._send(clause, values).rows(self._cursor.fetchall())

    def execute(self, clause: sa.ClauseElement, values: Values) -> int:
        """Execute a statement and return how many rows it has found."""
        self._send(clause, values)
        count: int = self._cursor.rowcount
        return count

    def insert(self, clause: sa.Insert, rows: Sequence[Values]) -> None:
        """Insert rows."""
        if len(rows) == 1:
            self._send(clause, rows[0])
            return
        # Drivers make fewer round trips of it.
        statement = self._statement(clause)
        arguments = [statement.arguments(row) for row in rows]
        self._cursor.executemany(statement.text, arguments)

    def _send(self, clause: sa.ClauseElement, values: Values) -> Statement:
        statement = self._statement(clause)
        self._cursor.execute(statement.text, statement.arguments(values))
        return statement


class _Gone(Exception):
    """A connection was lost before what was sent on it took effect."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Connections:
    """Connections to one server, for what requests ask of it.

    :param engine: opens them, as oslo.db has set it up.
    :param sizes: of the pool, as ``sqlalchemy.pool.QueuePool`` takes them.
    :param statements: of how many clauses the text is kept.
    """

    def __init__(
        self,
        engine: sa.Engine,
        sizes: Mapping[str, Any],
        statements: int = 1024,
    ) -> None:
        self._engine = engine
        self._sizes = sizes
        dialect = engine.dialect
        self._statement = functools.lru_cache(statements)(
            lambda clause: Statement(clause, dialect)
        )
        self._error: type[Exception] = dialect.loaded_dbapi.Error
        self._renew()

    def read(self, ask: Callable[[Session], R]) -> R:
        """Return what a function reads.

        It is called again where a connection turns out to be lost, as all are
        of which a server knows nothing that was started anew.

        :raises sqlalchemy.exc.DBAPIError: the driver's error, in ``orig``.
        """
        return self._twice(self._read, ask)

    def write(self, change: Callable[[Session], R]) -> R:
        """Return what a function changes, in one transaction.

        It is called again as that of ``read`` is, but not where the connection
        was lost during COMMIT: nobody knows then what became of it.

        :raises sqlalchemy.exc.DBAPIError: the driver's error, in ``orig``.
        """
        return self._twice(self._write, change)

    def count(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are idle."""
        return self._pool.checkedout(), self._pool.checkedin()

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        self._pool.dispose()

    def _twice(
        self,
        act: Callable[[Callable[[Session], R]], R],
        function: Callable[[Session], R],
    ) -> R:
        try:
            try:
                return act(function)
            except _Gone:
                return act(function)
        except _Gone as gone:
            raise sa.exc.DBAPIError(None, None, gone.error) from gone
        except self._error as error:
            raise sa.exc.DBAPIError(None, None, error) from error

    def _read(self, ask: Callable[[Session], R]) -> R:
        with self._connection() as (_, cursor):
            return ask(Session(cursor, self._statement))

    def _write(self, change: Callable[[Session], R]) -> R:
        with self._connection() as (connection, cursor):
            try:
                cursor.execute("BEGIN")
                result = change(Session(cursor, self._statement))
            except BaseException:
                try:
                    cursor.execute("ROLLBACK")
                except self._error:
                    connection.invalidate()
                raise
            try:
                cursor.execute("COMMIT")
            except self._error as error:
                connection.invalidate()
                raise sa.exc.DBAPIError(None, None, error) from error
            return result

    @contextlib.contextmanager
    def _connection(self) -> Iterator[tuple[pool.PoolProxiedConnection, Any]]:
        """Lend a connection and a cursor of it."""
        if self._pid != os.getpid():
            # Two processes must not speak on one connection.
            self._renew()
        connection = self._pool.connect()
        raw = connection.dbapi_connection
        try:
            cursor = connection.cursor()
            yield connection, cursor
            cursor.close()
        except self._error as error:
            if self._engine.dialect.is_disconnect(error, raw, None):  # type: ignore[arg-type]
                # The others are as old as this one.
                if connection.is_valid:
                    connection.invalidate(error)
                self._pool.dispose()
                self._renew()
                raise _Gone(error) from error
            raise
        except (KeyboardInterrupt, SystemExit):
            # Half of an answer may still be on its way.
            connection.invalidate()
            raise
        finally:
            connection.close()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._pool = pool.QueuePool(
            self._open, reset_on_return=None, **self._sizes
        )

    def _open(self) -> Any:
        """Open a connection, as the engine would for itself."""
        lent = self._engine.raw_connection()
        lent.detach()
        connection = lent.dbapi_connection
        assert connection is not None
        connection.rollback()
        _AUTOCOMMIT[self._engine.dialect.name](connection)
        return connection
