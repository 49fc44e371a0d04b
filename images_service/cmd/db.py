# SPDX-License-Identifier: Apache-2.0
"""images-service-manage db …: the schema of the database."""

import argparse

from images_service.cmd.manage import DatabaseCommand
from images_service.store.sql.migrations import run


class Sync(DatabaseCommand):
    """Bring the database to the schema that this release expects."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Do so."""
        run.sync(self.database)
        print(f"The database is at {run.head()}.")


class Version(DatabaseCommand):
    """Print the database's schema version, and the one that is expected."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Do so; the exit status is 1 where they differ."""
        has, expected = run.version(self.database), run.head()
        print(f"database: {has or 'empty'}")
        print(f"expected: {expected}")
        return int(has != expected)
