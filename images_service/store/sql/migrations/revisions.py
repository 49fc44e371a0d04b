# SPDX-License-Identifier: Apache-2.0
"""Tells the revision of a database.

It does so without alembic: a worker would keep ten MB of that, which only a
migration needs.
"""

import sqlalchemy as sa

from images_service.store.sql import engine

# Of this release, the oldest first; alembic has the same from ``versions``.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
# The one that the code needs.
HEAD = REVISIONS[-1]

# alembic's.
_TABLE = sa.table("alembic_version", sa.column("version_num", sa.String))


def version(database: engine.Database) -> str | None:
    """Return the revision that the database has, None for an empty one.

    :raises StoreUnavailable: it can't be reached.
    """

    def ask(db: sa.Connection) -> str | None:
        if not sa.inspect(db).has_table(_TABLE.name):
            return None
        return db.scalar(sa.select(_TABLE))

    return database.primary.read(lambda db: ask(db.db))
