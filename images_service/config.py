# SPDX-License-Identifier: Apache-2.0
"""Every option of the service.

Options are read through the ``ConfigOpts`` that is handed from room to room;
there is no global one.
"""

from collections.abc import Sequence
import os
import sys

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log
from oslo_middleware import basic_auth
from oslo_middleware import cors
from oslo_middleware import http_proxy_to_wsgi
from oslo_middleware import sizelimit
from oslo_middleware.healthcheck import opts as health_options
from oslo_policy import opts as policy_options

PROJECT = "images_service"

API_OPTS = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "tokens that keystonemiddleware validates"),
            ("http_basic", "users of an htpasswd file and of a user map"),
            ("noauth2", "for development: the token says who one is"),
        ],
        help="How callers are identified. Each value names a pipeline of "
        "api-paste.ini.",
    ),
    cfg.StrOpt(
        "paste_config",
        default="api-paste.ini",
        help="File that describes the WSGI pipeline, looked for beside the "
        "configuration files.",
    ),
    cfg.StrOpt(
        "max_microversion",
        default="2.38",
        regex=r"^2\.[1-9][0-9]*$",
        help="The highest microversion that is announced and accepted. A "
        "service that stands in front of a newer Nova announces Nova's. The "
        "image actions end at 2.35 and the metadata ones at 2.38 in any case.",
    ),
    cfg.IntOpt(
        "max_limit",
        default=1000,
        min=1,
        help="The most images in one answer; a larger limit is cut to this.",
    ),
    cfg.IntOpt(
        "max_page_metadata",
        default=16 * 1024 * 1024,
        min=1,
        help="The most characters of metadata in one answer. A page of images "
        "that would hold more ends before, and its next link goes on there.",
    ),
    cfg.URIOpt(
        "compute_link_prefix",
        schemes=["http", "https"],
        help="What links to this service start with, instead of the host "
        "that a request names.",
    ),
    cfg.URIOpt(
        "glance_link_prefix",
        schemes=["http", "https"],
        help="What alternate links start with. Where unset, the image "
        "endpoint of the token's catalog, else the service's own root.",
    ),
]

HTTP_BASIC_OPTS = [
    cfg.StrOpt(
        "user_map",
        default="http-basic-users.json",
        help="JSON file that maps users of the htpasswd file to a project and "
        'roles: {"USER": {"project_id": "…", "roles": ["member"]}}. Looked '
        "for beside the configuration files.",
    ),
]

QUOTA_OPTS = [
    cfg.IntOpt(
        "metadata_items",
        default=128,
        min=0,
        help="The most metadata items that an image may have after a change.",
    ),
]

METRICS_OPTS = [
    cfg.PortOpt(
        "port",
        help="Where images-service-api tells Prometheus what it counts. "
        "Where unset, nothing is counted.",
    ),
    cfg.StrOpt(
        "host",
        default="127.0.0.1",
        help="The address of that port. Whoever reaches it may read it.",
    ),
]

_GROUPS: dict[str, Sequence[cfg.Opt]] = {
    "api": API_OPTS,
    "http_basic": HTTP_BASIC_OPTS,
    "quota": QUOTA_OPTS,
    "metrics": METRICS_OPTS,
    # Options of libraries that would register them only when they are used.
    "oslo_middleware": [
        *basic_auth.OPTS,
        *http_proxy_to_wsgi.OPTS,
        *sizelimit.OPTS,
    ],
    "cors": cors.CORS_OPTS,
    "healthcheck": [
        *health_options.HEALTHCHECK_OPTS,
        *health_options.DISABLE_BY_FILE_OPTS,
    ],
}

_EXPOSED_HEADERS = [
    "X-OpenStack-Request-ID",
    "OpenStack-API-Version",
    "X-OpenStack-Nova-API-Version",
    "ETag",
]


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return the service's own options, for oslo-config-generator."""
    own = ("api", "http_basic", "quota", "metrics")
    return [(group, _GROUPS[group]) for group in own]


def set_defaults() -> None:
    """Set the defaults that suit this service better than a library's own.

    Also an entry point of oslo-config-generator, so that samples show them.
    """
    log.set_defaults(
        default_log_levels=[
            *log.get_default_log_levels(),
            # Warns of rules that are spelt out with their defaults, as the
            # shipped policy.json does on purpose.
            "oslo_policy=ERROR",
            # Tells what it is about to do, whether or not there is anything.
            "alembic=WARNING",
        ]
    )
    cors.set_defaults(
        allow_headers=[
            "X-Auth-Token",
            "X-OpenStack-Request-ID",
            "OpenStack-API-Version",
            "X-OpenStack-Nova-API-Version",
            "If-Match",
            "If-None-Match",
        ],
        expose_headers=_EXPOSED_HEADERS,
        allow_methods=["GET", "PUT", "POST", "DELETE"],
    )


def new() -> cfg.ConfigOpts:
    """Return a configuration that knows every option and has read none."""
    conf = cfg.ConfigOpts()
    set_defaults()
    log.register_options(conf)
    for group, opts in _GROUPS.items():
        conf.register_opts(opts, group=group)
    # A request must be answered within seconds, whatever the database does:
    # no attempts to connect beyond the request's own, and no queue for
    # connections that is longer than a caller's patience.
    db_options.set_defaults(conf, max_overflow=5, pool_timeout=4)
    conf.set_default("max_retries", 0, group="database")
    policy_options.set_defaults(conf, policy_file="policy.json")
    conf.set_default(
        "backends",
        ["images_service_policy", "images_service_store"],
        "healthcheck",
    )
    return conf


def load(args: Sequence[str] = (), prog: str = PROJECT) -> cfg.ConfigOpts:
    """Read the configuration.

    :param args: command line, without the program's name.  Without a
        ``--config-file`` there, ``images_service.conf`` is looked for in
        ``~/.images_service``, ``~``, ``/etc/images_service`` and ``/etc``.
    :param prog: name of the program, for its usage message.
    :raises oslo_config.cfg.Error: an option is unknown or its value is wrong.
    """
    conf = new()
    conf(
        list(args),
        project=PROJECT,
        prog=prog,
    )
    return conf


def file_arguments(paths: Sequence[str] | None) -> list[str]:
    """Return the command line that names configuration files."""
    return [arg for path in paths or () for arg in ("--config-file", path)]


def find_file(conf: cfg.ConfigOpts, name: str) -> str | None:
    """Return the path of a file that belongs to the configuration.

    It stands beside the configuration files or in one of the usual folders;
    else the package's own is taken, from where pip has put it or, in a
    checkout, from ``etc``.
    """
    if os.path.isabs(name):
        return name if os.path.exists(name) else None
    found: str | None = conf.find_file(name)
    if found is not None:
        return found
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (sys.prefix, checkout):
        shipped = os.path.join(folder, "etc", PROJECT, name)
        if os.path.exists(shipped):
            return shipped
    return None
