# SPDX-License-Identifier: Apache-2.0
"""The application, put together: the only room that knows all others."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log
from paste.deploy import loadwsgi

from images_service import config
from images_service import context
from images_service.api import dispatch
from images_service.middleware.health import Healthcheck
from images_service.middleware.standard import CONF
from images_service.middleware.standard import POLICY
from images_service.middleware.standard import STORE
from images_service.policy import enforcer
from images_service.store import base
from images_service.store.sql import engine
from images_service.store.sql.store import SqlStore

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment


def create(
    conf: cfg.ConfigOpts | None = None, store: base.ImageStore | None = None
) -> "WSGIApplication":
    """Return the service as a WSGI application.

    It connects to nothing before the first request.

    :param conf: the configuration; where None, it is read from the usual
        files, and logging is set up as it says.
    :param store: where images live; where None, ``[database]`` says it.
    :raises oslo_config.cfg.Error: the configuration is wrong.
    """
    if conf is None:
        conf = config.load()
        log.setup(conf, config.PROJECT)
    name = conf.api.paste_config
    path = config.find_file(conf, name)
    if path is None:
        raise cfg.ConfigFilesNotFoundError([name])
    application: WSGIApplication = loadwsgi.ConfigLoader(path).get_app(
        "main",
        {
            CONF: conf,
            STORE: store or SqlStore(engine.Database(conf)),
            POLICY: enforcer.Policy(conf),
        },
    )
    return application


def app_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> dispatch.Application:
    """Return the API without filters, for PasteDeploy."""
    return dispatch.Application(
        global_conf[CONF], global_conf[STORE], global_conf[POLICY]
    )


def root_factory(
    loader: Any, global_conf: Mapping[str, Any], **pipelines: str
) -> "Root":
    """Return the root of the endpoint, for PasteDeploy.

    :param pipelines: for each ``auth_strategy`` the filters that identify a
        caller, and the application behind them.
    """
    strategy = global_conf[CONF].api.auth_strategy
    if strategy not in pipelines:
        raise cfg.ConfigFileValueError(
            f"The pipeline has no auth_strategy {strategy}"
        )
    *filters, name = pipelines[strategy].split()
    public = loader.get_app(name, global_conf=global_conf)
    application = public
    for filter_name in reversed(filters):
        wrap = loader.get_filter(filter_name, global_conf=global_conf)
        application = wrap(application)
    health = Healthcheck(
        global_conf[CONF], global_conf[POLICY], global_conf[STORE]
    )
    return Root(public, application, health)


class Root:
    """Sends a request through authentication if its path wants a token.

    Version documents, ``/healthcheck`` and what lies under no version don't.

    :param public: the API without authentication.
    :param application: the API behind it.
    :param health: answers ``/healthcheck``.
    """

    def __init__(
        self,
        public: "WSGIApplication",
        application: "WSGIApplication",
        health: "WSGIApplication",
    ) -> None:
        self._public = public
        self._application = application
        self._health = health

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request."""
        path: str = environ.get("PATH_INFO", "")
        if path == "/healthcheck":
            # What it says of a node that is unwell is no fault of a request.
            environ[context.ANSWERED] = True
            return self._health(environ, start_response)
        version, _, rest = path.strip("/").partition("/")
        if version not in ("v2", "v2.1") or _is_document(rest, path):
            return self._public(environ, start_response)
        return self._application(environ, start_response)


def _is_document(rest: str, path: str) -> bool:
    """Tell whether a path under a version is that version's document.

    :param rest: the path below the version, without slashes at its ends.
    """
    rest = rest.strip("/")
    project_only = "/" not in rest and path.endswith("/") and rest != "images"
    return not rest or project_only
