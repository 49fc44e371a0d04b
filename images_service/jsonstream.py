# SPDX-License-Identifier: Apache-2.0
"""Read JSON texts of any length value by value.

Python's decoder reads the values. ijson's C backend replaces lone surrogates
with "?", and its memory has no limit for deep nesting; its Python backend is
slow.
"""

from collections.abc import Iterator
import json
import re
from typing import Any
from typing import IO

# Minimum number of characters for one read.
_CHUNK = 2**16
# The decoder may stop up to this many characters before the end of an
# incomplete text: more than -Infinity or an escaped pair of surrogates has.
_TAIL = 16
_VALUE = re.compile(r"[^ \t\n\r]")


class JSONStream:
    """A text of JSON values; the values before the current one are dropped.

    :param stream: the rest of the text.
    :param start: the part that was read from the stream already.
    :param line: number of the first line of ``start``.
    """

    def __init__(
        self, stream: IO[str], start: str = "", line: int = 1
    ) -> None:
        self._stream = stream
        self._text = start
        self._position = 0
        # The line and the column where the text in memory starts.
        self._line = line
        self._column = 1
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Return the next character that isn't white space, "" at the end."""
        while True:
            found = _VALUE.search(self._text, self._position)
            if found:
                self._position = found.start()
                return found[0]
            self._position = len(self._text)
            if not self._read(_CHUNK):
                return ""

    def value(self) -> Any:
        """Read the next value.

        :raises ValueError: the text is not JSON; the message says where.
        """
        self.peek()
        size = _CHUNK
        while True:
            try:
                value, end = self._decode(self._text, self._position)
            except json.JSONDecodeError as error:
                unfinished = (
                    error.msg.startswith("Unterminated string")
                    or error.pos > len(self._text) - _TAIL
                )
                if not unfinished or not self._read(size):
                    raise self._error(error.msg, error.pos) from error
            except ValueError as error:
                raise self._error(str(error), self._position) from error
            except RecursionError as error:
                raise self._error("nested too deep", self._position) from error
            else:
                # The text may end inside a number: after "1" or "1e+".
                if end < len(self._text) - 2 or not self._read(size):
                    self._position = end
                    return value
            size *= 2

    def elements(self) -> Iterator[Any]:
        """Read an array; yield its values."""
        for _ in self._items("[", "]"):
            yield self.value()

    def names(self) -> Iterator[str]:
        """Read an object; yield its names; the caller reads the values."""
        for _ in self._items("{", "}"):
            if self.peek() != '"':
                raise self._error("Expecting a name in quotes", self._position)
            name: str = self.value()
            self._expect(":")
            yield name

    def _items(self, start: str, end: str) -> Iterator[None]:
        self._expect(start)
        if self.peek() == end:
            self._expect(end)
            return
        yield
        while self._expect("," + end) == ",":
            yield

    def _expect(self, characters: str) -> str:
        """Read a character, which must be one of the given characters."""
        found = self.peek()
        if not found or found not in characters:
            expected = " or ".join(repr(one) for one in characters)
            raise self._error(f"Expecting {expected}", self._position)
        self._position += 1
        return found

    def _read(self, size: int) -> bool:
        """Read more text, and drop the used text; return False at the end."""
        chunk = self._stream.read(size)
        if not chunk:
            return False
        self._line, self._column = self._place(self._position)
        self._text = self._text[self._position :] + chunk
        self._position = 0
        return True

    def _place(self, position: int) -> tuple[int, int]:
        """Return the line and the column of a position in memory."""
        lines = self._text.count("\n", 0, position)
        if not lines:
            return self._line, self._column + position
        last = self._text.rindex("\n", 0, position)
        return self._line + lines, position - last

    def _error(self, problem: str, position: int) -> ValueError:
        line, column = self._place(position)
        return ValueError(f"{problem}: line {line} column {column}")
