# SPDX-License-Identifier: Apache-2.0
"""Every option of the service.

Options are read through a ``ConfigOpts`` that each module gets from its
caller; there is no global ``ConfigOpts``.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import copy
import os
import sys
from typing import Any

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

_API_OPTS = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "tokens that keystonemiddleware validates"),
            ("http_basic", "users of an htpasswd file and of a user map"),
            ("noauth2", "for development: the token names user and project"),
        ],
        help="How callers are identified: a pipeline of api-paste.ini.",
    ),
    cfg.StrOpt(
        "paste_config",
        default="api-paste.ini",
        help="WSGI pipeline. A relative path is looked for beside the "
        "configuration files.",
    ),
    cfg.StrOpt(
        "max_microversion",
        default="2.38",
        regex=r"^2\.[1-9][0-9]*$",
        help="Highest microversion. In front of a newer Nova, set Nova's. The "
        "image actions end at 2.35 and the metadata ones at 2.38 in any case.",
    ),
    cfg.IntOpt(
        "max_limit",
        default=1000,
        min=1,
        help="Maximum number of images in one answer.",
    ),
    cfg.IntOpt(
        "max_page_metadata",
        default=16 * 1024 * 1024,
        min=1,
        help="Maximum bytes of metadata in one list. A page that would hold "
        "more has fewer images, and its next link continues there.",
    ),
    cfg.FloatOpt(
        "identity_cache_time",
        default=5,
        min=0,
        max=60,
        help="Seconds for which a process does not ask again, not even "
        "memcached, who a token's caller is. A token that is revoked works "
        "for so long after its token_cache_time. 0 turns it off.",
    ),
    cfg.URIOpt(
        "compute_link_prefix",
        schemes=["http", "https"],
        help="Start of links to this service, instead of the request's host.",
    ),
    cfg.URIOpt(
        "glance_link_prefix",
        schemes=["http", "https"],
        help="Start of alternate links. Where unset, the image endpoint of "
        "the token's catalog, else the service's own root.",
    ),
]

# The options of oslo.db that the store reads. The store opens connections
# itself, with other time limits.
_OF_OSLO_DB = frozenset(
    {
        "connection",
        "connection_parameters",
        "connection_recycle_time",
        "mysql_sql_mode",
        "mysql_wsrep_sync_wait",
        "pool_timeout",
        "slave_connection",
        "sqlite_synchronous",
    }
)
# Options of oslo.policy without effect: the service refuses missing rules, and
# no rule has a deprecated default.
_NOT_OF_OSLO_POLICY = frozenset(
    {"enforce_new_defaults", "policy_default_rule"}
)
((_, _POLICY_OPTS),) = policy_options.list_opts()

# All options that have an effect, by group, except for the options of logging
# (in DEFAULT) and of keystonemiddleware.
OPTIONS: Mapping[str, Sequence[cfg.Opt]] = {
    "api": _API_OPTS,
    "http_basic": [
        cfg.StrOpt(
            "user_map",
            default="http-basic-users.json",
            help="JSON file that maps users of the htpasswd file to a project "
            'and roles: {"USER": {"project_id": "…", "roles": ["member"]}}. '
            "A relative path is looked for beside the configuration files.",
        )
    ],
    "quota": [
        cfg.IntOpt(
            "metadata_items",
            default=128,
            min=0,
            help="Maximum number of metadata items of an image.",
        )
    ],
    # The client registers the options of keystoneauth1.
    "glance": [
        cfg.StrOpt(
            "mode",
            default="none",
            choices=[
                ("none", "this service is the only one that has the images"),
                (
                    "mirror",
                    "Glance has them; images-service-mirror copies "
                    "them, and changes go to Glance first",
                ),
            ],
            help="Where images come from.",
        ),
        cfg.BoolOpt(
            "read_through",
            default=True,
            help="Ask Glance for an image that is asked for by its id and is "
            "not here yet.",
        ),
        cfg.StrOpt(
            "property_protection_file",
            help="Glance's file of this name, with roles. What a caller may "
            "not read in Glance is not shown here.",
        ),
    ],
    "mirror": [
        cfg.StrOpt(
            "transport_url",
            secret=True,
            help="RabbitMQ where Glance sends its notifications. Where unset, "
            "Glance is polled.",
        ),
        cfg.StrOpt(
            "exchange",
            default="glance",
            help="Glance's [DEFAULT] control_exchange.",
        ),
        cfg.ListOpt(
            "topics",
            default=["notifications"],
            help="Glance's [oslo_messaging_notifications] topics.",
        ),
        cfg.StrOpt(
            "pool",
            default="images_service",
            help="Queue that all mirrors share. Each of them gets some of the "
            "notifications, and other services keep theirs.",
        ),
        cfg.IntOpt(
            "workers",
            default=4,
            min=1,
            help="How many images are asked for at the same time.",
        ),
        cfg.IntOpt(
            "poll_interval",
            default=5,
            min=1,
            help="Seconds between two questions for changed images.",
        ),
        cfg.IntOpt(
            "poll_overlap",
            default=30,
            min=1,
            help="Seconds by which such a question reaches back before the "
            "last change: more than a change takes in Glance, and than its "
            "nodes' clocks differ.",
        ),
        cfg.IntOpt(
            "sweep_interval",
            default=900,
            min=1,
            help="Seconds between two comparisons of all images.",
        ),
        cfg.IntOpt(
            "members_interval",
            default=3600,
            min=1,
            help="Seconds between two comparisons of all shares of images.",
        ),
        cfg.IntOpt(
            "max_sweep_deletes",
            default=10,
            min=0,
            max=100,
            help="Percent of the images that a comparison deletes at most; "
            "ten images in any case. If Glance lacks more, none is deleted.",
        ),
        cfg.IntOpt(
            "max_staleness",
            default=60,
            min=1,
            help="Seconds after the last poll at which the health check "
            "warns.",
        ),
    ],
    "audit": [
        cfg.StrOpt(
            "transport_url",
            secret=True,
            help="URL of the RabbitMQ to which changes and refusals are "
            "sent, as CADF events. If it is unset, none are sent.",
        ),
    ],
    "metrics": [
        cfg.PortOpt(
            "port",
            help="Port where images-service-api serves Prometheus' metrics. "
            "Where unset, nothing is counted.",
        ),
        cfg.StrOpt(
            "host",
            default="127.0.0.1",
            help="Address of that port. Whoever reaches it can read it.",
        ),
    ],
    "database": [
        *(opt for opt in db_options.database_opts if opt.dest in _OF_OSLO_DB),
        # Threads wait for a free connection, so their number must be known.
        cfg.IntOpt(
            "max_pool_size",
            default=5,
            min=1,
            help="Maximum number of connections that a process keeps open.",
        ),
        cfg.IntOpt(
            "max_overflow",
            default=0,
            min=0,
            help="Maximum number of connections beyond max_pool_size.",
        ),
    ],
    # Libraries would register these options only at their first use.
    "oslo_policy": [
        opt for opt in _POLICY_OPTS if opt.dest not in _NOT_OF_OSLO_POLICY
    ],
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

_LOG_LEVELS = [
    *log.get_default_log_levels(),
    # It warns of rules that repeat their defaults; the shipped policy.json
    # repeats them on purpose.
    "oslo_policy=ERROR",
    # It logs its plan even if the schema needs no change.
    "alembic=WARNING",
]
# Defaults for libraries' options, instead of the libraries' own.
_DEFAULTS: Mapping[str | None, Mapping[str, Any]] = {
    None: {"default_log_levels": _LOG_LEVELS},
    "cors": {
        "allow_headers": [
            *("X-Auth-Token", "X-OpenStack-Request-ID"),
            *("OpenStack-API-Version", "X-OpenStack-Nova-API-Version"),
            *("If-Match", "If-None-Match"),
        ],
        "expose_headers": [
            "X-OpenStack-Request-ID",
            "OpenStack-API-Version",
            "X-OpenStack-Nova-API-Version",
            "ETag",
        ],
        "allow_methods": ["GET", "PUT", "POST", "DELETE"],
    },
    # Requests wait for these time-outs, so they must be short.
    "database": {"pool_timeout": 4},
    "oslo_policy": {"policy_file": "policy.json", "remote_timeout": 3},
    "healthcheck": {
        "backends": ["images_service_policy", "images_service_store"]
    },
}


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return all options with their defaults, for oslo-config-generator."""
    found: list[tuple[str, Sequence[cfg.Opt]]] = []
    for group, opts in OPTIONS.items():
        copies = copy.deepcopy(list(opts))
        cfg.set_defaults(copies, **_DEFAULTS.get(group, {}))
        found.append((group, copies))
    return found


