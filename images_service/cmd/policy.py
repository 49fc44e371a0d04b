# SPDX-License-Identifier: Apache-2.0
"""images-service-manage policy …, and the rules for oslo.policy's commands."""

import argparse
from collections.abc import Mapping
import os
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
from images_service.cmd.manage import open_log
from images_service.policy import enforcer
from images_service.policy import loader
from images_service.policy import mistakes
from images_service.policy import refusals
from images_service.policy import rules

_REQUEST = "req-5b0d8a1e-3173-4151-9da6-b1a9b4c55f8e"


def enforcer_for_tools() -> oslo_policy.Enforcer:
    """Return an enforcer with the rules and the policy file.

    oslo.policy's commands call this function, by its entry point. They parse
    their command line into the process-wide configuration, and read the policy
    file's name from it.
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


def snapshot_of(conf: cfg.ConfigOpts, path: str | None) -> enforcer.Snapshot:
    """Return the rules of a file, or of a folder's files; log the warnings.

    :param path: None for the configured files.
    :raises FileError: a file cannot be used.
    """
    if path is None:
        return enforcer.Policy(conf, routes.list_rules()).value
    contents = {file: files.read(file) for file in loader.paths_at(conf, path)}
    snapshot = enforcer.Snapshot(conf, routes.list_rules(), contents)
    snapshot.log_warnings()
    return snapshot


class Check(Command):
    """Check a policy file as a service does at start.

    Without FILE, the configured files are checked. FILE may be a folder, with
    policy.json or policy.yaml and policy.d. The command prints what has no
    effect, such as a rule that a later file replaces. A condition that can
    never pass is an error here; a service accepts it with a warning.
    """

    examples = ("policy check", "policy check /etc/images_service/policy.json")
    arguments = {"file": {"metavar": "FILE", "nargs": "?"}}

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        conf, path = self.app.conf, parsed_args.file
        snapshot = snapshot_of(conf, path)
        paths = loader.paths_at(conf, path)
        for text in loader.overridden(
            {each: files.read(each) for each in paths}
        ):
            print(text)
        for name, check in snapshot.checks.items():
            rule = snapshot.rules[name]
            for condition in mistakes.without_effect(check):
                if rule.line is not None:
                    print(rule.error(f": {condition} has no effect"))
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
    known; context_is_admin has no target. With --request it tells why a
    request was answered 403, from the log of the service, and what the present
    rules say. The exit status is 0 if the rule allows it, else 1.
    """

    examples = (
        "policy explain images:delete --roles member,reader --project "
        "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1 --image "
        "0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",
        f"policy explain --request {_REQUEST} --from /var/log/images.log",
    )
    arguments = {
        "rule": {
            "metavar": "RULE",
            "nargs": "?",
            "help": "as policy list has it; os_compute_api: may be left out",
        },
        "--roles": {
            "default": "",
            "metavar": "ROLE[,ROLE…]",
            "help": "the caller's roles (default: none)",
        },
        "--project": {"metavar": "ID", "help": "the caller's"},
        "--user": {"metavar": "ID", "help": "the caller's"},
        "--image": {"metavar": "ID", "help": "the target"},
        "--request": {
            "metavar": "ID",
            "help": "X-OpenStack-Request-ID of an answer 403, instead of RULE",
        },
        # cliff takes --log for its own --log-file.
        "--from": {
            "metavar": "PATH",
            "dest": "log",
            "help": "the log of the request, - for standard input (default: "
            "[DEFAULT] log_file)",
        },
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        if parsed_args.request is not None:
            return self._explain_request(parsed_args)
        if parsed_args.rule is None or parsed_args.project is None:
            raise ValueError("give RULE and --project, or --request")
        policy = enforcer.Policy(self.app.conf, routes.list_rules())
        rule = _known(policy.value, parsed_args.rule)
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
        return _explained(policy.value, rule, caller, target)

    def _explain_request(self, parsed_args: argparse.Namespace) -> int:
        found = self._refusal(parsed_args.request, parsed_args.log)
        print(f"{found.action} was refused: {found.why}")
        print(f"  caller: {_listed(found.caller)}")
        if found.target is None:
            # No rule decides about protection and quotas.
            return 1
        print(f"  target: {_listed(found.target)}\n\nThe present rules:\n")
        snapshot = enforcer.Policy(self.app.conf, routes.list_rules()).value
        caller = context.RequestContext(**found.caller, overwrite=False)
        rule = _known(snapshot, found.action)
        return _explained(snapshot, rule, caller, found.target)

    def _refusal(self, request_id: str, path: str | None) -> refusals.Refusal:
        """Return the refusal of a request from the log.

        :raises ValueError: no log is known, or the log lacks the refusal.
        """
        conf = self.app.conf
        if path is None and conf.log_file:
            path = os.path.join(conf.log_dir or "", conf.log_file)
        if path is None:
            raise ValueError(
                "[DEFAULT] log_file is not set: give --from PATH, or - for "
                "standard input"
            )
        with open_log(path) as lines:
            found = refusals.find(lines, request_id)
        if found is None:
            raise ValueError(
                f"{path} has no refusal of request {request_id}; the log must "
                "have lines of level INFO"
            )
        return found


def _explained(
    snapshot: enforcer.Snapshot,
    rule: loader.Rule,
    caller: context.RequestContext,
    target: Mapping[str, Any],
) -> int:
    """Print why a rule allows or refuses an action; return the exit status."""
    explanation = snapshot.explain(rule.name, caller, target)
    print(f'{rule.name}: "{rule.text}"\n  from: {rule.source}')
    print(f"  target: {_listed(target)}\n")
    print("\n".join(explanation.lines()))
    if rule.name == rules.CONTEXT_IS_ADMIN and snapshot.holds_for_everyone:
        print(f"\n{enforcer.EVERYONE}")
        return 1
    return int(not explanation.passes)


def _listed(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in values.items()
    )


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
