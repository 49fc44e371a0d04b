# SPDX-License-Identifier: Apache-2.0
"""images-service-status: whether what is deployed can be started again."""

from collections.abc import Iterator
from collections.abc import Sequence
import importlib.util
import os
import re
import sys

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from images_service import config
from images_service import errors
from images_service.middleware import users
from images_service.policy import enforcer
from images_service.policy import snapshot
from images_service.watched import FileError

# SQLAlchemy, alembic and keystonemiddleware are imported by the checks that
# use them, so that --help need not wait for them.

_VERSIONED = re.compile(r"/v[0-9]+(\.[0-9]+)?/?$")
# Seconds that a caller may wait for a connection to the database.
_PATIENCE = 30


class Checks(upgradecheck.UpgradeCommands):
    """What ``upgrade check`` looks at.

    A service that runs goes on with what it has read before, so a file that
    can't be taken is a warning; one that starts refuses it.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def _schema(self) -> upgradecheck.Result:
        """Look whether the database has the tables of this release."""
        if not self._conf.database.connection:
            return _failure(
                "[database] connection is not set. Name the database there."
            )
        from oslo_db import exception as db_exc
        import sqlalchemy as sa

        from images_service.store.sql import engine
        from images_service.store.sql.migrations import run as migrations

        try:
            has = migrations.version(engine.Database(self._conf))
        except (
            errors.StoreUnavailable,
            db_exc.DBError,
            sa.exc.SQLAlchemyError,
            # What it says of a driver that isn't installed.
            ImportError,
        ) as error:
            # Its text may hold the URL, with a password.
            return _failure(
                f"The database can't be asked ({type(error).__name__}). See "
                "that it runs, and that [database] connection names it."
            )
        expected = migrations.head()
        if has == expected:
            return _success()
        return _failure(
            f"The database is at {has or 'no version'}, and this release "
            f"expects {expected}. Run images-service-manage db sync."
        )

    def _policy(self) -> upgradecheck.Result:
        """Look whether the policy files can be taken."""
        try:
            policy = enforcer.Policy(self._conf)
        except FileError as error:
            return _not_taken(error)
        if policy.everybody_is_admin:
            return _warning(snapshot.EVERYBODY)
        return _success()

    def _users(self) -> upgradecheck.Result:
        """Look whether the files of http_basic can be taken, if it is used."""
        if self._conf.api.auth_strategy == "http_basic":
            try:
                users.Users(self._conf)
            except FileError as error:
                return _not_taken(error)
        return _success()

    def _links(self) -> upgradecheck.Result:
        """Look whether links will lead where they should."""
        for name in ("compute_link_prefix", "glance_link_prefix"):
            prefix = self._conf.api[name]
            if prefix and _VERSIONED.search(prefix):
                return _warning(
                    f"[api] {name} ends with a version, which links would "
                    f"hold in the wrong place: {prefix}. Take it off."
                )
        return _success()

    def _tokens(self) -> upgradecheck.Result:
        """Look whether workers share what Keystone has said of a token."""
        if self._conf.api.auth_strategy != "keystone":
            return _success()
        from keystonemiddleware import opts as keystone_options

        for group, options in keystone_options.list_auth_token_opts():
            self._conf.register_opts(options, group=group)
        if not self._conf.keystone_authtoken.memcached_servers:
            return _warning(
                "[keystone_authtoken] memcached_servers is not set: each "
                "worker asks Keystone about each token. Name a memcached."
            )
        if importlib.util.find_spec("memcache") is None:
            return _failure(
                "[keystone_authtoken] memcached_servers is set, and "
                "python-memcached is not installed. Install the package with "
                "its extra [memcached]."
            )
        return _success()

    def _patience(self) -> upgradecheck.Result:
        """Look whether a request waits for the database for too long."""
        if self._conf.database.max_retries != 0:
            return _warning(
                "[database] max_retries is "
                f"{self._conf.database.max_retries}: requests wait while a "
                "database that is away is tried again. Set it to 0; callers "
                "are told to come again."
            )
        if (self._conf.database.pool_timeout or 0) > _PATIENCE:
            return _warning(
                "[database] pool_timeout is "
                f"{self._conf.database.pool_timeout} seconds, for which "
                f"requests wait for a connection. Set it to {_PATIENCE} at "
                "most."
            )
        return _success()

    def _paths(self) -> upgradecheck.Result:
        """Look whether what is to be written can be."""
        for option, path in self._written():
            if not os.access(path, os.W_OK):
                return _failure(
                    f"{path} of {option} is not there or can't be written by "
                    "this user. Make it, or run this check as the service's "
                    "user."
                )
        return _success()

    def _written(self) -> Iterator[tuple[str, str]]:
        """Yield options and the files or folders that they have written."""
        conf = self._conf
        if conf.database.connection:
            import sqlalchemy as sa

            url = sa.make_url(conf.database.connection)
            if url.get_backend_name() == "sqlite" and url.database:
                # SQLite makes files beside its own.
                folder = os.path.dirname(os.path.abspath(url.database))
                yield "[database] connection", folder
                if os.path.exists(url.database):
                    yield "[database] connection", url.database
        folder = conf.log_dir or ""
        if conf.log_file:
            path = os.path.join(folder, conf.log_file)
            if os.path.exists(path):
                yield "log_file", path
            else:
                yield "log_file", os.path.dirname(path) or "."
        elif folder:
            yield "log_dir", folder

    _upgrade_checks = (
        ("Database schema", _schema),
        ("Policy files", _policy),
        ("User files", _users),
        ("Link prefixes", _links),
        ("Token cache", _tokens),
        ("Database options", _patience),
        ("Writable paths", _paths),
    )


def _not_taken(error: FileError) -> upgradecheck.Result:
    return _warning(
        f"{error}. Services that run go on as before; none will start. Mend "
        "the file."
    )


def _success() -> upgradecheck.Result:
    return upgradecheck.Result(upgradecheck.Code.SUCCESS)


def _failure(details: str) -> upgradecheck.Result:
    return upgradecheck.Result(upgradecheck.Code.FAILURE, details)


def _warning(details: str) -> upgradecheck.Result:
    return upgradecheck.Result(upgradecheck.Code.WARNING, details)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0 for success, 1 for warnings, 2 for failures.

    255 says that something went wrong with the checks themselves.
    """
    conf = config.new()
    try:
        return upgradecheck.main(
            conf,
            config.PROJECT,
            Checks(conf),
            list(sys.argv[1:] if argv is None else argv),
        )
    except cfg.Error as error:
        print(f"images-service-status: {error}", file=sys.stderr)
        return 255
