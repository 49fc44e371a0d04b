# SPDX-License-Identifier: Apache-2.0
"""Check a deployment at start.

The service, the commands and ``images-service-status`` report an error with
the same text: the file, the option, the error and how to fix it.
"""

from collections.abc import Iterator
import contextlib
import difflib
import glob
import importlib.util
import json
import os
import select
import signal
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log

from images_service import config
from images_service import exception

# The functions import SQLAlchemy, alembic and keystonemiddleware themselves,
# so that a command that does not need them starts fast.
if TYPE_CHECKING:
    from images_service.store.sql.engine import Database
    from images_service.store.sql.engine import Timeouts

LOG = log.getLogger(__name__)

_DATABASES = ("sqlite", "mysql", "mariadb", "postgresql")
# The extra of this package that installs a driver.
_EXTRAS = {
    "pymysql": "mysql",
    "MySQLdb": "mysqlclient",
    "psycopg": "postgresql",
}
_URLS = (
    "Write sqlite:////PATH, mysql+pymysql://USER:PASSWORD@HOST/NAME or "
    "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
)
# Seconds for the check of the database, which has deadlines of its own.
_CHECK_SECONDS = 8
# Minimum similarity to a known group at which an unknown group is an error.
_SIMILAR = 0.85
# An unknown option of these groups is an error. An unknown option of a library
# causes a warning, since other services of a cloud may have it.
_OWN = ("api", "audit", "glance", "http_basic", "metrics", "mirror", "quota")


class NotReady(cfg.Error):
    """The deployment does not work; the message says why."""


class DatabaseDown(NotReady):
    """The database does not answer."""


class WrongSchema(NotReady):
    """The database lacks tables of this release."""


class NewerSchema(WrongSchema):
    """The database has the tables of a newer release."""


def _place(conf: cfg.ConfigOpts, group: str, name: str) -> str:
    """Return where an option is set: ``FILE: [GROUP] NAME``."""
    location = conf.get_location(name, group)
    option = f"[{group}] {name}"
    if location is None or location.location is not cfg.Locations.user:
        return option
    return f"{location.detail}: {option}"


def check_options(conf: cfg.ConfigOpts) -> None:
    """Check that the configuration files set no unknown options.

    :raises NotReady: an option of the service itself, or a group whose name
        is close to a known one, is unknown.
    """
    known = {
        group: [opt.dest for opt in opts]
        for group, opts in config.OPTIONS.items()
    }
    if conf.glance.mode == "none":
        # Other services have a group of this name, with other options.
        del known["glance"]
    else:
        # The options of keystoneauth1 depend on auth_type.
        from images_service.glance import client

        known["glance"] += client.option_names(conf)
    groups = [*known, "default", "keystone_authtoken"]
    for path, section, name in _settings(conf):
        group = section.lower()
        if group not in groups:
            meant = difflib.get_close_matches(group, groups, 1, _SIMILAR)
            if meant:
                raise NotReady(
                    f"{path}: group [{section}] is unknown. Did you mean "
                    f"[{meant[0]}]?"
                )
        elif group in known and name not in known[group]:
            where = f"{path}: [{group}] {name}"
            if group in _OWN:
                meant = difflib.get_close_matches(name, known[group], 1)
                hint = f"Did you mean {meant[0]}?" if meant else "Remove it."
                raise NotReady(f"{where} is unknown. {hint}")
            LOG.warning("%s has no effect.", where)


def _settings(conf: cfg.ConfigOpts) -> Iterator[tuple[str, str, str]]:
    """Yield path, group and name of each option that is set in a file."""
    paths = list(conf.config_file)
    for folder in conf.config_dir:
        paths += sorted(glob.glob(os.path.join(folder, "*.conf")))
    for path in paths:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for section, values in sections.items():
            for name in values:
                yield path, section, name


def check_connections(conf: cfg.ConfigOpts) -> None:
    """Check the URLs of the databases, and that their drivers are installed.

    :raises NotReady: a URL is missing or wrong, or a driver is missing.
    """
    if not conf.database.connection:
        raise NotReady(
            f"{_place(conf, 'database', 'connection')} is not set. {_URLS}."
        )
    for name in ("connection", "slave_connection"):
        url = conf.database[name]
        problem = url and _url_problem(url)
        if problem:
            raise NotReady(f"{_place(conf, 'database', name)}: {problem}.")


def _url_problem(connection: str) -> str | None:
    """Return the error in a URL, without the password; None if it is valid."""
    import sqlalchemy as sa

    try:
        url = sa.make_url(connection)
        dialect = url.get_dialect()
        if dialect.is_async or url.get_backend_name() not in _DATABASES:
            raise sa.exc.NoSuchModuleError
        dialect.import_dbapi()
    except sa.exc.NoSuchModuleError:
        return f"{url.drivername} is unknown. {_URLS}"
    except sa.exc.ArgumentError:
        return f"not the URL of a database. {_URLS}"
    except ValueError:
        return "the port is not a number"
    except ImportError as error:
        package = error.name or dialect.driver
        extra = _EXTRAS.get(package)
        what = f"'.[{extra}]'" if extra else package
        return f"{package} is not installed. Run pip install {what}"
    if url.port is not None and not 0 < url.port < 65536:
        return f"there is no port {url.port}"
    return None


