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
from typing import TypeGuard

# Characters that are written at once. They have at most 4,096 bytes, for which
# a pipe has space if it can be written to.
_PART = 1024


class Output(io.TextIOBase):
    """Writes to a stream, and drops text while the stream is full.

    :param stream: a stream of the operating system, or of a test; None if the
        process was started without it.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Write a text, or drop the part for which there is no space."""
        if self._lost and _has_space(self._stream):
            lost, self._lost = self._lost, 0
            self._stream.write(f"{lost} log lines were dropped.\n")
        for start in range(0, len(text), _PART):
            if not _has_space(self._stream):
                self._lost += 1
                break
            self._stream.write(text[start : start + _PART])
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Do nothing: ``write`` has flushed the stream."""


def _has_space(stream: TextIO | None) -> TypeGuard[TextIO]:
    """Tell whether a stream takes a part at once."""
    if stream is None:
        return False
    try:
        return bool(select.select([], [stream], [], 0)[1])
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
