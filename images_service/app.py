# SPDX-License-Identifier: Apache-2.0
"""Creates the application: the only module that imports all parts."""

from collections.abc import Iterable
from collections.abc import Mapping
import pathlib
from typing import Any
from wsgiref import types as wsgi

from oslo_config import cfg
from paste.deploy import loadwsgi

from images_service import config
from images_service import context
from images_service import startup
from images_service.api import dispatch
from images_service.api import image_metadata
from images_service.api import images
from images_service.api import router
from images_service.api import routes
from images_service.middleware import request_log
from images_service.middleware.healthcheck import Healthcheck
from images_service.middleware.pipeline import CONF
from images_service.middleware.pipeline import POLICY
from images_service.middleware.pipeline import STORE
from images_service.policy import enforcer
from images_service.store import base
from images_service.store.sql.store import SqlStore

_AUDIT = "egg:images_service#audit"


def create(
    conf: cfg.ConfigOpts | None = None,
    store: base.ImageStore | None = None,
    name: str = "main",
    *,
    forks: bool = False,
) -> wsgi.WSGIApplication:
    """Return the service as a WSGI application.

    The service also starts if the database does not answer.

    :param conf: the configuration; None reads the usual files and sets up
        logging. A service that runs this one in its process passes its own.
    :param store: the store of images; None opens ``[database]``.
    :param name: name of the pipeline in ``[api] paste_config``.
    :param forks: whether this process forks workers later.
    :raises oslo_config.cfg.Error: the configuration is wrong, a library that
        it needs is missing, or the database lacks its tables.
    """
    if conf is None:
        conf = config.load()
        request_log.set_up(conf)
    startup.check_options(conf)
    startup.check_token_cache(conf)
    path = config.find_file(conf, conf.api.paste_config)
    if path is None:
        raise cfg.ConfigFilesNotFoundError([conf.api.paste_config])
    policy = enforcer.Policy(conf, routes.list_rules())
    if store is None:
        store = _store(conf, forks=forks)
    loader = loadwsgi.ConfigLoader(path)
    try:
        loader.find_config_section(loadwsgi.APP, name)
    except LookupError as error:
        # The file may belong to another service, beside its configuration.
        raise startup.NotReady(
            f"{path} has no pipeline {name}. Set [api] paste_config to the "
            "api-paste.ini of this service."
        ) from error
    paste = pathlib.Path(path)
    if conf.audit.transport_url and _AUDIT not in paste.read_text("utf-8"):
        raise startup.NotReady(
            f"[audit] transport_url is set, and {path} lacks the filter "
            f"{_AUDIT}. Add it before faults, as in the shipped file."
        )
    application: wsgi.WSGIApplication = loader.get_app(
        name, {CONF: conf, STORE: store, POLICY: policy}
    )
    return application


def _store(conf: cfg.ConfigOpts, *, forks: bool) -> base.ImageStore:
    """Return the store that ``[glance] mode`` selects."""
    if conf.glance.mode == "none":
        return SqlStore(startup.open_database(conf, forks=forks))
    if conf.api.auth_strategy != "keystone":
        raise startup.NotReady(
            "[glance] mode = mirror needs [api] auth_strategy = keystone: "
            "changes go to Glance with the caller's token."
        )
    # Only a mirror needs keystoneauth1.
    from images_service.glance import client
    from images_service.glance import store

    glance = client.Glance(conf)
    database = startup.open_database(conf, forks=forks)
    return store.MirroredStore(conf, database, glance)


# The controllers that the actions of ROUTES name.
CONTROLLERS: Mapping[str, type[dispatch.Controller]] = {
    "images": images.Images,
    "image-metadata": image_metadata.ImageMetadata,
}


def app_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> dispatch.Application:
    """Return the API without filters, for PasteDeploy."""
    return dispatch.Application(
        global_conf[CONF],
        global_conf[STORE],
        global_conf[POLICY],
        CONTROLLERS,
    )


def root_factory(
    loader: Any, global_conf: Mapping[str, Any], **pipelines: str
) -> wsgi.WSGIApplication:
    """Return the root of the endpoint, for PasteDeploy.

    It answers ``/healthcheck``, and sends other requests through
    authentication, except for version documents and paths without a version.

    :param pipelines: for each ``auth_strategy`` the filters that identify a
        caller, and the application behind them.
    """
    conf = global_conf[CONF]
    strategy = conf.api.auth_strategy
    if strategy not in pipelines:
        raise cfg.ConfigFileValueError(
            f"The pipeline has no auth_strategy {strategy}"
        )
    *filters, name = pipelines[strategy].split()
    public = authenticated = loader.get_app(name, global_conf=global_conf)
    for filter_name in reversed(filters):
        wrap = loader.get_filter(filter_name, global_conf=global_conf)
        authenticated = wrap(authenticated)
    health = Healthcheck(conf, global_conf[POLICY], global_conf[STORE])
    paths = router.Router()

    def root(
        environ: wsgi.WSGIEnvironment, start_response: wsgi.StartResponse
    ) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        application = authenticated
        version, _, rest = path.strip("/").partition("/")
        # Only dispatch matches paths of actions, which end without a slash.
        may_be_document = not rest or path.endswith("/")
        if path == "/healthcheck":
            # A 503 of this page describes the node; no filter may rewrite it.
            environ[context.ANSWERED] = True
            application = health
        elif version not in ("v2", "v2.1") or (
            may_be_document and paths.is_document(path)
        ):
            application = public
        answer: Iterable[bytes] = application(environ, start_response)
        return answer

    return root
