# SPDX-License-Identifier: Apache-2.0
"""images-service-manage policy …: what the policy files say."""

import argparse
from typing import Any

from cliff import lister

from images_service import context
from images_service import errors
from images_service import model
from images_service.cmd.manage import Command
from images_service.cmd.manage import DatabaseCommand
from images_service.policy import enforcer
from images_service.policy import rules
from images_service.policy.snapshot import Snapshot


class Check(Command):
    """Tell whether a policy file can be taken, and what is wrong with it.

    Without FILE, the configured files are checked, as a service does that
    starts.
    """

    examples = ("policy check", "policy check /etc/images_service/policy.json")

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


class List(Command, lister.Lister):
    """List the rules: their defaults, what is in force, and where from."""

    examples = ("policy list",)

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


class Explain(DatabaseCommand):
    """Tell why a rule allows a caller something, or doesn't.

    Prints the rule, every condition that it is made of, and what becomes of
    each. Without --image it is asked about an image of the caller's own
    project of which nothing else is known. The exit status is 0 where the
    rule allows it, else 1.
    """

    examples = (
        "policy explain images:delete --roles member,reader --project "
        "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1 --image "
        "0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the question."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "rule",
            metavar="RULE",
            help="as policy list has it; os_compute_api: may be left out",
        )
        parser.add_argument(
            "--roles",
            default="",
            metavar="ROLE[,ROLE…]",
            help="the caller's roles (default: none)",
        )
        parser.add_argument(
            "--project", required=True, metavar="ID", help="the caller's"
        )
        parser.add_argument("--user", metavar="ID", help="the caller's")
        parser.add_argument("--image", metavar="ID", help="the target")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Explain; return the exit status."""
        policy = enforcer.Policy(self.app.conf)
        rule = _known(policy, parsed_args.rule)
        roles = [role.strip() for role in parsed_args.roles.split(",")]
        caller = context.RequestContext(
            user_id=parsed_args.user,
            project_id=parsed_args.project,
            roles=[role for role in roles if role],
            overwrite=False,
        )
        target: dict[str, Any] = {"project_id": caller.project_id}
        if parsed_args.image is not None:
            viewer = model.Viewer(parsed_args.project, policy.is_admin(caller))
            try:
                image = self.store.get(parsed_args.image, viewer)
            except errors.ImageNotFound:
                raise errors.ImageNotFound(
                    f"The caller sees no image {parsed_args.image}: the "
                    "answer is 404, before policy is asked."
                ) from None
            target = enforcer.target_of(image)
        explanation = policy.explain(rule, caller, target)
        source, text = policy.sources[rule]
        print(f'{rule}: "{text}"\n  from: {source}')
        values = (f"{name}={value}" for name, value in target.items())
        print(f"  target: {' '.join(values)}\n")
        print("\n".join(explanation.lines()))
        return int(not explanation.passes)


def _known(policy: enforcer.Policy, name: str) -> str:
    """Return a rule's whole name.

    :raises ValueError: there is no such rule.
    """
    for known in (name, f"os_compute_api:{name}"):
        if known in policy.sources:
            return known
    raise ValueError(
        f"there is no rule {name}; there are: {', '.join(policy.sources)}"
    )
