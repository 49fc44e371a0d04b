# SPDX-License-Identifier: Apache-2.0
"""images-service-manage policy …, and what oslo.policy's commands load."""

import argparse
from typing import Any

from cliff import lister
from oslo_config import cfg
from oslo_policy import opts
from oslo_policy import policy as oslo_policy

from images_service import config
from images_service import context
from images_service import exception
from images_service import files
from images_service import model
from images_service.api import routes
from images_service.cmd.manage import Command
from images_service.cmd.manage import DatabaseCommand
from images_service.policy import enforcer
from images_service.policy import loader
from images_service.policy import rules


def enforcer_for_tools() -> oslo_policy.Enforcer:
    """Return an enforcer that knows the rules and the policy file.

    An entry point of oslo.policy's commands, in processes of their own. They
    parse their command line into the process-wide configuration and read the
    policy file's name from there.
    """
    tool: cfg.ConfigOpts = cfg.CONF
    conf = config.load(config.file_arguments(tool.config_file))
    opts.set_defaults(tool)
    path = loader.main_file(conf)
    if path is not None:
        tool.set_override("policy_file", path, group="oslo_policy")
    tool.set_override(
        "policy_dirs", conf.oslo_policy.policy_dirs, group="oslo_policy"
    )
    found = oslo_policy.Enforcer(tool)
    found.register_defaults(routes.list_rules())
    return found


class Check(Command):
    """Check a policy file as a service does that starts.

    Without FILE, the configured files are checked. A condition that can never
    pass is an error here; a service accepts it with a warning.
    """

    examples = ("policy check", "policy check /etc/images_service/policy.json")
    arguments = {"file": {"metavar": "FILE", "nargs": "?"}}

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        conf, path = self.app.conf, parsed_args.file
        if path is None:
            snapshot = enforcer.Policy(conf, routes.list_rules()).value
        else:
            snapshot = enforcer.Snapshot(
                conf, routes.list_rules(), {path: files.read(path)}
            )
            snapshot.log_warnings()
        if snapshot.mistakes:
            return 1
        print("The policy is good.")
        return 0


class List(Command, lister.Lister):
    """List the rules: their defaults, what is in effect, and where from."""

    examples = ("policy list",)

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        policy = enforcer.Policy(self.app.conf, routes.list_rules())
        defaults = {rule.name: rule.check_str for rule in routes.list_rules()}
        return ("rule", "default", "in force", "from"), [
            (rule.name, defaults.get(rule.name), rule.text, rule.source)
            for rule in policy.value.rules.values()
        ]


class Explain(DatabaseCommand):
    """Tell why a rule allows a caller something, or does not.

    Prints the rule, and the result of every condition. Without --image the
    target is an image of the caller's own project of which nothing else is
    known; context_is_admin has no target. The exit status is 0 if the rule
    allows it, else 1.
    """

    examples = (
        "policy explain images:delete --roles member,reader --project "
        "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1 --image "
        "0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",
    )
    arguments = {
        "rule": {
            "metavar": "RULE",
            "help": "as policy list has it; os_compute_api: may be left out",
        },
        "--roles": {
            "default": "",
            "metavar": "ROLE[,ROLE…]",
            "help": "the caller's roles (default: none)",
        },
        "--project": {
            "required": True,
            "metavar": "ID",
            "help": "the caller's",
        },
        "--user": {"metavar": "ID", "help": "the caller's"},
        "--image": {"metavar": "ID", "help": "the target"},
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        policy = enforcer.Policy(self.app.conf, routes.list_rules())
        snapshot = policy.value
        rule = _known(snapshot, parsed_args.rule)
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
            except exception.ImageNotFound:
                raise exception.ImageNotFound(
                    f"The caller sees no image {parsed_args.image}: the "
                    "answer is 404, before policy is asked."
                ) from None
            target = enforcer.target_of(image)
        if rule.name == rules.CONTEXT_IS_ADMIN:
            target = {}
        explanation = snapshot.explain(rule.name, caller, target)
        print(f'{rule.name}: "{rule.text}"\n  from: {rule.source}')
        values = (f"{name}={value}" for name, value in target.items())
        print(f"  target: {' '.join(values)}\n")
        print("\n".join(explanation.lines()))
        if rule.name == rules.CONTEXT_IS_ADMIN and snapshot.holds_for_everyone:
            print(f"\n{enforcer.EVERYONE}")
            return 1
        return int(not explanation.passes)


def _known(snapshot: enforcer.Snapshot, name: str) -> loader.Rule:
    """Return a rule by its name, with or without ``os_compute_api:``.

    :raises ValueError: there is no such rule.
    """
    for known in (name, f"os_compute_api:{name}"):
        if known in snapshot.rules:
            return snapshot.rules[known]
    raise ValueError(
        f"there is no rule {name}; there are: {', '.join(snapshot.rules)}"
    )
