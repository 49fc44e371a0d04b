# SPDX-License-Identifier: Apache-2.0
"""The commands of a page of the documentation, and what it says they print."""

import os
import re

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
_BLOCK = re.compile(
    r"\.\. code-block:: console\n\n((?:(?:   .*)?\n)+)"
    r"(?:\.\. code-block:: text\n\n((?:(?:   .*)?\n)+))?"
)


def read(path):
    """Return the text of a file of the repository."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def section(path, title):
    """Return the text of one section of a page."""
    _, _, rest = read(path).partition(f"\n{title}\n{'=' * len(title)}\n")
    return re.split(r"\n[^\n]+\n=+\n", rest)[0] + "\n"


def examples(text):
    """Return the shell blocks of a page, with what each one prints.

    :returns: pairs of commands and output; the latter is None for a block that
        no ``text`` block follows at once.
    """
    return [
        (_dedent(commands), _dedent(output) if output else None)
        for commands, output in _BLOCK.findall(text)
    ]


def blocks(path):
    """Return the shell blocks of a page."""
    return [commands for commands, _ in examples(read(path))]


def matches(expected, output):
    """Tell whether commands printed what a page says.

    :param expected: the page's text, where ``…`` stands for anything.
    """
    pattern = ".*".join(map(re.escape, expected.split("…")))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def _dedent(block):
    return "\n".join(line[3:] for line in block.rstrip().splitlines())
