# SPDX-License-Identifier: Apache-2.0
"""All rules at one moment, and the decisions that were made by them."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_log import log
from oslo_policy import policy

from images_service import context
from images_service.policy import explanation
from images_service.policy import expressions
from images_service.policy import files
from images_service.policy import rules
from images_service.watched import FileError

LOG = log.getLogger(__name__)

EVERYBODY = (
    f"{rules.CONTEXT_IS_ADMIN} holds for everybody, so it makes nobody an "
    "administrator. Name a role there."
)
# Decisions that are remembered; then they are all forgotten.
_DECISIONS = 10_000
_MISSING = object()


class Snapshot:
    """Rules that don't change any more.

    Made off to the side and put in place as a whole, so that no decision is
    ever made by half of an edit.

    :param paths: policy files, of which later ones win.
    :raises FileError: one of them can't be taken.
    """

    def __init__(self, conf: cfg.ConfigOpts, paths: list[str]) -> None:
        # Rule -> (where from, text), the defaults first.
        self.sources: dict[str, tuple[str, str]] = {}
        defaults = rules.list_rules()
        for default in defaults:
            self.sources[default.name] = ("default", default.check_str)
        self._lines: dict[str, int | None] = {}
        for path in paths:
            for name, (line, text) in files.read(path).items():
                self.sources[name] = (path, text)
                self._lines[name] = line
        self._rules = policy.Rules.from_dict(
            {name: text for name, (_, text) in self.sources.items()}
        )
        self._check_texts()
        self._check_names({default.name for default in defaults})
        self._check_cycles()
        self._enforcer = policy.Enforcer(conf, use_conf=False)
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(defaults)
        self._enforcer.set_rules(self._rules, overwrite=True, use_conf=False)
        # What of a target each rule looks at; nothing else of it can matter.
        # None where an answer must not be remembered.
        self._attributes = {
            default.name: expressions.attributes(self._rules, default.name)
            for default in defaults
        }
        self._decisions: dict[Any, bool] = {}
        nobody = context.RequestContext(overwrite=False)
        admin = rules.CONTEXT_IS_ADMIN
        known = self._attributes[admin] is not None
        self.everybody_is_admin = known and self.allows(admin, nobody, {})
        if self.everybody_is_admin:
            LOG.warning(EVERYBODY)

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
        attributes = self._attributes[rule]
        if attributes is None:
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
            *[target.get(name, _MISSING) for name in attributes],
        )
        answer = self._decisions.get(question)
        if answer is None:
            answer = self._decide(rule, caller, target)
            if len(self._decisions) >= _DECISIONS:
                self._decisions.clear()
            self._decisions[question] = answer
        return answer

    def explain(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> explanation.Explanation:
        """Tell why a rule allows a caller something, or doesn't."""
        return explanation.explain(self._enforcer, rule, caller, target)

    def _decide(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> bool:
        return bool(
            self._enforcer.authorize(
                rule, dict(target), caller.to_policy_values()
            )
        )

    def _check_texts(self) -> None:
        """Refuse rules that oslo.policy takes for "nobody" in its despair."""
        for name, (_, text) in self.sources.items():
            if str(self._rules[name]) == "!" and text.strip("() ") != "!":
                raise self._wrong(name, f"can't be understood: {text!r}")

    def _check_names(self, actions: set[str]) -> None:
        """Refuse rules that lock nothing, and references to none."""
        used = set(actions)
        for name, check in self._rules.items():
            for reference in expressions.references(check):
                used.add(reference)
                if reference not in self._rules:
                    raise self._wrong(
                        name, f"refers to {reference}, which is not defined"
                    )
        for name in self._rules:
            if name not in used:
                raise self._wrong(
                    name,
                    "is unknown: no action is called so, and no rule refers "
                    "to it",
                )

    def _check_cycles(self) -> None:
        """Refuse rules that refer to themselves, in however many steps."""
        try:
            way = expressions.cycle(self._rules)
        except RecursionError:
            raise self._wrong(
                next(reversed(self.sources)),
                "is one of too many that refer to each other in a row",
            ) from None
        if way:
            # One that stands in a file can be mended there.
            name = next(
                name for name in way if self.sources[name][0] != "default"
            )
            raise self._wrong(name, f"refers to itself: {' → '.join(way)}")

    def _wrong(self, name: str, problem: str) -> FileError:
        """Return the error that says what is wrong with a rule, and where."""
        path, _ = self.sources[name]
        return FileError(path, self._lines.get(name), f"rule {name} {problem}")
