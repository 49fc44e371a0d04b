# SPDX-License-Identifier: Apache-2.0
"""All rules at one moment, and the decisions that were made by them."""

from collections.abc import Mapping
import re
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from images_service import context
from images_service.policy import files
from images_service.policy import rules

# Decisions that are remembered; then they are all forgotten.
_DECISIONS = 10_000
_ATTRIBUTE = re.compile(r"%\(([^)]*)\)s")
# Checks that ask something outside may answer differently the next time.
_REMOTE = re.compile(r"\bhttps?:")


class Snapshot:
    """Rules that don't change any more.

    Made off to the side and put in place as a whole, so that no decision is
    ever made by half of an edit.

    :param paths: policy files, of which later ones win.
    :raises files.PolicyFileError: one of them can't be taken.
    """

    def __init__(self, conf: cfg.ConfigOpts, paths: list[str]) -> None:
        # Rule -> (where from, text), the defaults first.
        self.sources: dict[str, tuple[str, str]] = {}
        defaults = rules.list_rules()
        for default in defaults:
            self.sources[default.name] = ("default", default.check_str)
        for path in paths:
            for name, text in files.read(path).items():
                self.sources[name] = (path, text)
        known = {default.name for default in defaults}
        self._check_names(known)
        self._enforcer = policy.Enforcer(conf, use_conf=False)
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(defaults)
        checks = policy.Rules.from_dict(
            {name: text for name, (_, text) in self.sources.items()}
        )
        self._check_texts(checks)
        self._enforcer.set_rules(checks, overwrite=True, use_conf=False)
        self._check_cycles()
        texts = [text for _, text in self.sources.values()]
        # What of a target any rule looks at; nothing else can matter.
        used = {name for text in texts for name in _ATTRIBUTE.findall(text)}
        self._attributes = tuple(sorted(used))
        self._remembers = not any(map(_REMOTE.search, texts))
        self._decisions: dict[Any, bool] = {}

    def allows(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> bool:
        """Tell whether a rule allows a caller something.

        The same question has the same answer as long as the snapshot lives,
        and is remembered.
        """
        if not self._remembers:
            return self._decide(rule, caller, target)
        question = (
            rule,
            caller.user_id,
            caller.project_id,
            caller.domain_id,
            caller.user_domain_id,
            caller.project_domain_id,
            caller.system_scope,
            caller.is_admin_project,
            tuple(caller.roles),
            caller.service_user_id,
            caller.service_project_id,
            caller.service_user_domain_id,
            caller.service_project_domain_id,
            tuple(caller.service_roles),
            *[target.get(name, _MISSING) for name in self._attributes],
        )
        answer = self._decisions.get(question)
        if answer is None:
            answer = self._decide(rule, caller, target)
            if len(self._decisions) >= _DECISIONS:
                self._decisions.clear()
            self._decisions[question] = answer
        return answer

    def _decide(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> bool:
        try:
            return bool(
                self._enforcer.authorize(
                    rule, dict(target), caller.to_policy_values()
                )
            )
        except policy.InvalidScope:
            return False

    def _check_names(self, known: set[str]) -> None:
        """Refuse rules that lock nothing, and references to none."""
        used = set(known)
        for name, (path, text) in self.sources.items():
            for reference in files.references(text):
                used.add(reference)
                if reference not in self.sources:
                    raise files.PolicyFileError(
                        path,
                        files.line_of(path, name),
                        f"rule {name} refers to {reference}, which is not "
                        "defined",
                    )
        for name, (path, _) in self.sources.items():
            if name not in used:
                raise files.PolicyFileError(
                    path,
                    files.line_of(path, name),
                    f"rule {name} is unknown: no action is called so, and no "
                    "rule refers to it",
                )

    def _check_texts(self, checks: policy.Rules) -> None:
        """Refuse rules that oslo.policy takes for "nobody" in its despair."""
        for name, (path, text) in self.sources.items():
            if str(checks[name]) == "!" and text.strip("() ") != "!":
                raise files.PolicyFileError(
                    path,
                    files.line_of(path, name),
                    f"rule {name} can't be understood: {text!r}",
                )

    def _check_cycles(self) -> None:
        """Refuse rules that refer to themselves, in however many steps."""
        try:
            self._enforcer.check_rules(raise_on_violation=True)
        except policy.InvalidDefinitionError as error:
            for name, (path, _) in self.sources.items():
                if name in str(error):
                    raise files.PolicyFileError(
                        path,
                        files.line_of(path, name),
                        f"rule {name} refers to itself",
                    ) from error
            raise


_MISSING = object()
