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

from images_service.watched import FileError


def read(path: str) -> dict[str, str]:
    """Return the rules of a file, JSON or YAML, by name.

    :raises FileError: the file can't be read, or isn't a map of names to
        rules.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeError) as error:
        raise FileError(path, None, str(error)) from error
    if not text.strip():
        # Most likely somebody is just writing it.
        raise FileError(path, None, "the file is empty")
    return dict(_checked(path, text, _pairs(path, text)))


def line_of(path: str, name: str) -> int | None:
    """Return the line of a file that a rule's name stands on."""
    try:
        with open(path, encoding="utf-8") as file:
            return _line(file.read(), name)
    except (OSError, UnicodeError):
        return None


def _pairs(path: str, text: str) -> list[tuple[Any, Any]]:
    """Return names and rules as they stand there, those twice included."""
    # JSON is read as JSON: as YAML it could not be indented with tabs.
    if text.lstrip().startswith("{"):
        try:
            document = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            message = getattr(error, "msg", str(error))
            raise FileError(path, line, message) from error
        return document if isinstance(document, list) else []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        loader = yaml.SafeLoader("")
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise FileError(path, 1, "not a map of names to rules")
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


def _checked(
    path: str, text: str, pairs: list[tuple[Any, Any]]
) -> Iterator[tuple[str, str]]:
    seen = set()
    for name, rule in pairs:
        if not isinstance(name, str):
            raise FileError(path, None, f"{name!r} is no rule's name")
        line = _line(text, name)
        if name in seen:
            raise FileError(path, line, f"rule {name} stands there twice")
        seen.add(name)
        if rule is None:
            raise FileError(
                path,
                line,
                f"rule {name} is null, which would allow everybody; write "
                '"" or "@" if that is meant, or leave the rule out',
            )
        if not isinstance(rule, str):
            raise FileError(path, line, f"rule {name} is not a string")
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


def in_folder(path: str) -> list[str]:
    """Return the files of a folder in their order, hidden ones left out."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    return [
        os.path.join(path, name) for name in names if not name.startswith(".")
    ]
