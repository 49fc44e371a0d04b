# SPDX-License-Identifier: Apache-2.0
"""Finds the requests in the lines of access logs."""

import collections
import re
from typing import NamedTuple
from typing import TextIO
from urllib import parse

from images_service.api import router

READS = ("GET", "HEAD")
# Maximum characters of a line to read; no server accepts a longer request.
_PART = 1 << 16
_TARGET = r'((?:https?://[^/" ]+)?/'
# "GET /path HTTP/1.1" in the logs of nginx, Apache, HAProxy, gunicorn and this
# service; Nova's own line leaves the version of HTTP out, and has a
# microversion.
_QUOTED = re.compile(
    rf'"([A-Z]+) {_TARGET}[^"]*?)(?: HTTP/[0-9.]+)?"'
    r"(?: status: .* microversion: ([0-9]+\.[0-9]+|-))?"
)
# The format of uWSGI.
_UWSGI = re.compile(rf"\] ([A-Z]+) {_TARGET}\S*) => generated ")
# A list of requests or of paths.
_PLAIN = re.compile(rf"(?:([A-Z]+) )?{_TARGET}\S*)(?: HTTP/[0-9.]+)?\s*")
# A byte that is not printable ASCII, in logs of nginx and Apache, or HAProxy.
_ESCAPED = re.compile(r"(?:\\x|#)([0-9A-Fa-f]{2})")
# Characters that a URL contains unencoded, besides letters and digits.
_RESERVED = ":/?[]@!$&'()*+,;="
# The parts of a path before and after the id of a project.
_PROJECT = re.compile(
    rf"(/+v2(?:\.1)?/+){router.NOVA_PROJECT}(/+images(?:[/?].*)?)"
)


class Request(NamedTuple):
    """A request that a log names.

    :ivar target: path and query string, percent-encoded.
    :ivar microversion: the one in Nova's log, None for other logs.
    """

    method: str
    target: str
    microversion: str | None = None

    def __str__(self) -> str:
        version = f" ({self.microversion})" if self.microversion else ""
        return f"{self.method} {self.target}{version}"


def find(line: str) -> Request | None:
    """Return the request of a line, None if the line has no request."""
    found = _QUOTED.search(line) or _UWSGI.search(line)
    found = found or _PLAIN.fullmatch(line)
    if found is None:
        return None
    method, target, *rest = found.groups()
    # A proxy's client may have sent a whole URL.
    target = re.sub("^https?://[^/]+", "", target)
    microversion = rest[0] if rest else None
    if microversion is None:
        target = _ESCAPED.sub(r"%\1", target)
        target = parse.quote(target, safe=f"{_RESERVED}%")
    else:
        # Nova has decoded the path, and logs its bytes as Latin-1.
        path, mark, query = target.partition("?")
        path = parse.quote(path, _RESERVED, "latin-1", "replace")
        target = f"{path}{mark}{parse.quote(query, safe=f'{_RESERVED}%')}"
    if microversion == "-":
        microversion = None
    return Request(method or "GET", target, microversion)


class Reads:
    """The reads for images of an access log.

    :param prefix: prefix to remove from Nova's paths.
    :param project: id to write into each path, None to keep the path's id.
    :param microversion: microversion of requests whose lines have none.
    :ivar times: number of times that each read occurs.
    :ivar writes: number of requests for images that are not reads.
    :ivar others: number of requests that are not for images.
    """

    def __init__(
        self, prefix: str, project: str | None, microversion: str | None
    ) -> None:
        self._prefix = prefix
        self._project = project and parse.quote(project, safe="")
        self._microversion = microversion
        self._router = router.Router(router.NOVA_PROJECT)
        self.times: collections.Counter[Request] = collections.Counter()
        self.writes = self.others = 0

    def read(self, file: TextIO) -> None:
        """Count the requests of a log."""
        while line := file.readline(_PART):
            request = find(line)
            if request is not None:
                self._add(request)

    def _add(self, request: Request) -> None:
        target = request.target.removeprefix(self._prefix)
        path = parse.unquote(target.partition("?")[0], "latin-1")
        if not self._router.is_action(path):
            self.others += 1
        elif request.method not in READS:
            self.writes += 1
        else:
            if self._project is not None:
                target = _PROJECT.sub(rf"\g<1>{self._project}\g<2>", target)
            version = request.microversion or self._microversion
            self.times[Request(request.method, target, version)] += 1
