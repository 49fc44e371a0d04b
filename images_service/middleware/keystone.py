# SPDX-License-Identifier: Apache-2.0
"""Identifies callers by tokens that Keystone has validated.

keystonemiddleware needs much memory, so only a pipeline with these filters
imports this module.
"""

from collections.abc import Callable
from collections.abc import Mapping
import threading
from typing import Any
from typing import TypeVar
from wsgiref import types as wsgi

from keystoneauth1 import access
from keystoneauth1 import exceptions as keystone_errors
from keystonemiddleware import auth_token
from oslo_log import log
import webob.exc

from images_service import context
from images_service import exception
from images_service import guard
from images_service.middleware import auth
from images_service.middleware import pipeline

LOG = log.getLogger(__name__)

T = TypeVar("T")

# The library's defaults let a request wait too long, or without limit.
_DEFAULTS = {
    "http_connect_timeout": 5,
    "http_request_max_retries": 1,
    "memcache_pool_socket_timeout": 1,
}
# Seconds after the start of a request at which its questions to Keystone end.
_DEADLINE = 5.0
# Attributes of a context that auth_token passes on in headers.
_IDENTITY = (
    *("domain_id", "domain_name"),
    *(
        f"{who}_{what}"
        for who in ("user", "project", "service_user", "service_project")
        for what in ("id", "name", "domain_id", "domain_name")
    ),
)


def authtoken(global_conf: Mapping[str, Any], **local: str) -> pipeline.Filter:
    """Let only requests pass whose tokens Keystone validates."""
    conf = global_conf[pipeline.CONF]
    for group, options in auth_token.list_opts():
        conf.register_opts(options, group)
        for name, value in _DEFAULTS.items():
            conf.set_default(name, value, group)
    return lambda app: _AuthToken(app, {"oslo_config_config": conf, **local})


def keystone_context(
    _global_conf: Mapping[str, Any], **_local: str
) -> pipeline.Filter:
    """Take the caller from what the filter ``authtoken`` has validated."""
    return lambda app: auth.Identity(app, _identify, "Keystone")


def _identify(
    environ: wsgi.WSGIEnvironment, caller: context.RequestContext
) -> bool:
    # auth_token removes such headers of a client and sets them itself.
    if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
        return False
    for name in _IDENTITY:
        setattr(caller, name, environ.get(f"HTTP_X_{name.upper()}"))
    caller.system_scope = environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE")
    is_admin_project = environ.get("HTTP_X_IS_ADMIN_PROJECT", "true")
    caller.is_admin_project = is_admin_project.lower() == "true"
    caller.roles = auth.words(environ.get("HTTP_X_ROLES", ""))
    caller.service_roles = auth.words(environ.get("HTTP_X_SERVICE_ROLES", ""))
    caller.service_catalog = environ.get("HTTP_X_SERVICE_CATALOG")
    return True


class _AuthToken(auth_token.AuthProtocol):  # type: ignore[misc]
    """keystonemiddleware's filter, with deadlines, and 503 for each failure.

    Until it calls the application it does nothing but ask Keystone.  So an
    unexpected error is that of an answer which it cannot use.
    """

    def process_request(self, request: webob.Request) -> Any:
        """Validate the request's tokens.

        :raises IdentityUnavailable: Keystone gives no usable answer.
        """
        began = context.of_request(request.environ).began
        self._identity_server.request.deadline = began + _DEADLINE
        try:
            return super().process_request(request)
        except (webob.exc.HTTPException, exception.IdentityUnavailable):
            raise
        except keystone_errors.ClientException as error:
            LOG.error("Keystone can't be asked: %s", error)
            raise exception.IdentityUnavailable from error
        except Exception as error:
            LOG.error("Keystone's answer can't be used: %r", error)
            # The service's own token may come from such an answer.
            self._identity_server.invalidate()
            raise exception.IdentityUnavailable from error

    def _create_identity_server(self) -> "_IdentityServer":
        return _IdentityServer(super()._create_identity_server())


class _IdentityServer:
    """keystonemiddleware's client, guarded.

    :ivar request: deadline of the request that this thread serves.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._guard = guard.Guard()
        self.request = threading.local()
        self.invalidate = server.invalidate

    def verify_token(self, token: str, **kwargs: Any) -> Any:
        """Return Keystone's data of a token."""

        def verify() -> Any:
            found = self._server.verify_token(token, **kwargs)
            # Errors in it must be found before it is cached.
            known = access.create(body=found, auth_token=token)
            known.will_expire_soon(0)
            _ = known.user_id, known.project_id, known.role_names
            return found

        return self._ask(verify)

    @property
    def www_authenticate_uri(self) -> Any:
        """The address in a 401, where none is configured."""
        return self._ask(lambda: self._server.www_authenticate_uri)

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return self._guard.call(question, self.request.deadline)
        except TimeoutError as error:
            LOG.error("Keystone: %s", error)
            raise exception.IdentityUnavailable from error
