# SPDX-License-Identifier: Apache-2.0
"""images-service-manage: what operators do beside serving."""

import argparse
from collections.abc import Sequence
from importlib import metadata
import sys
from typing import Any
from typing import TYPE_CHECKING

from cliff import app
from cliff import command
from cliff import commandmanager
from oslo_config import cfg

from images_service import config

if TYPE_CHECKING:
    from images_service.store.sql.engine import Database
    from images_service.store.sql.store import SqlStore


PROGRAM = "images-service-manage"


class Manage(app.App):
    """The program; its commands are entry points."""

    # Say what went wrong, in a line; with -v also what is being done.
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
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Add the options that say which configuration to read."""
        parser = super().build_option_parser(
            description, version, argparse_kwargs
        )
        parser.add_argument(
            "--config-file",
            action="append",
            metavar="PATH",
            help="Configuration file, instead of the usual ones. "
            "May be repeated; later ones win.",
        )
        return parser

    def initialize_app(self, argv: list[str]) -> None:
        """Read the configuration."""
        args = config.file_arguments(self.options.config_file)
        self.conf = config.load(args, prog=PROGRAM)

    def open_database(self) -> "Database":
        """Return the configured database.

        :raises oslo_config.cfg.RequiredOptError: none is configured.
        """
        if not self.conf.database.connection:
            group = cfg.OptGroup("database")
            raise cfg.RequiredOptError("connection", group)
        # Only commands that use a database wait for SQLAlchemy.
        from images_service.store.sql import engine

        return engine.Database(self.conf)


class Command(command.Command):
    """A command; its help is its docstring, its options, and examples."""

    app: Manage
    # Command lines, without the program's name.
    examples: Sequence[str] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return a parser whose help keeps its lines."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        lines = [f"  {PROGRAM} {example}" for example in self.examples]
        # Two colons, for the documentation is made of it, too.
        parser.epilog = "\n".join(("examples::", "", *lines))
        return parser


class DatabaseCommand(Command):
    """A command that works on the configured database."""

    @property
    def database(self) -> "Database":
        """The database."""
        return self.app.open_database()

    @property
    def store(self) -> "SqlStore":
        """The store on it."""
        from images_service.store.sql.store import SqlStore

        return SqlStore(self.database)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return Manage().run(arguments or ["help"])
