# SPDX-License-Identifier: Apache-2.0
"""What files say, read again when somebody has edited them."""

from collections.abc import Callable
import os
import threading
import time
from typing import Generic
from typing import TypeVar

from oslo_log import log

LOG = log.getLogger(__name__)

T = TypeVar("T")

# Seconds between two looks at the files.
_INTERVAL = 1.0
# Seconds after which what was written is taken to be all of it, and for how
# long a file is waited for that never rests.
_SETTLED = 0.1
_PATIENCE = 0.5

# Path, inode, size and time of change in nanoseconds; a path alone where there
# is no such file.
Fingerprint = tuple[tuple[str, int, int, int] | tuple[str], ...]


class FileError(Exception):
    """A file can't be taken; the message names file, line and problem."""

    def __init__(self, path: str, line: int | None, problem: str) -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {problem}")


class Watched(Generic[T]):
    """A value that is made of files, and made anew when they change.

    An edit is in force within two seconds, whatever the editor does to a
    file.  Files that can't be taken leave the last good value in force, and
    are logged once.

    :param title: what the value is, for the log.
    :param paths: returns the files; asked at each look, for they may come and
        go.
    :param load: makes the value of the files.  It must be immutable, for
        threads go on with the one that they have.
    :raises FileError: one of the files can't be taken.
    """

    def __init__(
        self,
        title: str,
        paths: Callable[[], list[str]],
        load: Callable[[list[str]], T],
    ) -> None:
        self._title = title
        self._paths = paths
        self._load = load
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        # When a change was noticed that has not been taken yet.
        self._noticed: float | None = None
        found = paths()
        self._seen = fingerprint(found)
        self._value = load(found)
        self._problem: str | None = None
        self._told: Callable[[bool], object] | None = None

    def tell(self, told: Callable[[bool], object]) -> None:
        """Have a function called at each edit: whether it was taken."""
        self._told = told

    @property
    def value(self) -> T:
        """The value, at most two seconds behind the files."""
        self._refresh()
        return self._value

    @property
    def problem(self) -> str | None:
        """Why the files as they are now are not in force, None if they are."""
        self._refresh()
        return self._problem

    def _refresh(self) -> None:
        """Look at the files, if nobody has for a second."""
        if time.monotonic() - self._looked < _INTERVAL:
            return
        # One thread looks; the others go on with the value there is.
        if not self._lock.acquire(blocking=False):
            return
        try:
            paths = self._paths()
            found = fingerprint(paths)
            self._looked = now = time.monotonic()
            if found == self._seen:
                self._noticed = None
                return
            self._noticed = self._noticed or now
            if _is_fresh(found) and now - self._noticed < _PATIENCE:
                # Half of a file may be a good file, too: look again soon.
                self._looked -= _INTERVAL - _SETTLED
            else:
                self._noticed = None
                self._take(paths, found)
        finally:
            self._lock.release()

    def _take(self, paths: list[str], found: Fingerprint) -> None:
        try:
            value = self._load(paths)
        except FileError as error:
            LOG.error("%s stays as it was: %s", self._title, error)
            self._refuse(found, str(error))
            return
        except Exception as error:
            # Nobody's request fails for what an editor has saved.
            LOG.exception("%s stays as it was", self._title)
            self._refuse(found, f"{', '.join(paths)}: {type(error).__name__}")
            return
        if fingerprint(paths) != found:
            # Written while it was read: look again the next time.
            return
        self._seen = found
        self._value = value
        self._problem = None
        LOG.info("%s is in force as in %s", self._title, ", ".join(paths))
        if self._told is not None:
            self._told(True)

    def _refuse(self, found: Fingerprint, problem: str) -> None:
        self._seen = found
        self._problem = problem
        if self._told is not None:
            self._told(False)


def fingerprint(paths: list[str]) -> Fingerprint:
    """Return what changes whenever one of some files does.

    An older time of change is a change, too: somebody has put an old file
    back.
    """
    prints: list[tuple[str, int, int, int] | tuple[str]] = []
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError:
            prints.append((path,))
        else:
            prints.append((path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(prints)


def _is_fresh(found: Fingerprint) -> bool:
    """Tell whether a file was written just now, maybe not to its end."""
    now = time.time_ns()
    return any(
        len(file) > 1 and 0 <= now - file[3] < _SETTLED * 1e9 for file in found
    )
