# SPDX-License-Identifier: Apache-2.0
"""images-service-manage: the operator's commands."""

import argparse
import collections
from collections.abc import Mapping
from collections.abc import Sequence
import functools
from importlib import metadata
import json
import logging
import os
import re
import sys
from typing import Any
from typing import TextIO
from typing import TYPE_CHECKING

from cliff import app
from cliff import command
from cliff import commandmanager

from images_service import config
from images_service import exception
from images_service import startup

# Commands import SQLAlchemy and alembic when they run, so that --help is fast.
if TYPE_CHECKING:
    from images_service.store.sql.engine import Database
    from images_service.store.sql.store import SqlStore


PROGRAM = "images-service-manage"
_STORE = "images_service.store"


class Manage(app.App):
    """The program; its commands are entry points."""

    CONSOLE_MESSAGE_FORMAT = f"{PROGRAM}: %(message)s"
    DEFAULT_VERBOSE_LEVEL = 0

    def __init__(self) -> None:
        super().__init__(
            description="Manage an images_service.",
            version=metadata.version("images-service"),
            command_manager=commandmanager.CommandManager(
                "images_service.manage"
            ),
            deferred_help=True,
        )

    def build_option_parser(
        self, *args: Any, **options: Any
    ) -> argparse.ArgumentParser:
        """Add --config-file."""
        parser = super().build_option_parser(*args, **options)
        parser.add_argument(
            "--config-file",
            action="append",
            metavar="PATH",
            help="Configuration file, instead of the usual ones. "
            "May be repeated; later ones win.",
        )
        return parser

    def configure_logging(self) -> None:
        """Set logging up without the store's errors: commands report them."""
        super().configure_logging()
        for handler in logging.root.handlers:
            handler.addFilter(lambda record: _STORE not in record.name)

    def initialize_app(self, argv: list[str]) -> None:
        """Read the configuration."""
        args = config.file_arguments(self.options.config_file)
        self.conf = config.load(args, prog=PROGRAM)


class Command(command.Command):
    """A command; its help is its docstring, its arguments, and examples."""

    app: Manage
    # Names -> options of argparse's add_argument; a command line can have only
    # one of the arguments that have the same word as "exclusive".
    arguments: Mapping[str, Mapping[str, Any]] = {}
    # Command lines, without the program's name.
    examples: Sequence[str] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return a parser whose help keeps the line breaks of a text."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        lines = [f"  {PROGRAM} {example}" for example in self.examples]
        # The documentation shows the examples after "::" as code.
        parser.epilog = "\n".join(("examples::", "", *lines))
        groups: dict[str, Any] = collections.defaultdict(
            parser.add_mutually_exclusive_group
        )
        for names, options in self.arguments.items():
            rest = dict(options)
            group = rest.pop("exclusive", None)
            target = groups[group] if group else parser
            target.add_argument(*names.split(), **rest)
        return parser


def whole_number(text: str) -> int:
    """Return the value of an argument that is a whole number."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def open_log(path: str) -> TextIO:
    """Open a log for reading; ``-`` is standard input."""
    standard = path == "-"
    return open(
        sys.stdin.fileno() if standard else path,
        encoding="utf-8",
        errors="replace",
        closefd=not standard,
    )


class DatabaseCommand(Command):
    """A command that works on the configured database."""

    # Whether the command fails without the tables of this release.
    needs_tables = True
    # Whether the command changes images; it is refused if Glance owns them.
    changes_images = False

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command.

        :raises startup.NotReady: the database is down, lacks its tables, or
            refuses a statement; or Glance owns the images.
        """
        import sqlalchemy as sa

        if self.changes_images and self.app.conf.glance.mode == "mirror":
            raise startup.NotReady(
                "Glance owns the images ([glance] mode = mirror). Change them "
                "there, with the openstack command."
            )
        try:
            return super().run(parsed_args)
        except (
            exception.StoreUnavailable,
            sa.exc.SQLAlchemyError,
        ) as error:
            try:
                startup.check_schema(self.database)
            except startup.WrongSchema:
                if self.needs_tables:
                    raise
            raise startup.NotReady(startup.reason(error)) from error

    @functools.cached_property
    def database(self) -> "Database":
        """The configured database.

        :raises startup.NotReady: the URL or the driver is missing.
        """
        from images_service.store.sql import engine

        startup.check_connections(self.app.conf)
        return engine.Database(self.app.conf, engine.COMMANDS)

    @functools.cached_property
    def store(self) -> "SqlStore":
        """The store in the database."""
        from images_service.store.sql.store import SqlStore

        return SqlStore(self.database)


class OpenAPI(Command):
    """Print the API as an OpenAPI 3.1 document, in JSON."""

    examples = ("openapi",)

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from images_service.api import openapi

        print(json.dumps(openapi.document(), indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # The files that the program creates hold the data of all projects.
    os.umask(os.umask(0o077) | 0o027)
    return Manage().run(arguments or ["help"])
