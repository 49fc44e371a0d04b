# SPDX-License-Identifier: Apache-2.0
"""Bring a database to the schema that the code expects."""

import os

import alembic.command
import alembic.config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
import sqlalchemy as sa

from images_service.store.sql import engine


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


def sync(database: engine.Database) -> None:
    """Bring the database to the revision that the code expects.

    Harmless on a database that has it.

    :raises images_service.errors.StoreUnavailable: it can't be reached.
    """
    with engine.unavailability(), database.writer.begin() as db:
        upgrade(db)


def upgrade(db: sa.Connection) -> None:
    """Do so on a connection whose transaction the caller ends."""
    config = _config()
    config.attributes["connection"] = db
    alembic.command.upgrade(config, "head")
