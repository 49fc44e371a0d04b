# SPDX-License-Identifier: Apache-2.0
"""Identifies the caller of a request, and answers 401 if there is none.

Each strategy writes only values that it has validated into the request's
context. Identity headers that a client sends have no effect.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from wsgiref import types as wsgi

from oslo_log import log

from images_service import context
from images_service import exception
from images_service.middleware import pipeline

LOG = log.getLogger(__name__)

# Writes the caller into the context; returns False if there is no caller.
Identify = Callable[[wsgi.WSGIEnvironment, context.RequestContext], bool]


class Identity:
    """Passes only requests whose caller a function identifies.

    :param challenge: value of ``WWW-Authenticate`` for other requests.
    """

    def __init__(
        self,
        application: wsgi.WSGIApplication,
        identify: Identify,
        challenge: str,
    ) -> None:
        self._application = application
        self._identify = identify
        self._challenge = challenge

    def __call__(
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Let the request pass with its caller's context.

        :raises Unauthorized: the caller is not identified.
        """
        caller = context.of_request(environ)
        if not self._identify(environ, caller):
            challenge = ("WWW-Authenticate", self._challenge)
            raise exception.Unauthorized(headers=[challenge])
        environ[context.ENVIRON_KEY] = caller
        return self._application(environ, start_response)


def noauth2(_global_conf: Mapping[str, Any], **_local: str) -> pipeline.Filter:
    """Trust the token: ``user_id:project_id[:role,role…]``."""
    LOG.warning(
        "auth_strategy is noauth2: every caller is whom it says it is. "
        "Use it for development only."
    )
    return lambda app: Identity(app, _from_token, "noauth2")


def _from_token(
    environ: wsgi.WSGIEnvironment, caller: context.RequestContext
) -> bool:
    token = environ.get("HTTP_X_AUTH_TOKEN", "")
    user_id, colon, rest = token.partition(":")
    if not colon or not token.isascii():
        return False
    project_id, _, roles = rest.partition(":")
    known = "admin,member,reader" if user_id == "admin" else "member,reader"
    caller.user_id = user_id
    caller.project_id = project_id or None
    caller.roles = words(roles or known)
    return True


def words(text: str) -> list[str]:
    """Return the words of a comma-separated list."""
    return [word.strip() for word in text.split(",")] if text else []
