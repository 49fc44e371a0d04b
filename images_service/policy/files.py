# SPDX-License-Identifier: Apache-2.0
"""Policy files, read strictly: what is wrong is named, by file and line.

oslo.policy reads them leniently: it takes a broken file for an empty one, a
mistyped name for a rule of its own, and null for a rule that allows everybody.
"""

from collections.abc import Mapping
import os

from images_service import mapfile
from images_service.watched import FileError


def read(path: str) -> Mapping[str, mapfile.Entry]:
    """Return the rules of a file, JSON or YAML: their values are strings.

    :raises FileError: the file can't be read, or isn't a map of names to
        rules.
    """
    entries = mapfile.read(path)
    for name, (line, rule) in entries.items():
        if rule is None:
            raise FileError(
                path,
                line,
                f"rule {name} is null, which would allow everybody; write "
                '"" or "@" if that is meant, or leave the rule out',
            )
        if not isinstance(rule, str):
            raise FileError(path, line, f"rule {name} is not a string")
    return entries


def in_folder(path: str) -> list[str]:
    """Return the files of a folder in their order, hidden ones left out."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    return [
        os.path.join(path, name) for name in names if not name.startswith(".")
    ]
