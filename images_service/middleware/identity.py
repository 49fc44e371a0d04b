# SPDX-License-Identifier: Apache-2.0
"""Who asks: one filter for each way to find out.

Each leaves a RequestContext made only of what it has validated itself.  What
a client says of itself in headers counts nowhere.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from http import HTTPStatus
import json
from typing import Any
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log
from oslo_middleware import basic_auth

from images_service import config
from images_service import errors
from images_service.context import ENVIRON_KEY
from images_service.context import RequestContext
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
    users = _Users(global_conf[CONF])
    challenge = 'Basic realm="images_service"'
    return lambda app: Identity(app, users.identify, challenge)


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


class _Users:
    """The htpasswd file and the map, looked for beside the configuration.

    :raises oslo_config.cfg.ConfigFilesNotFoundError: one is missing.
    :raises oslo_config.cfg.ConfigFileValueError: the map is no such map.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._passwords = _found(
            conf, conf.oslo_middleware.http_basic_auth_user_file
        )
        basic_auth.validate_auth_file(self._passwords)
        path = _found(conf, conf.http_basic.user_map)
        with open(path, encoding="utf-8") as file:
            try:
                self._users = _checked(json.load(file))
            except ValueError as error:
                raise cfg.ConfigFileValueError(f"{path}: {error}") from error

    def identify(self, environ: "WSGIEnvironment") -> RequestContext | None:
        """Return the caller, None where user or password is wrong."""
        try:
            credentials = basic_auth.parse_header(environ)
            name, password = basic_auth.parse_token(credentials)
            basic_auth.authenticate(self._passwords, name, password)
            user = self._users[name]
        except Exception as error:
            # Whatever a client sends for a password, it isn't one.  The text
            # of the error may hold parts of it.
            LOG.info("HTTP basic authentication failed: %s", type(error))
            return None
        return RequestContext.of_environ(
            environ,
            user_id=name,
            user_name=name,
            project_id=user["project_id"],
            roles=user["roles"],
        )


def _found(conf: cfg.ConfigOpts, name: str) -> str:
    path = config.find_file(conf, name)
    if path is None:
        raise cfg.ConfigFilesNotFoundError([name])
    return path


def _checked(users: Any) -> dict[str, dict[str, Any]]:
    """Return the map of users, or say what is wrong with it.

    :raises ValueError: it isn't a map of users.
    """
    if not isinstance(users, dict):
        raise ValueError("not a JSON object of users")
    for name, user in users.items():
        if (
            not isinstance(user, dict)
            or not isinstance(user.get("project_id"), str)
            or not isinstance(user.get("roles"), list)
            or not all(isinstance(role, str) for role in user["roles"])
        ):
            raise ValueError(
                f"user {name!r} needs a project_id and a list of roles"
            )
    return users
