# SPDX-License-Identifier: Apache-2.0
"""A line for each request: what was asked, what was answered, how long."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import logging
import time
from typing import Any
from typing import TYPE_CHECKING
from urllib.parse import quote

from images_service.context import RequestContext

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

LOG = logging.getLogger(__name__)


class RequestLog:
    """Logs at INFO, once the answer's head is known.

    Neither headers nor query strings are logged: they may hold secrets.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on and log it."""
        # Lines of this thread carry this request's id from here on, and not
        # what the request before it has left.
        RequestContext.of_environ(environ)
        if not LOG.isEnabledFor(logging.INFO):
            return self._application(environ, start_response)
        start = time.perf_counter()
        status, length = "", "-"

        def note(answer: str, headers: Any, *args: Any) -> Any:
            nonlocal status, length
            status = answer.partition(" ")[0]
            for name, value in headers:
                if name == "Content-Length":
                    length = value
            return start_response(answer, headers, *args)

        body = self._application(environ, note)
        # As Nova's server writes it, so that what reads its log reads this.
        LOG.info(
            '%s "%s %s %s" status: %s len: %s time: %.6f',
            environ.get("REMOTE_ADDR", "-"),
            quote(environ["REQUEST_METHOD"], safe=""),
            # Quoted again, so that no line break gets into the log.
            quote(environ.get("PATH_INFO", ""), encoding="latin-1"),
            quote(environ.get("SERVER_PROTOCOL", "")),
            status,
            length,
            time.perf_counter() - start,
        )
        return body


def filter_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> Callable[["WSGIApplication"], RequestLog]:
    """Return the filter, for PasteDeploy."""
    return RequestLog