def check_token_cache(conf: cfg.ConfigOpts) -> str | None:
    """Check that workers can share Keystone's answers about tokens.

    :returns: a warning, or None.
    :raises NotReady: the client library of memcached is not installed.
    """
    if conf.api.auth_strategy != "keystone":
        return None
    from keystonemiddleware import opts as keystone_options

    for group, options in keystone_options.list_auth_token_opts():
        conf.register_opts(options, group=group)
    where = _place(conf, "keystone_authtoken", "memcached_servers")
    if not conf.keystone_authtoken.memcached_servers:
        return (
            f"{where} is not set: each worker asks Keystone about each token. "
            "Set it to a memcached."
        )
    if importlib.util.find_spec("memcache") is None:
        raise NotReady(
            f"{where} is set, and python-memcached is not installed. Run pip "
            "install '.[memcached]'."
        )
    return None


def check_schema(database: "Database") -> None:
    """Check that the database answers and has the tables of this release.

    :raises DatabaseDown: the database does not answer.
    :raises WrongSchema: the tables are missing, older or newer.
    """
    from images_service.store.sql.migrations import revisions

    try:
        has, expected = revisions.version(database), revisions.HEAD
    except exception.StoreUnavailable as error:
        raise DatabaseDown(
            f"The database does not answer: {reason(error)}. Check that it "
            "runs, and that [database] connection names it."
        ) from error
    if has == expected:
        return
    if has is None:
        problem = "The database has no tables."
    elif has in revisions.REVISIONS:
        problem = f"The database is at {has}, this release needs {expected}."
    else:
        raise NewerSchema(
            f"The database is at {has}, which this release does not know. "
            "Install a newer release."
        )
    raise WrongSchema(f"{problem} Run images-service-manage db sync.")


def check_in_child(database: "Database") -> None:
    """Run ``check_schema`` in a child process.

    It opens connections in threads. OpenSSL, which PyMySQL uses, holds a lock
    at the end of a thread. If a process forks at this moment, the lock stays
    held in the child, which can then open no connection.

    :raises NotReady: as ``check_schema``; or it failed otherwise.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, json.dumps(_verdict(database)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], _CHECK_SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
        answer = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        # A server's handler of SIGCHLD may have been faster.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
    if not answer:
        raise DatabaseDown("The check of the database has not ended in time.")
    name, message = json.loads(answer)
    if name:
        kinds = {kind.__name__: kind for kind in (DatabaseDown, NewerSchema)}
        raise kinds.get(name, NotReady)(message)


def _verdict(database: "Database") -> tuple[str, str]:
    """Return the name and the message of the error of ``check_schema``."""
    try:
        check_schema(database)
    except NotReady as error:
        return type(error).__name__, str(error)
    except Exception as error:
        LOG.exception("The check of the database has failed")
        message = f"The database cannot be used: {reason(error)}."
        return NotReady.__name__, message
    return "", ""


def accept_schema(database: "Database") -> None:
    """Check the tables as ``check_schema`` does, but accept newer ones.

    An upgrade changes the tables first, and then one service after the other.
    """
    try:
        check_schema(database)
    except NewerSchema as error:
        LOG.warning("%s", error)


def open_database(
    conf: cfg.ConfigOpts,
    timeouts: "Timeouts | None" = None,
    *,
    forks: bool = False,
) -> "Database":
    """Return the database of a service that starts.

    The service also starts while the database is down.

    :param timeouts: None for the time-outs of requests.
    :param forks: whether this process forks workers later.
    :raises NotReady: its URL is wrong, its driver is missing, or it lacks
        tables of this release.
    """
    from images_service.store.sql import engine

    check_connections(conf)
    database = engine.Database(conf, timeouts or engine.REQUESTS)
    check = check_in_child if forks else check_schema
    try:
        check(database)
    except (DatabaseDown, NewerSchema) as error:
        LOG.warning("%s The service starts all the same.", error)
    finally:
        # Workers that are forked later must not share a connection.
        database.dispose()
    return database


def reason(error: BaseException) -> str:
    """Return the driver's message, without the statement and its values."""
    from images_service.store.sql import failures

    original = error.__cause__ or error
    found = failures.cause(error) or failures.cause(original) or original
    # Errors of PyMySQL and mysqlclient have a number and a text.
    text = found.args[1] if len(found.args) == 2 else found
    return str(text).partition("\n")[0].rstrip(".")
