# SPDX-License-Identifier: Apache-2.0
"""Loads rules from policy files; errors name the file, the line and the rule.

oslo.policy treats a broken file as an empty one, a mistyped name as another
rule, and null as a rule that allows everyone.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import graphlib
import os
from typing import NamedTuple

from oslo_config import cfg
from oslo_policy import policy

from images_service import config
from images_service import files
from images_service.files import FileError
from images_service.policy import expressions
from images_service.policy import mistakes

# Returns the path of a file by its name, None if there is none.
Find = Callable[[str], str | None]

# The source of a rule that no file defines.
DEFAULT = "default"


class Rule(NamedTuple):
    """A rule's text, and where it is defined.

    :param source: the file, or ``default``.
    """

    name: str
    source: str
    line: int | None
    text: str

    def error(self, problem: str) -> FileError:
        """Return an error that names the rule and its place."""
        return FileError(self.source, self.line, f"rule {self.name}{problem}")


def main_file(conf: cfg.ConfigOpts) -> str | None:
    """Return the path of the policy file, None if there is none.

    :raises FileError: the named file does not exist, or none is named, and
        both policy.json and policy.yaml exist.
    """
    name: str = conf.oslo_policy.policy_file
    location = conf.get_location("policy_file", "oslo_policy")
    if location and location.location.is_user_controlled:
        path = config.find_file(conf, name)
        if path is None:
            raise FileError(name, None, "there is no such file")
        return path
    return _either(conf.find_file) or config.find_file(conf, name)


def _either(find: Find) -> str | None:
    """Return the path of policy.json or policy.yaml.

    :raises FileError: both files exist.
    """
    json, yaml = map(find, ("policy.json", "policy.yaml"))
    if json and yaml:
        raise FileError(
            f"{json}, {yaml}",
            None,
            "both are there; name one in [oslo_policy] policy_file",
        )
    return json or yaml


def paths(conf: cfg.ConfigOpts, main: str | None) -> list[str]:
    """Return the policy files, without hidden files and folders in folders.

    :param main: the policy file that existed at start.
    :raises FileError: a folder of policy files cannot be read.
    """
    return _beside(main or main_file(conf), conf, conf.find_file)


def paths_at(conf: cfg.ConfigOpts, path: str | None) -> list[str]:
    """Return a file, or the policy files of a folder as a service reads them.

    :param path: None for the configured files.
    :raises FileError: there is no policy file, or a folder cannot be read.
    """
    if path is None:
        return paths(conf, None)
    if not os.path.isdir(path):
        return [path]

    def find(name: str) -> str | None:
        inside = os.path.join(path, name)
        return inside if os.path.exists(inside) else None

    found = _beside(_either(find), conf, find)
    if not found:
        raise FileError(path, None, "the folder has no policy files")
    return found


def _beside(path: str | None, conf: cfg.ConfigOpts, find: Find) -> list[str]:
    found = [path] if path else []
    folders = map(find, conf.oslo_policy.policy_dirs)
    for folder in filter(None, folders):
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise FileError(folder, None, str(error)) from error
        for name in names:
            path = os.path.join(folder, name)
            if not name.startswith(".") and not os.path.isdir(path):
                found.append(path)
    return found


def load(
    defaults: Sequence[policy.RuleDefault], contents: Mapping[str, bytes]
) -> dict[str, Rule]:
    """Return the rules by name; later files win.

    :raises FileError: a file is not a map of names to rules.
    """
    rules = {
        default.name: Rule(default.name, DEFAULT, None, default.check_str)
        for default in defaults
    }
    for path, content in contents.items():
        for name, (line, text) in files.parse_map(path, content).items():
            rule = rules[name] = Rule(name, path, line, text)
            if text is None:
                raise rule.error(
                    ' is null, which would allow everyone; write "" or "@" if '
                    "that is meant, or leave the rule out"
                )
            if not isinstance(text, str):
                raise rule.error(" is not a string")
    return rules


def overridden(contents: Mapping[str, bytes]) -> list[str]:
    """Return a sentence for each rule of a file that a later one replaces."""
    found: dict[str, Rule] = {}
    problems = []
    for path, content in contents.items():
        for name, (line, text) in files.parse_map(path, content).items():
            if name in found:
                problem = f" has no effect: {path}:{line} replaces it"
                problems.append(str(found[name].error(problem)))
            found[name] = Rule(name, path, line, text)
    return problems


def parse(
    rules: Mapping[str, Rule],
    defaults: Sequence[policy.RuleDefault],
    enforcer: policy.Enforcer,
) -> dict[str, expressions.AnyCheck]:
    """Return the rules' checks, after tests that they can be evaluated.

    :raises FileError: a rule cannot be evaluated, or is unknown.
    """
    checks = {name: _parse(rule, enforcer) for name, rule in rules.items()}
    used = {default.name for default in defaults}
    for name, check in checks.items():
        for reference in expressions.references(check):
            used.add(reference)
            if reference not in rules:
                hint = mistakes.did_you_mean(reference, rules)
                raise rules[name].error(
                    f" refers to {reference}, which is not defined{hint}"
                )
    for name, rule in rules.items():
        if name not in used:
            hint = mistakes.did_you_mean(name, sorted(used))
            raise rule.error(
                " is unknown: no action has this name, and no rule refers to "
                f"it{hint}"
            )
    try:
        expressions.reach(checks)
    except graphlib.CycleError as error:
        cycle = error.args[1]
        # Only a rule in a file can be fixed.
        name = next(name for name in cycle if rules[name].source != DEFAULT)
        problem = f" refers to itself: {' → '.join(cycle)}"
        raise rules[name].error(problem) from None
    except RecursionError as error:
        raise rules[error.args[0]].error(" refers to too many rules") from None
    return checks


def _parse(rule: Rule, enforcer: policy.Enforcer) -> expressions.AnyCheck:
    try:
        mistakes.check_syntax(rule.text)
        check = policy.RuleDefault(rule.name, rule.text).check
    except ValueError as error:
        problem = f" can't be understood: {rule.text!r}: {error}"
        raise rule.error(problem) from None
    for condition in expressions.conditions(check):
        if not mistakes.can_be_asked(condition, enforcer):
            raise rule.error(f" can't be understood: {str(condition)!r}")
    return check
