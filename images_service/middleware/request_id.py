# SPDX-License-Identifier: Apache-2.0
"""Each request has an id, which its answer tells.

oslo.middleware's filter does the same by way of WebOb's objects for request
and response, at six times the cost.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import re
from typing import Any
from typing import TYPE_CHECKING

from oslo_context import context

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

_FORMAT = re.compile("req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
# Legacy clients look for the one that Nova sends.
_HEADERS = ("x-openstack-request-id", "x-compute-request-id")


class RequestId:
    """Makes an id, and keeps a caller's own as the global one."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on and tell its id."""
        given = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        if _FORMAT.fullmatch(given):
            environ["openstack.global_request_id"] = given
        request_id = context.generate_request_id()
        environ["openstack.request_id"] = request_id
        own = [(name, request_id) for name in _HEADERS]

        def start(status: str, headers: Any, *args: Any) -> Any:
            return start_response(status, [*headers, *own], *args)

        return self._application(environ, start)


def filter_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> Callable[["WSGIApplication"], RequestId]:
    """Return the filter, for PasteDeploy."""
    return RequestId
