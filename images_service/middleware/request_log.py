# SPDX-License-Identifier: Apache-2.0
"""Logs a line for each request: what was asked and answered, how long."""

from collections.abc import Iterable
import logging
import time
from urllib.parse import quote
from wsgiref import types as wsgi

from images_service import context
from images_service.middleware import pipeline

LOG = logging.getLogger(__name__)


class RequestLog(pipeline.Middleware):
    """Logs at INFO, once the answer's head is known.

    Neither headers nor query strings are logged: they may hold secrets.
    """

    def __call__(
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Pass the request on and log it."""
        # From here on, lines of this thread carry this request's id.
        context.of_request(environ)
        if not LOG.isEnabledFor(logging.INFO):
            return self._application(environ, start_response)
        start = time.perf_counter()
        status, headers, body = pipeline.answer_of(self._application, environ)
        # As Nova's server writes it, so that what reads its log reads this.
        LOG.info(
            '%s "%s %s %s" status: %s len: %s time: %.6f',
            environ.get("REMOTE_ADDR", "-"),
            quote(environ["REQUEST_METHOD"], safe=""),
            # Quoted again, so that no line break gets into the log.
            quote(environ.get("PATH_INFO", ""), encoding="latin-1"),
            quote(environ.get("SERVER_PROTOCOL", "")),
            status[:3],
            dict(headers).get("Content-Length", "-"),
            time.perf_counter() - start,
        )
        start_response(status, headers)
        return body
