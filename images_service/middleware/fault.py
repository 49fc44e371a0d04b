# SPDX-License-Identifier: Apache-2.0
"""Turns all errors into faults in JSON."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import functools
from http import HTTPStatus
from wsgiref import types as wsgi

from oslo_log import log

from images_service import exception
from images_service.context import ANSWERED
from images_service.middleware import pipeline

LOG = log.getLogger(__name__)

# Errors of the filters, by their status.
_ERRORS: Mapping[int, Callable[[], exception.Error]] = {
    400: functools.partial(
        exception.Invalid, "The request can't be understood."
    ),
    401: exception.Unauthorized,
    403: exception.Forbidden,
    404: exception.NotFound,
    413: exception.BodyTooLarge,
    503: exception.StoreUnavailable,
}
# Headers that the fault keeps from a filter's error.
_KEPT = frozenset({"www-authenticate", "retry-after", "allow", "vary"})


class Faults(pipeline.Middleware):
    """Turns exceptions and the filters' error pages into compute faults.

    An unexpected error is logged with its traceback. The answer has a fixed
    text and the request's id, and never the exception's text.
    """

    def __call__(
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Pass the request on, and turn its errors into faults."""
        request_id = environ.get("openstack.request_id", "-")
        unexpected = functools.partial(
            exception.Unexpected,
            f"{exception.Unexpected.message} ({request_id})",
        )
        error: exception.Error
        try:
            status, headers, body = pipeline.answer_of(
                self._application, environ
            )
        except exception.Error as known:
            error = known
        except Exception:
            LOG.exception("Unexpected error in request %s", request_id)
            error = unexpected()
        else:
            number = int(status[:3])
            if number < 400 or environ.get(ANSWERED):
                start_response(status, headers)
                return body
            if hasattr(body, "close"):
                body.close()
            error = _ERRORS.get(number, unexpected)()
            error.headers = [(k, v) for k, v in headers if k.lower() in _KEPT]
        number, headers, content = exception.answer(error)
        start_response(f"{number} {HTTPStatus(number).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]
