# SPDX-License-Identifier: Apache-2.0
"""images-service-manage db …: the schema of the database, and its upkeep."""

import argparse
import datetime
import re

from oslo_utils import timeutils
import tqdm

from images_service.cmd.manage import DatabaseCommand

# Alembic and SQLAlchemy are imported by the commands that use them, so that
# --help need not wait for them.

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Sync(DatabaseCommand):
    """Bring the database to the schema that this release expects."""

    examples = ("db sync",)

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Do so."""
        from images_service.store.sql.migrations import run

        run.sync(self.database)
        print(f"The database is at {run.head()}.")


class Version(DatabaseCommand):
    """Print the database's schema version, and the one that is expected."""

    examples = ("db version",)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Do so; the exit status is 1 where they differ."""
        from images_service.store.sql.migrations import run

        has, expected = run.version(self.database), run.head()
        print(f"database: {has or 'empty'}")
        print(f"expected: {expected}")
        return int(has != expected)


class Purge(DatabaseCommand):
    """Remove images that were deleted long ago, the oldest first.

    It works in small transactions, and may be ended and started again. The
    ids of purged images are never used again.
    """

    examples = (
        "db purge --older-than 30d",
        "db purge --older-than 90d --max-rows 10000 --dry-run",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the age, and how much to do."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--older-than",
            type=_age,
            required=True,
            metavar="AGE",
            help="how long ago they must have been deleted: 30d, 12h, 4w, 90m",
        )
        parser.add_argument(
            "--max-rows",
            type=_count,
            metavar="N",
            help="purge at most N images",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only say how many images would be purged",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Purge, and say how many images were."""
        from images_service.store.sql import upkeep

        before = timeutils.utcnow() - parsed_args.older_than
        database = self.database
        total = upkeep.purgeable(database, before)
        if parsed_args.max_rows is not None:
            total = min(total, parsed_args.max_rows)
        if parsed_args.dry_run:
            print(f"{total} would be purged")
            return
        purged = 0
        with tqdm.tqdm(
            total=total, unit=" images", disable=None, leave=False
        ) as bar:
            for removed in upkeep.purge(
                database, before, parsed_args.max_rows
            ):
                purged += removed
                bar.update(removed)
        print(f"{purged} purged")


class Check(DatabaseCommand):
    """Check that images are found by what they are."""

    examples = ("db check", "db check --repair")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the choice to repair."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--repair",
            action="store_true",
            help="put right what is wrong, from the images themselves",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Name the images that are wrong; exit status 1 where some remain."""
        from images_service.store.sql import upkeep

        repair = parsed_args.repair
        wrong = 0
        for image_id in upkeep.check(self.database, repair=repair):
            wrong += 1
            print(f"{image_id}: {'repaired' if repair else 'wrong terms'}")
        print(f"{wrong} images had wrong terms")
        return int(wrong > 0 and not repair)


def _age(text: str) -> datetime.timedelta:
    match = re.fullmatch(r"([0-9]{1,5})([mhdw])", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no age; it is a number and m, h, d or w"
        )
    return datetime.timedelta(**{_UNITS[match[2]]: int(match[1])})


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)
