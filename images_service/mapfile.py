# SPDX-License-Identifier: Apache-2.0
"""Files that map names to values, read strictly.

JSON or YAML.  What is wrong is named, by file and line.
"""

from collections.abc import Mapping
import json
import re
from typing import Any
from typing import NamedTuple

import yaml

from images_service.watched import FileError


class Entry(NamedTuple):
    """What a name maps to, and the line that it stands on, where known."""

    line: int | None
    value: Any


def read(path: str) -> Mapping[str, Entry]:
    """Return what a file maps, in its order.

    :raises FileError: the file can't be read, is empty or no map, or has a
        name twice.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeError) as error:
        raise FileError(path, None, str(error)) from error
    if not text.strip():
        # Most likely somebody is just writing it.
        raise FileError(path, None, "the file is empty")
    entries: dict[str, Entry] = {}
    for name, value in _pairs(path, text):
        if not isinstance(name, str):
            raise FileError(path, None, f"{name!r} is no name")
        line = _line(text, name)
        if name in entries:
            raise FileError(path, line, f"{name} stands there twice")
        entries[name] = Entry(line, value)
    return entries


def _pairs(path: str, text: str) -> list[tuple[Any, Any]]:
    """Return names and values as they stand there, those twice included."""
    # JSON is read as JSON: as YAML it could not be indented with tabs.
    if text.lstrip().startswith("{"):
        found: list[tuple[Any, Any]] = []

        def keep(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
            # The outermost object is the last one to end.
            found[:] = pairs
            return dict(pairs)

        try:
            json.loads(text, object_pairs_hook=keep)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            message = getattr(error, "msg", str(error))
            raise FileError(path, line, message) from error
        return found
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        loader = yaml.SafeLoader("")
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise FileError(path, 1, "not a map of names to values")
        return [
            (
                loader.construct_object(key, deep=True),
                loader.construct_object(value, deep=True),
            )
            for key, value in node.value
        ]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A ValueError is what PyYAML makes of a date that there isn't.
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or str(error)
        raise FileError(path, line, problem) from error


def _line(text: str, name: str) -> int | None:
    """Return the line on which a text has a name before a colon."""
    word = re.escape(name)
    found = re.search(
        rf"""(?:^|[\s{{,])(?P<name>"{word}"|'{word}'|{word})\s*:""", text
    )
    if found is None:
        return None
    return text.count("\n", 0, found.start("name")) + 1
