# SPDX-License-Identifier: Apache-2.0
"""Standard output and error that do not wait for the process that reads them.

A thread that writes to a full pipe, or to a journal that hangs, waits without
limit, and holds the lock of the log.
"""

from collections.abc import Iterator
import contextlib
import io
import select
import sys
from typing import TextIO

# Characters that are written at once. They have at most 4,096 bytes, for which
# a pipe has space if it can be written to.
_PART = 1024


class Output(io.TextIOBase):
    """Writes to a stream, and drops text while the stream is full.

    :param stream: a stream of the operating system, or of a test.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Write a text, or drop the part for which there is no space."""
        if self._lost and self._is_ready():
            lost, self._lost = self._lost, 0
            self._stream.write(f"{lost} log lines were dropped.\n")
        for start in range(0, len(text), _PART):
            if not self._is_ready():
                self._lost += 1
                break
            self._stream.write(text[start : start + _PART])
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Do nothing: ``write`` has flushed the stream."""

    def fileno(self) -> int:
        """Return the number of the stream's file."""
        return self._stream.fileno()

    def _is_ready(self) -> bool:
        try:
            return bool(select.select([], [self._stream], [], 0)[1])
        except io.UnsupportedOperation:
            # It is in memory.
            return True


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Replace standard output and error of this process."""
    with (
        contextlib.redirect_stdout(Output(sys.stdout)),
        contextlib.redirect_stderr(Output(sys.stderr)),
    ):
        yield
