# SPDX-License-Identifier: Apache-2.0
"""Common parts of the pipeline's filters, and the filters of libraries.

The libraries' own factories would read the process-wide configuration, which
this service does not have. A filter that the configuration switches off is not
put into the pipeline at all.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from wsgiref import types as wsgi

from oslo_context import context
import oslo_middleware
from oslo_middleware import request_id
import webob

# Keys of the pipeline's global_conf, for the filters and the application.
CONF = "conf"
STORE = "store"
POLICY = "policy"

Filter = Callable[[wsgi.WSGIApplication], wsgi.WSGIApplication]


class Middleware:
    """Base of a filter that needs no configuration."""

    def __init__(self, application: wsgi.WSGIApplication) -> None:
        self._application = application

    @classmethod
    def factory(cls, _global_conf: Mapping[str, Any], **_local: str) -> Any:
        """Return the filter, for PasteDeploy."""
        return cls


def answer_of(
    application: wsgi.WSGIApplication, environ: wsgi.WSGIEnvironment
) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
    """Return status, headers and body of an application's answer."""
    head: list[Any] = []

    def start_response(*args: Any) -> Any:
        head[:] = args

    body = application(environ, start_response)
    return head[0], head[1], body


class RequestId(oslo_middleware.RequestId):
    """Creates an id for each request; an id of the caller is the global id.

    The library's own call also creates WebOb's response. This takes 40
    microseconds, a fifth of the time to show an image.
    """

    # Legacy clients read the header that Nova sends.
    compat_headers = ["x-compute-request-id"]  # noqa: RUF012

    def __call__(  # type: ignore[override]
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Pass the request on with its id, and add the id to the answer."""
        if "HTTP_X_OPENSTACK_REQUEST_ID" in environ:
            self.set_global_req_id(webob.Request(environ))
        found = environ[request_id.ENV_REQUEST_ID] = (
            context.generate_request_id()
        )
        assert self.application is not None
        status, headers, body = answer_of(self.application, environ)
        names = (request_id.HTTP_RESP_HEADER_REQUEST_ID, *self.compat_headers)
        start_response(status, [*headers, *[(name, found) for name in names]])
        return body


class ProxyHeaders(oslo_middleware.HTTPProxyToWSGI):
    """Applies a proxy's headers about the client, for links and logs.

    For each request, the library's own call creates WebOb's response and
    inspects a method.
    """

    def __call__(  # type: ignore[override]
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Pass the request on as the proxy has received it."""
        self.process_request(webob.Request(environ))
        assert self.application is not None
        return self.application(environ, start_response)


def http_proxy_to_wsgi(
    global_conf: Mapping[str, Any], **_local: str
) -> Filter:
    """Apply a proxy's headers, if the configuration says so."""
    conf = global_conf[CONF]
    if not conf.oslo_middleware.enable_proxy_headers_parsing:
        return lambda app: app
    return lambda app: ProxyHeaders(app, conf)


def cors(global_conf: Mapping[str, Any], **_local: str) -> Filter:
    """Allow scripts from other origins, as ``[cors]`` says."""
    conf = global_conf[CONF]
    if not conf.cors.allowed_origin:
        return lambda app: app
    return lambda app: oslo_middleware.CORS(app, conf)
