# SPDX-License-Identifier: Apache-2.0
"""Bring a database to the schema that the code expects."""

import os

import alembic.command
import alembic.config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from oslo_log import log
import sqlalchemy as sa

from images_service import errors
from images_service.store.sql import engine

LOG = log.getLogger(__name__)

# Seconds to wait for another process, or for a table's lock.
LOCK_TIMEOUT = 10
# Seconds that one statement may take, such as the building of an index.
STATEMENT_TIMEOUT = 3600

_LOCK_NAME = "images_service.db_sync"
_LOCK_NUMBER = 0x696D616765735F73  # "images_s"


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option(
        "script_location", os.path.dirname(os.path.abspath(__file__))
    )
    return config


def head() -> str:
    """Return the revision that the code expects."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def version(database: engine.Database) -> str | None:
    """Return the revision that the database has, None for an empty one.

    :raises images_service.errors.StoreUnavailable: it can't be reached.
    """
    with engine.unavailability(), database.writer.connect() as db:
        return MigrationContext.configure(db).get_current_revision()


def sync(database: engine.Database, revision: str = "head") -> None:
    """Bring the database to a revision, by default the one of the code.

    Harmless on a database that has it, and in several processes at once: each
    waits for the one before.

    :raises images_service.errors.StoreUnavailable: it can't be reached, or
        another process holds it for too long.
    """
    with engine.unavailability(), database.writer.begin() as db:
        lock(db)
        config = _config()
        config.attributes["connection"] = db
        alembic.command.upgrade(config, revision)


def lock(db: sa.Connection) -> None:
    """Wait until nobody else migrates, and no longer than is good.

    Statements that wait for locks of a service that is running give up, too,
    so that they don't hold up everything that queues behind them.

    :raises images_service.errors.StoreUnavailable: somebody else does.
    """
    name = db.dialect.name
    if name in ("mysql", "mariadb"):
        db.execute(sa.text(f"SET lock_wait_timeout = {LOCK_TIMEOUT}"))
        got = db.execute(
            sa.select(sa.func.get_lock(_LOCK_NAME, LOCK_TIMEOUT))
        ).scalar()
        if not got:
            LOG.error("Another process migrates the database.")
            raise errors.StoreUnavailable
        # It is the session's: give it back with the connection.
        db.detach()
    elif name == "postgresql":
        db.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"))
        db.execute(
            sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'")
        )
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_NUMBER)))
    else:
        # Any write takes SQLite's one lock; this one changes nothing.
        db.execute(sa.text(f"PRAGMA busy_timeout = {LOCK_TIMEOUT * 1000}"))
        db.execute(sa.text("PRAGMA user_version = 0"))
