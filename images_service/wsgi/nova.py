# SPDX-License-Identifier: Apache-2.0
"""Filters that answer for the API's actions inside Nova's own processes.

PasteDeploy creates them from Nova's ``api-paste.ini``. All other requests pass
to Nova unchanged. The filters use Nova's logging.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from wsgiref import types as wsgi

from nova.api.openstack import api_version_request
from oslo_config import cfg
from oslo_context import context

from images_service import app
from images_service import config
from images_service.api import router
from images_service.middleware import pipeline


def front_factory(
    _global_conf: Mapping[str, Any], **local: str
) -> pipeline.Filter:
    """Return a filter around the whole of Nova's API.

    It is for ``filter-with`` in ``[composite:osapi_compute]``.  An action runs
    through this service's own pipeline.

    :param local: ``config_file`` names the configuration of this service;
        if it is missing, the file is looked for in the usual folders.
    :raises oslo_config.cfg.Error: as ``app.create``.
    """
    service = app.create(_configuration(**local))
    paths = router.Router(router.NOVA_PROJECT)

    def wrap(nova: wsgi.WSGIApplication) -> wsgi.WSGIApplication:
        def front(
            environ: wsgi.WSGIEnvironment, start_response: wsgi.StartResponse
        ) -> Iterable[bytes]:
            if not paths.is_action(environ.get("PATH_INFO", "")):
                return nova(environ, start_response)
            previous = context.get_current()
            try:
                return service(environ, start_response)
            finally:
                # Nova logs some lines without a context: they must carry the
                # context of the thread's last request to Nova.
                if previous is not None:
                    previous.update_store()

        return front

    return wrap


def behind_factory(
    _global_conf: Mapping[str, Any], **local: str
) -> pipeline.Filter:
    """Return a filter that follows ``authtoken`` in Nova's pipelines.

    It trusts the headers that Nova's ``authtoken`` sets. Before ``authtoken``,
    the headers would come from the client.

    :param local: as for ``front_factory``.
    :raises oslo_config.cfg.Error: as ``app.create``.
    """
    service = app.create(_configuration(**local), name="behind")
    paths = router.Router(router.NOVA_PROJECT)

    def wrap(nova: wsgi.WSGIApplication) -> wsgi.WSGIApplication:
        def behind(
            environ: wsgi.WSGIEnvironment, start_response: wsgi.StartResponse
        ) -> Iterable[bytes]:
            # Nova's urlmap has moved the version into SCRIPT_NAME.
            prefix, _, version = environ.get("SCRIPT_NAME", "").rpartition("/")
            path = f"/{version}{environ.get('PATH_INFO', '')}"
            if not paths.is_action(path):
                return nova(environ, start_response)
            moved = {**environ, "SCRIPT_NAME": prefix, "PATH_INFO": path}
            return service(moved, start_response)

        return behind

    return wrap


def _configuration(config_file: str | None = None) -> cfg.ConfigOpts:
    """Read the configuration, with defaults that suit Nova's process."""
    paths = [config_file] if config_file else None
    conf = config.load(config.file_arguments(paths))
    # If both services share a folder, its api-paste.ini belongs to Nova.
    shipped = config.find_shipped_file(conf.api.paste_config)
    conf.set_default("paste_config", shipped, "api")
    # Clients see one service, which has one highest microversion.
    highest = api_version_request.max_api_version().get_string()
    conf.set_default("max_microversion", highest, "api")
    return conf