def set_defaults() -> None:
    """Set the defaults of logging, for oslo-config-generator.

    The options are global to a process, so only the generator may call this.
    """
    log.set_defaults(default_log_levels=_LOG_LEVELS)


def new() -> cfg.ConfigOpts:
    """Return a configuration with all options, before it reads any file."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    for group, opts in OPTIONS.items():
        conf.register_opts(opts, group=group)
    for place, defaults in _DEFAULTS.items():
        for name, value in defaults.items():
            conf.set_default(name, value, place)
    return conf


def load(args: Sequence[str] = (), prog: str = PROJECT) -> cfg.ConfigOpts:
    """Read the configuration.

    :param args: command line, without the program's name. Without
        ``--config-file``, the variable ``OS_IMAGES_SERVICE_CONFIG_FILES``
        names the files, separated by semicolons. If it is not set,
        ``images_service.conf`` is looked for in ``~/.images_service``, ``~``,
        ``/etc/images_service`` and ``/etc``.
    :param prog: name of the program, for its usage message.
    :raises oslo_config.cfg.Error: an option is unknown or its value is wrong.
    """
    conf = new()
    conf(
        list(args),
        project=PROJECT,
        prog=prog,
        default_config_files=default_files(),
    )
    return conf


def default_files() -> list[str] | None:
    """Return the files to read if the command line names no file.

    :returns: None for the usual files.
    """
    named = os.environ.get("OS_IMAGES_SERVICE_CONFIG_FILES")
    return named.split(";") if named else None


def file_arguments(paths: Sequence[str] | None) -> list[str]:
    """Return the command line that names configuration files."""
    return [arg for path in paths or () for arg in ("--config-file", path)]


def find_file(conf: cfg.ConfigOpts, name: str) -> str | None:
    """Return the path of a file that belongs to the configuration.

    The file is beside the configuration files, or in one of the usual folders.
    If it is missing there, the file of this package is used.
    """
    return conf.find_file(name) or find_shipped_file(name)


def find_shipped_file(name: str) -> str | None:
    """Return the path of a file that pip installed or a checkout contains."""
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = (
        os.path.join(folder, "etc", PROJECT, name)
        for folder in (sys.prefix, checkout)
    )
    return next(filter(os.path.exists, paths), None)
