# SPDX-License-Identifier: Apache-2.0
"""Reloadable files, and files that map names to values."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import fcntl
import json
import os
import re
import signal
import stat
import threading
import time
from typing import Any
from typing import Generic
from typing import TypeVar

from oslo_log import log
import yaml

LOG = log.getLogger(__name__)

T = TypeVar("T")

# Seconds between two reads of the files: usually, and while an edit waits.
_INTERVAL = 1.0
_SOON = 0.1
# Seconds without a change after which an edit is loaded.
_SETTLED = 0.5
# The same for an edit that may be incomplete.
_CAUTIOUS = 10.0
# Seconds after which a waiting edit is logged, and the longest wait at start.
_PATIENCE = 2.0
# Maximum bytes of a file.
_LARGEST = 4 * 1024 * 1024

_NOT_JSON_SPACE = re.compile(r"[^\s:,]")
_COMMENTED_JSON = re.compile(
    r"\s*((#|//)[^\n]*\s*|/\*.*?\*/\s*)+\{", re.DOTALL
)
_WRITTEN = "a process has it open for writing"
_NO_COMMENTS = "JSON has no comments; YAML has, in a file policy.yaml"


class FileError(Exception):
    """A file cannot be used; the message names file, line and problem."""

    def __init__(self, path: str, line: int | None, problem: str) -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {problem}")
        self.path = path
        self.problem = problem


class Reloadable(Generic[T]):
    """A value that is loaded from files, and loaded again after each edit.

    An edit takes effect within two seconds, but not before every process that
    writes the files has closed them. If the files cannot be loaded, the last
    good value stays in effect, and the error is logged once.

    :param title: names the value in the log.
    :param paths: returns the files' paths.
    :param load: returns the immutable value for the files' contents by path.
    :param lost: tells whether the second value lacks parts of the first one.
    :param loaded: is called with each value that takes effect.
    :raises FileError: a file cannot be loaded.
    """

    def __init__(
        self,
        title: str,
        paths: Callable[[], list[str]],
        load: Callable[[Mapping[str, bytes]], T],
        lost: Callable[[T, T], bool] = lambda _old, _new: False,
        loaded: Callable[[T], object] = lambda _value: None,
    ) -> None:
        self._title = title
        self._paths = paths
        self._load = load
        self._lost = lost
        self._loaded = loaded
        self._listener: Callable[[bool], object] = lambda _loaded: None
        self._lock = threading.Lock()
        self._seen = _read_when_closed(paths())
        self._looked = time.monotonic()
        self._value = self._made(self._seen)
        # The time at which an edit that is not loaded yet was noticed.
        self._noticed: float | None = None
        self._waiting: str | None = None
        self._problem: str | None = None
        loaded(self._value)

    def tell_of_edits(self, listener: Callable[[bool], object]) -> None:
        """Call a function after each edit, with True if it took effect."""
        self._listener = listener

    @property
    def value(self) -> T:
        """The value, at most two seconds older than the files."""
        # One thread reads the files; the others use the present value.
        due = time.monotonic() - self._looked >= _INTERVAL
        if due and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._value

    @property
    def problem(self) -> str | None:
        """Why the present files are not in effect, None if they are."""
        _ = self.value
        return self._waiting or self._problem

    def _read(self) -> dict[str, bytes | str]:
        try:
            return read_all(self._paths())
        except FileError as error:
            return {error.path: error.problem}

    def _look(self) -> None:
        self._looked = now = time.monotonic()
        found = self._read()
        changed = {path for path, _ in found.items() ^ self._seen.items()}
        if not changed:
            self._noticed = self._waiting = None
            return
        self._looked += _SOON - _INTERVAL
        if self._noticed is None:
            self._noticed = now
        age = min(map(_age, changed))
        if max(age, now - self._noticed) < _SETTLED:
            return
        written = {path: is_written(path) for path in changed}
        writing = [path for path in changed if written[path]]
        if writing:
            self._wait(f"{writing[0]}: {_WRITTEN}")
            return
        unsure = age < _CAUTIOUS and any(
            written[path] is None and not is_complete(found.get(path))
            for path in changed
        )
        # A process may have written a file after it was read here.
        if self._read() == found:
            self._reload(found, unsure=unsure)

    def _wait(self, problem: str) -> None:
        """Log once why an edit has not taken effect for some time."""
        waited = time.monotonic() - (self._noticed or 0)
        if self._waiting is None and waited > _PATIENCE:
            LOG.warning("%s stays as it was: %s", self._title, problem)
            self._waiting = problem

    def _reload(self, found: dict[str, bytes | str], *, unsure: bool) -> None:
        problem = None
        try:
            value = self._made(found)
        except Exception as error:
            # An edit must not make a request fail.
            bug = not isinstance(error, FileError)
            problem = str(error)
            if bug:
                problem = f"{', '.join(found)}: {type(error).__name__}"
            message = "%s stays as it was: %s"
            LOG.error(message, self._title, problem, exc_info=bug)
        else:
            if unsure and self._lost(self._value, value):
                self._wait(
                    f"{', '.join(found)}: the edit may be incomplete, since "
                    "it drops parts of the last value; it takes effect "
                    f"{_CAUTIOUS:g} seconds after the last change"
                )
                return
            self._value = value
            LOG.info("%s is loaded from %s", self._title, ", ".join(found))
            self._loaded(value)
        self._seen = found
        self._problem = problem
        self._noticed = self._waiting = None
        self._listener(problem is None)

    def _made(self, found: Mapping[str, bytes | str]) -> T:
        contents = {}
        for path, content in found.items():
            if isinstance(content, str):
                raise FileError(path, None, content)
            contents[path] = content
        return self._load(contents)


def read(path: str) -> bytes:
    """Return a file's content.

    :raises FileError: the file cannot be read, is not a regular file, or is
        too large.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileError(path, None, "not a regular file")
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise FileError(path, None, str(error)) from error
    if len(content) > _LARGEST:
        raise FileError(path, None, f"larger than {_LARGEST} bytes")
    return content


