# SPDX-License-Identifier: Apache-2.0
"""Tokens that Keystone has validated.

A module of its own, since what it needs is large and is imported only where
the pipeline has this filter.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import TYPE_CHECKING

from keystoneauth1 import exceptions as keystone_errors
from keystonemiddleware import auth_token
from oslo_log import log

from images_service import errors
from images_service.middleware.standard import CONF
from images_service.middleware.standard import Filter

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

LOG = log.getLogger(__name__)


def filter_factory(global_conf: Mapping[str, Any], **local: str) -> Filter:
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
