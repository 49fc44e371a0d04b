# SPDX-License-Identifier: Apache-2.0
"""The Routes mapper, made from ROUTES."""

from collections.abc import Mapping
import functools
import re
from typing import Any
from typing import NamedTuple

from routes import mapper

from images_service import exception
from images_service.api import routes

# Project ids in Nova's own paths. Without this pattern, the key pair
# /os-keypairs/images would be the images of a project.
NOVA_PROJECT = "[0-9a-f-]+"
_SLASHES = re.compile("//+")
# Number of cached matches, and the length from which paths are not cached.
_PATHS, _LONG = 256, 1024


class Match(NamedTuple):
    """The target of a path."""

    version: str  # v2.1 or v2, empty for the root
    methods: Mapping[str, routes.Route] | None  # None for a version document
    arguments: Mapping[str, str]  # the path's named segments

    @property
    def allowed(self) -> str:
        """The methods of the path, as the header ``Allow`` lists them."""
        known = {"GET"} if self.methods is None else set(self.methods)
        if "GET" in known:
            known.add("HEAD")
        return ", ".join(sorted({*known, "OPTIONS"}))

    def route(self, method: str) -> routes.Route | None:
        """Return the row of ROUTES, None for a version document."""
        if method == "HEAD":
            method = "GET"
        if method not in (self.methods or ("GET",)):
            raise exception.MethodNotAllowed(headers=[("Allow", self.allowed)])
        return None if self.methods is None else self.methods[method]


class Router:
    """All paths of the API, in a mapper of Routes.

    :param project: regular expression of a project's id in a path.
    """

    def __init__(self, project: str = "[^/]+") -> None:
        # Many requests have the same few paths, such as the paths of lists.
        self._found = functools.lru_cache(_PATHS)(self._find)
        self._mapper = mapper.Mapper()
        self._mapper.minimization = False
        self._targets: list[tuple[str, Mapping[str, routes.Route] | None]] = []
        paths: dict[str, dict[str, routes.Route]] = {}
        for route in routes.ROUTES:
            paths.setdefault(route.path, {})[route.method] = route
        self._connect("/", "", None)
        for version in ("v2", "v2.1"):
            for path, methods in paths.items():
                for prefix in (f"/{{project_id:{project}}}", ""):
                    self._connect(
                        f"/{version}{prefix}{path}", version, methods
                    )
            # No project is called images: /v2.1/images/ is an unknown path.
            for path in ("", "/", f"/{{project_id:(?!images/){project}}}/"):
                self._connect(f"/{version}{path}", version, None)

    def _connect(
        self, path: str, version: str, methods: Mapping[str, Any] | None
    ) -> None:
        # Routes ends a pattern with $, which matches before a last newline.
        if path.endswith("}"):
            path = path.removesuffix("}") + r":[^/]+\Z}"
        else:
            path += r"{end:\Z}"
        # The mapper keeps only strings.
        number = str(len(self._targets))
        self._mapper.connect(path, controller=number, action="")
        self._targets.append((version, methods))

    def find(self, path: str) -> Match | None:
        """Return the target of a path, None if it is unknown.

        :param path: percent-decoded, bytes as Latin-1, as in WSGI.
        """
        # A cache of long paths would fill the memory; no client needs them.
        find = self._found if len(path) < _LONG else self._find
        return find(path)

    def _find(self, path: str) -> Match | None:
        # Bytes that are not UTF-8 become lone surrogates, which no stored text
        # contains.
        text = path.encode("latin-1").decode("utf-8", "surrogateescape")
        found = self._mapper.match(_SLASHES.sub("/", text) or "/")
        if found is None:
            return None
        version, methods = self._targets[int(found.pop("controller"))]
        for word in ("action", "end"):
            found.pop(word, None)
        return Match(version, methods, found)

    def match(self, path: str) -> Match:
        """Return the target of a path.

        :raises NotFound: the path is unknown.
        """
        found = self.find(path)
        if found is None:
            raise exception.NotFound
        return found

    def is_document(self, path: str) -> bool:
        """Tell whether a path leads to a version document."""
        found = self.find(path)
        return found is not None and found.methods is None

    def is_action(self, path: str) -> bool:
        """Tell whether a path leads to an action, with any method."""
        # This quick check rejects most paths of other services.
        if "/images" not in path:
            return False
        found = self.find(path)
        return found is not None and found.methods is not None
