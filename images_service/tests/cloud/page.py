# SPDX-License-Identifier: Apache-2.0
"""The page "Inside Nova": what it says an operator does."""

import os
import re
import textwrap

ROOT = os.path.abspath(f"{os.path.dirname(__file__)}/../../..")
# The parts of a file with sections: each header, and what is below it.
_SECTION = re.compile(r"^(\[.+\]\n)([^\[]*)", re.MULTILINE)


def _blocks(language):
    with open(
        f"{ROOT}/doc/source/install/inside-nova.rst", encoding="utf-8"
    ) as file:
        text = file.read()
    found = re.findall(
        rf"^\.\. code-block:: {language}\n((?:\n|   .*\n)+)", text, re.M
    )
    return [textwrap.dedent(block).strip() + "\n" for block in found]


def commands():
    """Return the commands: the installation first."""
    return "".join(_blocks("console")).splitlines()


def in_front(text):
    """Return Nova's api-paste.ini with the edit for the front."""
    return _edited(text, _blocks("ini")[0])


def behind(text):
    """Return Nova's api-paste.ini with the edit behind authtoken."""
    return _edited(text, _blocks("ini")[1])


def named(text, config_file):
    """Return Nova's api-paste.ini with a configuration file named."""
    front, _, section = _blocks("ini")
    front = front.replace("egg:images_service#front", "images")
    usual = "/etc/images_service/images_service.conf"
    return _edited(text, front) + section.replace(usual, config_file)


def _edited(text, block):
    """Return a file with the lines of a block in its sections."""
    for header, lines in _SECTION.findall(block):
        start = text.index(header) + len(header)
        end = text.index("\n[", start)
        rows = text[start:end].split("\n")
        for line in filter(None, lines.split("\n")):
            name = line.partition("=")[0].strip()
            known = [r for r in rows if r.partition("=")[0].strip() == name]
            if known:
                rows[rows.index(known[0])] = line
            else:
                rows.insert(0, line)
        text = text[:start] + "\n".join(rows) + text[end:]
    return text
