# SPDX-License-Identifier: Apache-2.0
"""Filters of the OpenStack libraries, with our configuration handed in.

Their own factories would read the process-wide configuration, which this
service doesn't have.  A filter that the configuration switches off is not put
into the pipeline at all.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import TYPE_CHECKING

from keystoneauth1 import exceptions as keystone_errors
from keystonemiddleware import auth_token
from oslo_log import log
import oslo_middleware

from images_service import errors

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

LOG = log.getLogger(__name__)

# Under which global_conf of the pipeline holds the ConfigOpts.
CONF = "conf"

Filter = Callable[["WSGIApplication"], "WSGIApplication"]


def http_proxy_to_wsgi(
    global_conf: Mapping[str, Any], **_local: str
) -> Filter:
    """Make links and logs show what a proxy says of the client."""
    conf = global_conf[CONF]
    if not conf.oslo_middleware.enable_proxy_headers_parsing:
        return lambda app: app
    return lambda app: oslo_middleware.HTTPProxyToWSGI(app, conf)


def cors(global_conf: Mapping[str, Any], **_local: str) -> Filter:
    """Let browsers' scripts from other origins in, as ``[cors]`` says."""
    conf = global_conf[CONF]
    if not conf.cors.allowed_origin:
        return lambda app: app
    return lambda app: oslo_middleware.CORS(app, conf)


def authtoken(global_conf: Mapping[str, Any], **local: str) -> Filter:
    """Let only requests with a token pass that Keystone says is good."""
    wrap = auth_token.filter_factory(
        {"oslo_config_config": global_conf[CONF]}, **local
    )
    return lambda app: _AuthToken(wrap(app))


class _AuthToken:
    """auth_token, whose failures to ask Keystone are what they are.

    It answers some of them itself; others, such as a catalog that lacks the
    endpoint that it looks for, it lets pass.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        try:
            return self._application(environ, start_response)
        except keystone_errors.ClientException as error:
            LOG.error("Keystone can't be asked: %s", error)
            raise errors.IdentityUnavailable from error
