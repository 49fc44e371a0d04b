# SPDX-License-Identifier: Apache-2.0
"""Version documents: what the endpoint is, told without a token."""

from collections.abc import Callable
from typing import Any

_TYPE = "application/vnd.openstack.compute+json"


class Versions:
    """The documents of the root and of both versions.

    :param maximum: the highest microversion, as it is announced.
    """

    def __init__(self, maximum: str) -> None:
        self._legacy = {
            "id": "v2.0",
            "status": "DEPRECATED",
            "version": "",
            "min_version": "",
            "updated": "2025-07-04T12:00:00Z",
        }
        self._current = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": maximum,
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
        }

    def root(self, base: str) -> dict[str, Any]:
        """Return the list of versions.

        :param base: what the links start with.
        """
        return {
            "versions": [
                {**self._legacy, "links": [_self(base, "v2")]},
                {**self._current, "links": [_self(base, "v2.1")]},
            ]
        }

    def legacy(self, base: str) -> dict[str, Any]:
        """Return the document of ``/v2``."""
        return _document(self._legacy, base, "v2", "2")

    def current(self, base: str) -> dict[str, Any]:
        """Return the document of ``/v2.1``."""
        return _document(self._current, base, "v2.1", "2.1")

    def of_path(self, version: str) -> Callable[[str], dict[str, Any]]:
        """Return the document of a path's first segment."""
        return {"": self.root, "v2": self.legacy, "v2.1": self.current}[
            version
        ]


def _self(base: str, path: str) -> dict[str, str]:
    return {"rel": "self", "href": f"{base}/{path}/"}


def _document(
    version: dict[str, str], base: str, path: str, number: str
) -> dict[str, Any]:
    return {
        "version": {
            **version,
            "links": [
                _self(base, path),
                {
                    "rel": "describedby",
                    "type": "text/html",
                    "href": "http://docs.openstack.org/",
                },
            ],
            "media-types": [
                {
                    "base": "application/json",
                    "type": f"{_TYPE};version={number}",
                }
            ],
        }
    }
