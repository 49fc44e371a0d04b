# SPDX-License-Identifier: Apache-2.0
"""Who asks: one filter for each way to find out.

Each leaves a RequestContext made only of what it has validated itself.  What
a client says of itself in headers counts nowhere.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import functools
from http import HTTPStatus
from typing import Any
from typing import TYPE_CHECKING

from oslo_log import log
from oslo_middleware import basic_auth
import webob.exc

from images_service import errors
from images_service.context import ENVIRON_KEY
from images_service.context import RequestContext
from images_service.middleware import users
from images_service.middleware.standard import CONF

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

LOG = log.getLogger(__name__)

Identify = Callable[["WSGIEnvironment"], RequestContext | None]


class Identity:
    """Asks a function who the caller is; answers 401 where it doesn't know.

    :param challenge: value of ``WWW-Authenticate``.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        identify: Identify,
        challenge: str,
    ) -> None:
        self._application = application
        self._identify = identify
        self._challenge = challenge

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Let the request pass with its caller's context."""
        caller = self._identify(environ)
        if caller is None:
            # The faults filter gives it its body.
            status = errors.status_of(errors.Unauthorized())
            start_response(
                f"{status} {HTTPStatus(status).phrase}",
                [("WWW-Authenticate", self._challenge)],
            )
            return []
        environ[ENVIRON_KEY] = caller
        return self._application(environ, start_response)


def context(
    global_conf: Mapping[str, Any], **_local: str
) -> Callable[["WSGIApplication"], Identity]:
    """Take the caller from what auth_token has validated."""
    return lambda app: Identity(app, _from_auth_token, "Keystone")


def noauth2(
    global_conf: Mapping[str, Any], **_local: str
) -> Callable[["WSGIApplication"], Identity]:
    """Believe the token: ``user_id:project_id[:role,role…]``."""
    LOG.warning(
        "auth_strategy is noauth2: every caller is whom it says it is. "
        "Use it for development only."
    )
    return lambda app: Identity(app, _from_token, "noauth2")


def http_basic(
    global_conf: Mapping[str, Any], **_local: str
) -> Callable[["WSGIApplication"], Identity]:
    """Look users up in an htpasswd file, and their projects in a map."""
    known = users.Users(global_conf[CONF])
    identify = functools.partial(_from_password, known)
    challenge = 'Basic realm="images_service"'
    return lambda app: Identity(app, identify, challenge)


def _from_auth_token(environ: "WSGIEnvironment") -> RequestContext | None:
    # auth_token removes such headers of a client and sets them itself.
    if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
        return None
    caller: RequestContext = RequestContext.from_environ(
        environ,
        request_id=environ.get("openstack.request_id"),
        global_request_id=environ.get("openstack.global_request_id"),
        service_catalog=environ.get("HTTP_X_SERVICE_CATALOG"),
    )
    return caller


def _from_token(environ: "WSGIEnvironment") -> RequestContext | None:
    token = environ.get("HTTP_X_AUTH_TOKEN", "")
    user_id, colon, rest = token.partition(":")
    if not colon or not token.isascii():
        return None
    project_id, _, roles = rest.partition(":")
    known = "admin,member,reader" if user_id == "admin" else "member,reader"
    return RequestContext.of_environ(
        environ,
        user_id=user_id,
        project_id=project_id or None,
        roles=[role.strip() for role in (roles or known).split(",")],
    )


def _from_password(
    known: users.Users, environ: "WSGIEnvironment"
) -> RequestContext | None:
    try:
        credentials = basic_auth.parse_header(environ)
        name, password = basic_auth.parse_token(credentials)
    except webob.exc.HTTPException:
        # Its text may hold parts of a password.
        return None
    grant = known.grant(name, password)
    if grant is None:
        return None
    return RequestContext.of_environ(
        environ,
        user_id=name,
        user_name=name,
        project_id=grant.project_id,
        roles=grant.roles,
    )
