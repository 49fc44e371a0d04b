# SPDX-License-Identifier: Apache-2.0
"""Decides which properties of images a caller may read, by Glance's rules.

The file is Glance's ``property_protection_file``, with roles. Its sections are
regular expressions of properties' names, and are tried in order. If a property
matches no section, no caller may read it.
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

    :param path: path of the file.
    :raises OSError: the file can't be read.
    :raises ValueError: the file has an error; the message names the section.
    """

    def __init__(self, path: str) -> None:
        parser = configparser.RawConfigParser()
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file)
        except configparser.Error as error:
            raise ValueError(f"{path}: {error}") from error
        # Each caller may read Glance's own properties, as in Glance.
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
        """Return the properties that a caller may read."""
        words = frozenset(role.lower() for role in roles)
        return {
            name: value
            for name, value in items.items()
            if self._may_read(name, words)
        }


def load(conf: cfg.ConfigOpts) -> Protections | None:
    """Return the configured rules, None if no file is configured.

    :raises oslo_config.cfg.Error: the file can't be used.
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
