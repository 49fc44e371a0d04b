# SPDX-License-Identifier: Apache-2.0
"""Identifies callers by tokens that Keystone has validated.

keystonemiddleware needs much memory, so only a pipeline with these filters
imports this module.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import datetime
import hashlib
import importlib
import math
import os
import sys
import threading
import time
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
from images_service import sessions
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
# Maximum seconds that a request waits for memcached in all.
_CACHE_TIME = 1.0
# Minimum seconds between two log lines about memcached.
_LOG_INTERVAL = 60.0
# Attributes of a context, and the headers in which auth_token passes them on.
_IDENTITY = tuple(
    (name, f"HTTP_X_{name.upper()}")
    for name in (
        *("domain_id", "domain_name"),
        *(
            f"{who}_{what}"
            for who in ("user", "project", "service_user", "service_project")
            for what in ("id", "name", "domain_id", "domain_name")
        ),
    )
)


def authtoken(global_conf: Mapping[str, Any], **local: str) -> pipeline.Filter:
    """Pass only requests whose tokens Keystone validates."""
    conf = global_conf[pipeline.CONF]
    for group, options in auth_token.list_opts():
        conf.register_opts(options, group)
        for name, value in _DEFAULTS.items():
            conf.set_default(name, value, group)
    if conf.keystone_authtoken.memcached_servers:
        with contextlib.suppress(ImportError), _eventlet_hidden():
            importlib.import_module("oslo_cache._memcache_pool")
    return lambda app: _AuthToken(app, {"oslo_config_config": conf, **local})


@contextlib.contextmanager
def _eventlet_hidden() -> Iterator[None]:
    """Prevent the import of eventlet, unless it is imported already.

    oslo.cache imports eventlet if oslo.messaging has installed it. It takes
    eight MB of a worker. And a thread that imports it prevents the process
    from ending: eventlet's copy of the module threading takes the lock for
    which other threads wait until this thread has ended.
    """
    modules: dict[str, Any] = sys.modules
    hidden = "eventlet" not in modules
    if hidden:
        modules["eventlet"] = None
    try:
        yield
    finally:
        if hidden:
            del modules["eventlet"]


def keystone_context(
    _global_conf: Mapping[str, Any], **_local: str
) -> pipeline.Filter:
    """Read the caller from the headers that the filter ``authtoken`` sets."""
    return lambda app: auth.Identity(app, _identify, "Keystone")


def _identify(
    environ: wsgi.WSGIEnvironment, caller: context.RequestContext
) -> bool:
    # auth_token removes a client's own headers of these names and sets them.
    if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
        return False
    for name, header in _IDENTITY:
        setattr(caller, name, environ.get(header))
    caller.system_scope = environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE")
    is_admin_project = environ.get("HTTP_X_IS_ADMIN_PROJECT", "true")
    caller.is_admin_project = is_admin_project.lower() == "true"
    caller.roles = auth.words(environ.get("HTTP_X_ROLES", ""))
    caller.service_roles = auth.words(environ.get("HTTP_X_SERVICE_ROLES", ""))
    caller.service_catalog = environ.get("HTTP_X_SERVICE_CATALOG")
    return True


# All headers that auth_token sets, by their names in a WSGI environment.
HEADERS = (
    *(header for _, header in _IDENTITY),
    *("HTTP_X_SERVICE_DOMAIN_ID", "HTTP_X_SERVICE_DOMAIN_NAME"),
    *("HTTP_X_IDENTITY_STATUS", "HTTP_X_SERVICE_IDENTITY_STATUS"),
    *("HTTP_X_ROLES", "HTTP_X_SERVICE_ROLES", "HTTP_X_SERVICE_CATALOG"),
    *("HTTP_X_IS_ADMIN_PROJECT", "HTTP_OPENSTACK_SYSTEM_SCOPE"),
    # Older names of some headers.
    *("HTTP_X_ROLE", "HTTP_X_USER", "HTTP_X_TENANT"),
    *("HTTP_X_TENANT_ID", "HTTP_X_TENANT_NAME"),
)


class Identities:
    """A short-lived cache of the headers that auth_token sets for tokens.

    Without it, a third of a request's time is for a recently validated token:
    auth_token asks memcached, and reads and writes the catalog again.

    :param seconds: time for which headers are kept; 0 disables the cache.
    :param most: maximum number of entries.
    """

    def __init__(self, seconds: float, most: int = 256) -> None:
        self._seconds = seconds
        self._most = most
        # Key of the digests that stand for tokens in memory.
        self._secret = os.urandom(32)
        self._known: dict[bytes, tuple[float, dict[str, str]]] = {}
        self._lock = threading.Lock()

    def key(self, environ: wsgi.WSGIEnvironment) -> bytes | None:
        """Return a digest of a request's tokens, None if it isn't cached."""
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if not self._seconds or not token:
            return None
        service = environ.get("HTTP_X_SERVICE_TOKEN", "")
        text = f"{token}\0{service}".encode("latin-1", "replace")
        return hashlib.blake2b(text, key=self._secret).digest()

    def get(self, key: bytes) -> dict[str, str] | None:
        """Return the headers, None if they are not in the cache."""
        end, headers = self._known.get(key, (0.0, None))
        return headers if time.monotonic() < end else None

    def add(self, key: bytes, headers: dict[str, str], left: float) -> None:
        """Keep headers.

        :param left: seconds for which the tokens are valid.
        """
        end = time.monotonic() + min(self._seconds, left)
        with self._lock:
            self._known.pop(key, None)
            if len(self._known) >= self._most:
                # Drop the oldest entry.
                del self._known[next(iter(self._known))]
            self._known[key] = end, headers


class _AuthToken(auth_token.AuthProtocol):  # type: ignore[misc]
    """keystonemiddleware's filter, with deadlines, and 503 for each failure.

    Before it calls the application, it only asks Keystone. So an unexpected
    error means that it cannot use Keystone's answer.
    """

    def __init__(
        self, app: wsgi.WSGIApplication, conf: dict[str, Any]
    ) -> None:
        seconds = conf["oslo_config_config"].api.identity_cache_time
        self._identities = Identities(seconds)
        super().__init__(app, conf)

    def __call__(
        self, environ: wsgi.WSGIEnvironment, start_response: wsgi.StartResponse
    ) -> Iterable[bytes]:
        """Pass a request on if its token is valid, or is in the cache."""
        key = self._identities.key(environ)
        known = None if key is None else self._identities.get(key)
        if known is None:
            answer: Iterable[bytes] = super().__call__(environ, start_response)
            return answer
        for name in HEADERS:
            # The client may have sent this header.
            environ.pop(name, None)
        environ.update(known)
        return self._app(environ, start_response)  # type: ignore[no-any-return]

    def process_request(self, request: webob.Request) -> Any:
        """Validate the request's tokens.

        :raises IdentityUnavailable: Keystone gives no usable answer.
        """
        response = self._validate(request)
        if response is None:
            self._remember(request)
        return response

    def _remember(self, request: webob.Request) -> None:
        """Cache the headers, unless they depend on the request."""
        environ = request.environ
        key = self._identities.key(environ)
        tokens = environ.get("keystone.token_auth")
        document = environ.get("keystone.token_info", {}).get("token", {})
        if (
            key is None
            or tokens is None
            or environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed"
            # Access rules limit the requests, and a bind the connections.
            or "access_rules" in document.get("application_credential", {})
            or "bind" in document
        ):
            return
        now = datetime.datetime.now(datetime.UTC)
        expires = [
            token.expires
            for token in (tokens.user, tokens.service)
            if token is not None
        ]
        left = (min(expires) - now).total_seconds()
        headers = {name: environ[name] for name in HEADERS if name in environ}
        self._identities.add(key, headers, left)

    def _validate(self, request: webob.Request) -> Any:
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

    def _create_session(self, **kwargs: Any) -> Any:
        session = super()._create_session(**kwargs)
        sessions.limit(session)
        return session

    def _create_identity_server(self) -> "_IdentityServer":
        return _IdentityServer(super()._create_identity_server())

    def _token_cache_factory(self) -> Any:
        cache = super()._token_cache_factory()
        # Without these servers the cache is a dictionary.
        is_remote = self._conf.get("memcached_servers")
        return _TokenCache(cache) if is_remote else cache


class _IdentityServer:
    """keystonemiddleware's client, with deadlines.

    :ivar request: deadline of the request that this thread serves.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._guard = guard.Guard(needed_by_all=True)
        self.request = threading.local()
        self.invalidate = server.invalidate

    def verify_token(self, token: str, **kwargs: Any) -> Any:
        """Return Keystone's data of a token."""

        def verify() -> Any:
            found = self._server.verify_token(token, **kwargs)
            # Find errors in the answer before it is cached.
            known = access.create(body=found, auth_token=token)
            known.will_expire_soon(0)
            _ = known.user_id, known.project_id, known.role_names
            return found

        return self._ask(verify)

    @property
    def www_authenticate_uri(self) -> Any:
        """The address in a 401, if none is configured."""
        return self._ask(lambda: self._server.www_authenticate_uri)

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return self._guard.call(question, self.request.deadline)
        except TimeoutError as error:
            LOG.error("Keystone: %s", error)
            raise exception.IdentityUnavailable from error


class _TokenCache:
    """keystonemiddleware's cache in memcached, with a time limit.

    The time-outs of the memcached clients are for each server, and for each
    part of an answer. If the cache gives no answer, Keystone is asked.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self._guard = guard.Guard()
        # Seconds that the request of this thread may still wait.
        self._request = threading.local()
        self._next_log = -math.inf

    def initialize(self, environ: wsgi.WSGIEnvironment) -> None:
        """Begin a request."""
        self._request.left = _CACHE_TIME
        self._cache.initialize(environ)

    def get(self, token: str) -> Any:
        """Return Keystone's data of a token, None if there is no answer."""
        return self._ask(lambda: self._cache.get(token))

    def set(self, token: str, data: Any) -> None:
        """Keep Keystone's data of a token, if that is possible in time."""
        self._ask(lambda: self._cache.set(token, data))

    def _ask(self, question: Callable[[], T]) -> T | None:
        started = time.monotonic()
        if self._request.left <= 0:
            return None
        try:
            return self._guard.call(question, started + self._request.left)
        except Exception as error:
            if started >= self._next_log:
                self._next_log = started + _LOG_INTERVAL
                LOG.error("memcached: %s", error)
            return None
        finally:
            self._request.left -= time.monotonic() - started
