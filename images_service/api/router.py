# SPDX-License-Identifier: Apache-2.0
"""Where a path leads: the Routes mapper, made from ROUTES."""

from collections.abc import Mapping
import re
from typing import NamedTuple

import routes as routes_library

from images_service import errors
from images_service.api import routes

_SLASHES = re.compile("//+")


class Match(NamedTuple):
    """Where a path leads.

    :param version: ``v2.1`` or ``v2``, empty for the root.
    :param methods: method -> row of ROUTES; None for a version document.
    :param arguments: the path's named segments.
    """

    version: str
    methods: Mapping[str, routes.Route] | None
    arguments: dict[str, str]

    @property
    def allowed(self) -> str:
        """The methods that the path knows, as ``Allow`` lists them."""
        known = {"GET"} if self.methods is None else set(self.methods)
        if "GET" in known:
            known.add("HEAD")
        return ", ".join(sorted({*known, "OPTIONS"}))


class Router:
    """All paths of the API."""

    def __init__(self) -> None:
        self._mapper = routes_library.Mapper()
        self._mapper.minimization = False
        self._targets: list[Match] = []
        self._connect("/", "", None)
        paths: dict[str, dict[str, routes.Route]] = {}
        for route in routes.ROUTES:
            paths.setdefault(route.path, {})[route.method] = route
        for version in ("v2", "v2.1"):
            for path, methods in paths.items():
                for project in ("/{project_id}", ""):
                    self._connect(
                        f"/{version}{project}{path}", version, methods
                    )
            # No project is called images: /v2.1/images/ is no path.
            for path in ("", "/", "/{project_id:(?!images/)[^/]+}/"):
                self._connect(f"/{version}{path}", version, None)

    def _connect(
        self,
        path: str,
        version: str,
        methods: Mapping[str, routes.Route] | None,
    ) -> None:
        # Routes ends a pattern with $, which lets a last newline pass; \Z
        # doesn't.
        if path.endswith("}"):
            path = path.removesuffix("}") + r":[^/]+\Z}"
        else:
            path += r"{end:\Z}"
        # The mapper only keeps strings, so it is told which target it is.
        number = str(len(self._targets))
        self._mapper.connect(path, controller=number, action="")
        self._targets.append(Match(version, methods, {}))

    def match(self, path: str) -> Match:
        """Find where a path leads.

        :param path: percent-decoded, bytes as Latin-1, as WSGI has it.
        :raises errors.NotFound: nowhere.
        """
        # Bytes that are no UTF-8 become lone surrogates: they are in nothing
        # that is stored, and don't get in the way.
        text = path.encode("latin-1").decode("utf-8", "surrogateescape")
        found = self._mapper.match(_SLASHES.sub("/", text) or "/")
        if found is None:
            raise errors.NotFound
        target = self._targets[int(found.pop("controller"))]
        for word in ("action", "end"):
            found.pop(word, None)
        return target._replace(arguments=found)