def read_all(paths: list[str]) -> dict[str, bytes | str]:
    """Return the content of each file, or the reason why it cannot be read.

    Callers compare the contents: an edit may keep a file's size and times.
    """
    found: dict[str, bytes | str] = {}
    for path in paths:
        try:
            found[path] = read(path)
        except FileError as error:
            found[path] = error.problem
    return found


def is_written(path: str) -> bool | None:
    """Tell whether a process has a file open for writing, None if unknown.

    Linux does not grant a read lease on such a file. It grants leases only to
    the file's owner and to root, and not on every file system.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            # A process that opens the file for writing before it is closed
            # here causes a signal. The default, SIGIO, ends this process.
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        # AttributeError: the system has no leases.
        return None
    return False


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a FIFO waits for a process that writes it.
    return os.open(path, flags | os.O_NONBLOCK)


def is_complete(content: bytes | str | None) -> bool:
    """Tell whether the parser would reject the content if it was incomplete.

    It would reject JSON, which ends with a brace. A missing file is complete.
    """
    return not isinstance(content, bytes) or content.lstrip(
        b"\xef\xbb\xbf\r\n\t "
    ).startswith(b"{")


def _age(path: str) -> float:
    """Return the seconds since the last change of a file.

    No process can set the time of an inode's change. If the file is missing,
    the time of its folder counts.
    """
    for place in (path, os.path.dirname(path)):
        try:
            return time.time() - os.stat(place).st_ctime
        except OSError:
            continue
    return 0


def _read_when_closed(paths: list[str]) -> dict[str, bytes | str]:
    """Wait until no process writes the files, and call ``read_all``.

    :raises FileError: a process has a file open for writing for too long.
    """
    end = time.monotonic() + _PATIENCE
    while path := next(filter(is_written, paths), None):
        if time.monotonic() > end:
            raise FileError(path, None, _WRITTEN)
        time.sleep(_SOON)
    return read_all(paths)


def parse_map(path: str, content: bytes) -> Mapping[str, tuple[int, Any]]:
    """Return the line and the value of each name in a JSON or YAML file.

    The names have the order of the file.

    :raises FileError: the content is empty, is not a map of strings to values,
        or defines a name twice.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeError as error:
        raise FileError(path, None, str(error)) from error
    if not text.strip():
        raise FileError(path, None, "the file is empty")
    # A YAML parser rejects JSON that is indented with tabs.
    pairs = _json_pairs if text.lstrip().startswith("{") else _yaml_pairs
    entries: dict[str, tuple[int, Any]] = {}
    for name, line, value in pairs(path, text):
        if not isinstance(name, str):
            raise FileError(path, line, f"the name {name!r} is not a string")
        if name in entries:
            first, _ = entries[name]
            problem = f"{name} is defined twice, first on line {first}"
            raise FileError(path, line, problem)
        entries[name] = (line, value)
    return entries


def _json_pairs(path: str, text: str) -> Iterator[tuple[Any, int, Any]]:
    """Yield names, their lines and values, repeated names included."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        comment = text.startswith(("#", "//", "/*"), error.pos)
        problem = _NO_COMMENTS if comment else error.msg
        raise FileError(path, error.lineno, problem) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, None, str(error)) from error
    decode = json.JSONDecoder().raw_decode
    line, counted = 1, 0
    place = _next(text, text.index("{") + 1)
    while text[place] != "}":
        line += text.count("\n", counted, place)
        counted = place
        name, end = decode(text, place)
        value, end = decode(text, _next(text, end))
        yield name, line, value
        place = _next(text, end)


def _next(text: str, place: int) -> int:
    """Return where the next name, value or brace of valid JSON starts."""
    found = _NOT_JSON_SPACE.search(text, place)
    assert found is not None
    return found.start()


def _yaml_pairs(path: str, text: str) -> Iterator[tuple[Any, int, Any]]:
    """Yield names, their lines and values, repeated names included."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        loader = yaml.SafeLoader("")
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            raise FileError(path, 1, "not a map of names to values")
        for key, value in node.value:
            yield (
                loader.construct_object(key, deep=True),
                key.start_mark.line + 1,
                loader.construct_object(value, deep=True),
            )
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML raises ValueError for a date that does not exist.
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or str(error)
        if _COMMENTED_JSON.match(text):
            blank = len(text) - len(text.lstrip())
            line, problem = text.count("\n", 0, blank) + 1, _NO_COMMENTS
        raise FileError(path, line, problem) from error
