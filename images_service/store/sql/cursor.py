# SPDX-License-Identifier: Apache-2.0
"""Runs the statements of requests on the driver's cursor.

SQLAlchemy compiles each statement once, and decides which errors end a
connection.  Its own execution of a statement would cost 50 to 80 microseconds
more, often as much as the statement itself; see the architecture page.
"""

from collections.abc import Callable
from collections.abc import Mapping
import functools
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import sqlalchemy as sa

R = TypeVar("R")
Row = tuple[Any, ...]

# Maximum number of statements in each cache.
STATEMENTS = 1024


class Statement(NamedTuple):
    """A compiled statement.

    :param defaults: parameters by name, with the statement's own values.
    :param order: the names in order, for a driver that numbers parameters.
    :param encoders: convert parameters, by name.
    :param decoders: convert columns of the rows, by number.
    """

    text: str
    defaults: Mapping[str, Any]
    order: list[str] | None
    encoders: list[tuple[str, Callable[[Any], Any]]]
    decoders: list[tuple[int, Callable[[Any], Any]]]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters in the form that the driver takes.

        :param values: by name; names that the statement lacks are ignored.
        """
        given = {**self.defaults, **values}
        for name, encode in self.encoders:
            given[name] = encode(given[name])
        if self.order is not None:
            return tuple([given[name] for name in self.order])
        return {name: given[name] for name in self.defaults}

    def decoded(self, fetched: list[Row]) -> list[Row]:
        """Return rows with values converted by the columns' types."""
        if not self.decoders:
            return fetched
        rows = [list(row) for row in fetched]
        for number, decode in self.decoders:
            for row in rows:
                row[number] = decode(row[number])
        return [tuple(row) for row in rows]


Compiler = Callable[[sa.ClauseElement], Statement]


def compiler(dialect: sa.Dialect) -> Compiler:
    """Return a function that compiles each statement once."""
    kept = functools.lru_cache(STATEMENTS)
    return kept(functools.partial(_compile, dialect))


def _compile(dialect: sa.Dialect, clause: sa.ClauseElement) -> Statement:
    compiled: Any = clause.compile(dialect=dialect)
    # Several parameters can have one name.
    encoders = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect)
        for bind, name in compiled.bind_names.items()
    }
    columns: Any = getattr(clause, "selected_columns", ())
    decoders = [
        column.type.dialect_impl(dialect).result_processor(dialect, None)
        for column in columns
    ]
    return Statement(
        str(compiled),
        dict(compiled.params),
        compiled.positiontup if compiled.positional else None,
        [(name, encode) for name, encode in encoders.items() if encode],
        [(number, decode) for number, decode in enumerate(decoders) if decode],
    )


class Cursor:
    """Runs statements on a connection.

    The errors are SQLAlchemy's.

    :ivar db: the connection, for statements that are rare or cannot be kept.
    """

    def __init__(self, db: sa.Connection, compiler: Compiler) -> None:
        self.db = db
        self._raw: Any = db.connection.dbapi_connection
        self._compile = compiler

    def rows(
        self, clause: sa.ClauseElement, values: Mapping[str, Any] = {}
    ) -> list[Row]:
        """Return the rows of a SELECT."""
        statement = self._compile(clause)
        parameters = statement.parameters(values)
        return statement.decoded(self._run(_rows, statement.text, parameters))

    def change(
        self, clause: sa.ClauseElement, values: Mapping[str, Any] = {}
    ) -> int:
        """Run an UPDATE, and return the number of rows that it matches."""
        statement = self._compile(clause)
        parameters = statement.parameters(values)
        return self._run(_count, statement.text, parameters)

    def send(self, text: str) -> None:
        """Run a statement without parameters and rows, such as COMMIT."""
        self._run(_count, text)

    def _run(
        self, result: Callable[[Any], R], text: str, *parameters: Any
    ) -> R:
        cursor = self._raw.cursor()
        try:
            cursor.execute(text, *parameters)
            found = result(cursor)
        except BaseException as error:
            # This closes the cursor. If the connection is lost, this also
            # drops it, and connections that are as old.
            self.db._handle_dbapi_exception(
                error, text, parameters, cursor, None
            )
        cursor.close()
        return found


def _rows(cursor: Any) -> list[Row]:
    return list(cursor.fetchall())


def _count(cursor: Any) -> int:
    count: int = cursor.rowcount
    return count
