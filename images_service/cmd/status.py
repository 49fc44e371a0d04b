# SPDX-License-Identifier: Apache-2.0
"""images-service-status: check whether the service can be started again."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
import re
import sys

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from images_service import config
from images_service import exception
from images_service import startup
from images_service.api import routes
from images_service.files import FileError
from images_service.middleware import basic_auth
from images_service.policy import enforcer

_VERSIONED = re.compile(r"/v[0-9]+(\.[0-9]+)?/?$")
# Seconds that a caller may wait for a connection to the database.
_PATIENCE = 30

# A check returns a warning, or None. It raises startup.NotReady for a failure,
# and FileError for a file that a running service would not load.
Check = Callable[[cfg.ConfigOpts], str | None]


def _schema(conf: cfg.ConfigOpts) -> None:
    from images_service.store.sql import engine

    startup.check_connections(conf)
    startup.check_schema(engine.Database(conf))


def _policy(conf: cfg.ConfigOpts) -> str | None:
    policy = enforcer.Policy(conf, routes.list_rules())
    return "\n".join(policy.value.warnings) or None


def _users(conf: cfg.ConfigOpts) -> str | None:
    if conf.api.auth_strategy == "http_basic":
        basic_auth.Users(conf)
    return None


def _links(conf: cfg.ConfigOpts) -> str | None:
    for name in ("compute_link_prefix", "glance_link_prefix"):
        prefix = conf.api[name]
        if prefix and _VERSIONED.search(prefix):
            return (
                f"[api] {name} ends with a version, which links would hold in "
                f"the wrong place: {prefix}. Remove the version."
            )
    return None


def _wait(conf: cfg.ConfigOpts) -> str | None:
    seconds = conf.database.pool_timeout or 0
    if seconds <= _PATIENCE:
        return None
    return (
        f"[database] pool_timeout is {seconds} seconds, for which requests "
        f"wait for a connection. Set it to {_PATIENCE} at most."
    )


def _paths(conf: cfg.ConfigOpts) -> None:
    log_path = os.path.join(conf.log_dir or "", conf.log_file or "")
    written = [("log_file or log_dir", log_path)]
    kind, _, path = (conf.database.connection or "").partition(":///")
    path = path.partition("?")[0]
    if kind.startswith("sqlite") and path:
        # SQLite creates files beside its own.
        folder = os.path.dirname(os.path.abspath(path))
        written += [("[database] connection", each) for each in (path, folder)]
    for option, path in written:
        existing = path if os.path.exists(path) else os.path.dirname(path)
        existing = existing or "."
        if path and not os.access(existing, os.W_OK):
            raise startup.NotReady(
                f"{existing} of {option} does not exist, or this user can't "
                "write it. Create it, or run this check as the service's user."
            )


def _glance(conf: cfg.ConfigOpts) -> str | None:
    if conf.glance.mode == "none":
        return None
    from images_service.glance import client
    from images_service.glance import protections
    from images_service.store.sql import engine
    from images_service.store.sql import mirror_runs

    try:
        protections.load(conf)
    except cfg.Error as error:
        raise startup.NotReady(str(error)) from error
    try:
        client.Glance(conf).check_role()
    except client.NoRole as error:
        raise startup.NotReady(
            f"{error.reason} Grant it in Keystone."
        ) from error
    except exception.GlanceUnavailable:
        return "Keystone does not answer [glance] auth_url, or refuses it."
    try:
        runs = mirror_runs.load(engine.Database(conf))
    except exception.StoreUnavailable:
        # The check of the database schema reports this.
        return None
    if conf.mirror.transport_url and "hint" not in runs:
        return (
            "[mirror] transport_url is set, and no notification of Glance was "
            "ever seen. Set [oslo_messaging_notifications] driver = "
            "messagingv2 in Glance, and compare exchange and topics."
        )
    return None


_CHECKS: Mapping[str, Check] = {
    "Options": startup.check_options,
    "Database schema": _schema,
    "Policy files": _policy,
    "User files": _users,
    "Link prefixes": _links,
    "Token cache": startup.check_token_cache,
    "Database options": _wait,
    "Writable paths": _paths,
    "Glance": _glance,
}


def _run(checks: "Checks", check: Check) -> upgradecheck.Result:
    try:
        warning = check(checks.conf)
    except startup.NotReady as error:
        return upgradecheck.Result(upgradecheck.Code.FAILURE, str(error))
    except FileError as error:
        # A running service keeps the contents that it has read before.
        warning = (
            f"{error}. Services that run go on as before; none will start. "
            "Fix the file."
        )
    code = upgradecheck.Code.WARNING if warning else upgradecheck.Code.SUCCESS
    return upgradecheck.Result(code, warning)


class Checks(upgradecheck.UpgradeCommands):
    """The checks of ``upgrade check``."""

    _upgrade_checks = tuple(
        (name, (_run, {"check": check})) for name, check in _CHECKS.items()
    )

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0 for success, 1 for warnings, 2 for failures.

    255 means that the checks themselves failed.
    """
    conf = config.new()
    try:
        return upgradecheck.main(
            conf,
            config.PROJECT,
            Checks(conf),
            list(sys.argv[1:] if argv is None else argv),
            config.default_files(),
        )
    except cfg.Error as error:
        print(f"images-service-status: {error}", file=sys.stderr)
        return 255
