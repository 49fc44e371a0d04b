# SPDX-License-Identifier: Apache-2.0
"""Policy files, read strictly: what is wrong is named, by file and line.

oslo.policy reads them leniently: it takes a broken file for an empty one, a
mistyped name for a rule of its own, and null for a rule that allows everybody.
"""

from collections.abc import Iterator
import json
import os
import re
from typing import Any

import yaml

_REFERENCE = re.compile(r"\brule:([^\s()]+)")


class PolicyFileError(Exception):
    """A policy file can't be taken; the message names file, line and rule."""

    def __init__(self, path: str, line: int | None, problem: str) -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {problem}")


def read(path: str) -> dict[str, str]:
    """Return the rules of a file, JSON or YAML, by name.

    :raises PolicyFileError: the file can't be read, or isn't a map of names to
        rules.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeError) as error:
        raise PolicyFileError(path, None, str(error)) from error
    if not text.strip():
        # Most likely somebody is just writing it.
        raise PolicyFileError(path, None, "the file is empty")
    rules = dict(_checked(path, text, _pairs(path, text)))
    return rules


def line_of(path: str, name: str) -> int | None:
    """Return the line of a file that a rule's name stands on."""
    try:
        with open(path, encoding="utf-8") as file:
            return _line(file.read(), name)
    except (OSError, UnicodeError):
        return None


def references(rule: str) -> list[str]:
    """Return the names of the rules that a rule refers to."""
    return _REFERENCE.findall(rule)


def _pairs(path: str, text: str) -> list[tuple[Any, Any]]:
    """Return names and rules as they stand there, those twice included."""
    # JSON is read as JSON: as YAML it could not be indented with tabs.
    if text.lstrip().startswith("{"):
        try:
            document = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            message = getattr(error, "msg", str(error))
            raise PolicyFileError(path, line, message) from error
        return document if isinstance(document, list) else []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        loader = yaml.SafeLoader("")
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise PolicyFileError(path, 1, "not a map of names to rules")
        return [
            (
                loader.construct_object(key, deep=True),
                loader.construct_object(value, deep=True),
            )
            for key, value in node.value
        ]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or str(error)
        raise PolicyFileError(path, line, problem) from error


def _checked(
    path: str, text: str, pairs: list[tuple[Any, Any]]
) -> Iterator[tuple[str, str]]:
    seen = set()
    for name, rule in pairs:
        if not isinstance(name, str):
            raise PolicyFileError(path, None, f"{name!r} is no rule's name")
        line = _line(text, name)
        if name in seen:
            raise PolicyFileError(
                path, line, f"rule {name} stands there twice"
            )
        seen.add(name)
        if rule is None:
            raise PolicyFileError(
                path,
                line,
                f"rule {name} is null, which would allow everybody; write "
                '"" or "@" if that is meant, or leave the rule out',
            )
        if not isinstance(rule, str):
            raise PolicyFileError(path, line, f"rule {name} is not a string")
        yield name, rule


def _line(text: str, name: str) -> int | None:
    """Return the line on which a text has a name before a colon."""
    word = re.escape(name)
    found = re.search(
        rf"""(?:^|[\s{{,])(?P<name>"{word}"|'{word}'|{word})\s*:""", text
    )
    if found is None:
        return None
    return text.count("\n", 0, found.start("name")) + 1


def fingerprint(paths: list[str]) -> tuple[object, ...]:
    """Return what changes whenever one of some files does.

    A folder stands for the files in it.  An older time of change is a change,
    too: somebody has put an old file back.
    """
    prints: list[object] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            prints.append((path, None))
            continue
        prints.append(
            (path, status.st_ino, status.st_size, status.st_mtime_ns)
        )
    return tuple(prints)


def in_folder(path: str) -> list[str]:
    """Return the files of a folder in their order, hidden ones left out."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    return [
        os.path.join(path, name) for name in names if not name.startswith(".")
    ]
