# SPDX-License-Identifier: Apache-2.0
"""Every error leaves as a JSON fault, whoever raised it."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from typing import TYPE_CHECKING

from oslo_log import log

from images_service import errors
from images_service.context import ANSWERED

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

LOG = log.getLogger(__name__)

# Errors of the filters, by their status.
_ERRORS: Mapping[int, Callable[[], errors.Error]] = {
    400: lambda: errors.Invalid("The request can't be understood."),
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    413: errors.BodyTooLarge,
    503: errors.StoreUnavailable,
}
# Headers of such an error that say more than its status.
_KEPT = frozenset({"www-authenticate", "retry-after", "allow", "vary"})


class Faults:
    """Turns exceptions and the filters' error pages into compute faults.

    What nobody thought of is logged with its traceback, and answered with a
    fixed text and the request's id: never with what the exception says.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on and see that its errors are faults."""
        head: list[Any] = []

        def keep(status: str, headers: Any, exc_info: Any = None) -> Any:
            head[:] = [status, headers]
            return _no_write

        try:
            body = self._application(environ, keep)
        except errors.Error as known:
            return _send(known, [], environ, start_response)
        except Exception:
            LOG.exception(
                "Unexpected error in request %s",
                environ.get("openstack.request_id"),
            )
            return _send(_unexpected(environ), [], environ, start_response)
        status, headers = head
        number = int(status.partition(" ")[0])
        if number < 400 or environ.get(ANSWERED):
            start_response(status, headers)
            return body
        if hasattr(body, "close"):
            body.close()
        kept = [(k, v) for k, v in headers if k.lower() in _KEPT]
        error = _ERRORS.get(number, lambda: _unexpected(environ))()
        return _send(error, kept, environ, start_response)


def _no_write(_data: bytes) -> object:
    raise NotImplementedError("write() is not supported")


def _unexpected(environ: "WSGIEnvironment") -> errors.Error:
    request_id = environ.get("openstack.request_id", "-")
    return errors.Unexpected(f"{errors.Unexpected.message} ({request_id})")


def _send(
    error: errors.Error,
    headers: list[tuple[str, str]],
    environ: "WSGIEnvironment",
    start_response: "StartResponse",
) -> list[bytes]:
    status = errors.status_of(error)
    body = errors.body_of(error)
    if status == 503 and not any(
        k.lower() == "retry-after" for k, _ in headers
    ):
        headers = [*headers, ("Retry-After", errors.RETRY_AFTER)]
    start_response(
        f"{status} {HTTPStatus(status).phrase}",
        [
            *headers,
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def filter_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> Callable[["WSGIApplication"], Faults]:
    """Return the filter, for PasteDeploy."""
    return Faults
