# SPDX-License-Identifier: Apache-2.0
"""Which properties of images a caller may read, as Glance protects them.

The file is Glance's ``property_protection_file``, with roles: sections are
regular expressions of properties' names, in the order in which they are tried;
nobody may read a property that matches none.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import configparser
import functools
import re

from oslo_config import cfg

_EVERYBODY, _NOBODY = "@", "!"
_NAMES = 4096


class Protections:
    """The rules of a file.

    :param path: of the file.
    :raises OSError: it can't be read.
    :raises ValueError: it has an error; the message names the section.
    """

    def __init__(self, path: str) -> None:
        parser = configparser.RawConfigParser()
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file)
        except configparser.Error as error:
            raise ValueError(f"{path}: {error}") from error
        # Glance's own properties, whatever the file says.
        own = re.compile("os_glance.*"), frozenset(_EVERYBODY)
        self._rules: list[tuple[re.Pattern[str], frozenset[str]]] = [own]
        for section in parser.sections():
            try:
                pattern = re.compile(section)
            except re.error as error:
                raise ValueError(f"{path}: [{section}]: {error}") from error
            roles = parser.get(section, "read", fallback=_NOBODY).split(",")
            words = frozenset(word.strip().lower() for word in roles)
            self._rules.append((pattern, words))
        # Images have few different properties.
        self._readers = functools.lru_cache(_NAMES)(self._readers_of)

    def _readers_of(self, name: str) -> frozenset[str]:
        for pattern, roles in self._rules:
            if pattern.search(name):
                return roles
        return frozenset()

    def _may_read(self, name: str, roles: Collection[str]) -> bool:
        readers = self._readers(name)
        if _NOBODY in readers:
            return False
        return _EVERYBODY in readers or not readers.isdisjoint(roles)

    def readable(
        self, items: Mapping[str, str], roles: Iterable[str]
    ) -> dict[str, str]:
        """Return those of some properties that a caller may read."""
        words = frozenset(role.lower() for role in roles)
        return {
            name: value
            for name, value in items.items()
            if self._may_read(name, words)
        }


def load(conf: cfg.ConfigOpts) -> Protections | None:
    """Return the configured rules, None where there are none.

    :raises oslo_config.cfg.Error: their file can't be used.
    """
    path = conf.glance.property_protection_file
    if not path:
        return None
    try:
        return Protections(path)
    except (OSError, ValueError) as error:
        raise cfg.Error(
            f"[glance] property_protection_file: {error}"
        ) from error
