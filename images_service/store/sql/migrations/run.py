# SPDX-License-Identifier: Apache-2.0
"""Bring a database to the schema that the code expects."""

import os

import alembic.command
import alembic.config
from oslo_log import log
import sqlalchemy as sa

from images_service import exception
from images_service.store.sql import engine
from images_service.store.sql import failures

LOG = log.getLogger(__name__)

# Seconds to wait for another process, or for a table's lock.
LOCK_TIMEOUT = 10
# Seconds that one statement may take, such as the building of an index.
STATEMENT_TIMEOUT = 3600

_MIGRATES = "Another process migrates the database."
_LOCK_NAME = "images_service."
_LOCK_NUMBER = 0x696D616765735F73  # "images_s"


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    # alembic interpolates the option.
    folder = os.path.dirname(__file__).replace("%", "%%")
    config.set_main_option("script_location", folder)
    return config


def sync(database: engine.Database, revision: str = "head") -> None:
    """Upgrade the database to a revision, by default the code's revision.

    Several processes may run this at the same time: they wait for each other.

    :raises StoreUnavailable: the database can't be reached, or another process
        migrates it for too long.
    """
    with failures.unavailability(), database.writer.begin() as db:
        lock(db)
        config = _config()
        config.attributes["connection"] = db
        alembic.command.upgrade(config, revision)


def lock(db: sa.Connection) -> None:
    """Wait, for a limited time, until no other process migrates.

    Statements wait for locks of a running service for the same time at most,
    since its requests wait behind them.

    :raises StoreUnavailable: another process migrates.
    """
    name = db.dialect.name
    if name in ("mysql", "mariadb"):
        db.execute(sa.text(f"SET lock_wait_timeout = {LOCK_TIMEOUT}"))
        # All databases of a server share the names of locks, which have at
        # most 64 characters.
        lock_name = sa.func.concat(
            _LOCK_NAME, sa.func.sha1(sa.func.database())
        )
        got = db.execute(
            sa.select(sa.func.get_lock(lock_name, LOCK_TIMEOUT))
        ).scalar()
        if not got:
            LOG.error(_MIGRATES)
            raise exception.StoreUnavailable(_MIGRATES)
        # The lock belongs to the session, and ends with the connection.
        db.detach()
    elif name == "postgresql":
        db.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"))
        db.execute(
            sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'")
        )
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_NUMBER)))
    else:
        # Requests must not get this connection, since it waits longer.
        db.detach()
        db.execute(sa.text(f"PRAGMA busy_timeout = {LOCK_TIMEOUT * 1000}"))
        # Any write takes SQLite's one lock; this one changes nothing.
        db.execute(sa.text("PRAGMA user_version = 0"))
