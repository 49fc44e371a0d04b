# SPDX-License-Identifier: Apache-2.0
"""images-service-manage policy …: what the policy files say."""

import argparse
from typing import Any

from cliff import command
from cliff import lister

from images_service.cmd.manage import Manage
from images_service.policy import enforcer
from images_service.policy import rules
from images_service.policy.snapshot import Snapshot


class Check(command.Command):
    """Tell whether a policy file can be taken, and what is wrong with it.

    Without FILE, the configured files are checked, as a service does that
    starts.
    """

    app: Manage

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the file."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="FILE", nargs="?")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Check it; the exit status is 1 where it can't be taken."""
        if parsed_args.file is None:
            enforcer.Policy(self.app.conf)
        else:
            Snapshot(self.app.conf, [parsed_args.file])
        print("The policy is good.")


class List(lister.Lister):
    """List the rules: their defaults, what is in force, and where from."""

    app: Manage

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return the columns and a row for each rule."""
        policy = enforcer.Policy(self.app.conf)
        defaults = {rule.name: rule.check_str for rule in rules.list_rules()}
        return ("rule", "default", "in force", "from"), [
            (name, defaults.get(name), text, source)
            for name, (source, text) in policy.sources.items()
        ]
