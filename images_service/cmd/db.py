# SPDX-License-Identifier: Apache-2.0
"""images-service-manage db: the schema of the database and its upkeep."""

import argparse
import datetime
import re

from oslo_utils import timeutils
import tqdm

from images_service.cmd.manage import DatabaseCommand
from images_service.cmd.manage import whole_number

# Commands import SQLAlchemy and alembic when they run, so that --help is fast.

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _age(text: str) -> datetime.timedelta:
    match = re.fullmatch("([0-9]{1,5})([mhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number and m, h, d or w"
        )
    return datetime.timedelta(**{_UNITS[match[2]]: int(match[1])})


class Sync(DatabaseCommand):
    """Upgrade the database to the schema that this release needs."""

    examples = ("db sync",)
    needs_tables = False

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from images_service.store.sql.migrations import revisions
        from images_service.store.sql.migrations import run

        run.sync(self.database)
        print(f"The database is at {revisions.HEAD}.")


class Version(DatabaseCommand):
    """Print the schema version of the database and the one that is needed."""

    examples = ("db version",)
    needs_tables = False

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from images_service.store.sql.migrations import revisions

        has, expected = revisions.version(self.database), revisions.HEAD
        print(f"database: {has or 'empty'}")
        print(f"expected: {expected}")
        return int(has != expected)


class Purge(DatabaseCommand):
    """Remove images that were deleted long ago, the oldest first.

    The command works in small transactions: you can interrupt it and start it
    again. The ids of purged images are never used again.
    """

    examples = (
        "db purge --older-than 30d",
        "db purge --older-than 90d --max-rows 10000 --dry-run",
    )
    arguments = {
        "--older-than": {
            "type": _age,
            "required": True,
            "metavar": "AGE",
            "help": "how long ago they were deleted: 30d, 12h, 4w, 90m",
        },
        "--max-rows": {
            "type": whole_number,
            "metavar": "N",
            "help": "at most so many",
        },
        "--dry-run": {
            "action": "store_true",
            "help": "only print how many images would be purged",
        },
    }

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from images_service.store.sql import admin

        before = timeutils.utcnow() - parsed_args.older_than
        total = admin.purgeable(self.database, before)
        if parsed_args.max_rows is not None:
            total = min(total, parsed_args.max_rows)
        if parsed_args.dry_run:
            print(f"{total} would be purged")
            return
        purged = 0
        with tqdm.tqdm(
            total=total, unit=" images", disable=None, leave=False
        ) as bar:
            for count in admin.purge(
                self.database, before, parsed_args.max_rows
            ):
                purged += count
                bar.update(count)
        print(f"{purged} purged")


class Check(DatabaseCommand):
    """Compare the search index with the images."""

    examples = ("db check", "db check --repair")
    arguments = {
        "--repair": {
            "action": "store_true",
            "help": "write wrong index entries again, from the images",
        },
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from images_service.store.sql import admin

        repair = parsed_args.repair
        result = "repaired" if repair else "wrong index entries"
        wrong = 0
        for image_id in admin.check(self.database, repair=repair):
            wrong += 1
            print(f"{image_id}: {result}")
        print(f"{wrong} images had wrong index entries")
        return int(wrong > 0 and not repair)
