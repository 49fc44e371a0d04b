# SPDX-License-Identifier: Apache-2.0
"""Filters of the OpenStack libraries, with our configuration handed in.

Their own factories would read the process-wide configuration, which this
service doesn't have.  A filter that the configuration switches off is not put
into the pipeline at all.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TYPE_CHECKING

import oslo_middleware

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

# Under which global_conf of the pipeline holds the ConfigOpts, and what else
# the filters and the application are made of.
CONF = "conf"
STORE = "store"
POLICY = "policy"

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
