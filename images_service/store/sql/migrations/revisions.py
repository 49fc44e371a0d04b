# SPDX-License-Identifier: Apache-2.0
"""Reads the revision of a database, without alembic.

Only a migration needs alembic, which would take ten MB of each worker.
"""

import sqlalchemy as sa

from images_service.store.sql import engine

# Revisions of this release, oldest first; alembic reads them in ``versions``.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
# The revision that the code needs.
HEAD = REVISIONS[-1]

# The table of alembic.
_TABLE = sa.table("alembic_version", sa.column("version_num", sa.String))


def version(database: engine.Database) -> str | None:
    """Return the revision of a database, None if it is empty.

    :raises StoreUnavailable: the database can't be reached.
    """

    def ask(db: sa.Connection) -> str | None:
        if not sa.inspect(db).has_table(_TABLE.name):
            return None
        return db.scalar(sa.select(_TABLE))

    return database.primary.read(lambda db: ask(db.db))
