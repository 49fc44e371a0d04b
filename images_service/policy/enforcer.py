# SPDX-License-Identifier: Apache-2.0
"""Decides whether a caller may do something."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log
from oslo_policy import policy

from images_service import model
from images_service.context import RequestContext
from images_service.files import Reloadable
from images_service.guard import Guard
from images_service.policy import expressions
from images_service.policy import loader
from images_service.policy import mistakes
from images_service.policy import remote
from images_service.policy import rules

LOG = log.getLogger(__name__)

EVERYONE = (
    f"{rules.CONTEXT_IS_ADMIN} holds for every caller, so it makes no caller "
    "an administrator. Name a role in it."
)
# Maximum number of cached decisions; a full cache is emptied.
_DECISIONS = 10_000
_MISSING = object()


class Snapshot:
    """The rules at one moment, and a cache of decisions by these rules.

    No decision mixes rules from before and after an edit.

    :param contents: contents of the policy files by path; later files win.
    :ivar checks: the rules by name, as oslo.policy has parsed them.
    :raises FileError: a file cannot be used.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        defaults: Sequence[policy.RuleDefault],
        contents: Mapping[str, bytes],
        guard: Guard | None = None,
    ) -> None:
        guard = guard or Guard(conf.oslo_policy.remote_timeout)
        self._enforcer = policy.Enforcer(conf, use_conf=False)
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(defaults)
        self.rules = loader.load(defaults, contents)
        checks = loader.parse(self.rules, defaults, self._enforcer)
        self.mistakes = [
            str(self.rules[name].error(f": {problem}"))
            for name, problem in mistakes.never_passing(checks, defaults)
        ]
        self.holds_for_everyone = mistakes.holds_for_everyone(
            checks, self._enforcer
        )
        self.warnings = [EVERYONE] * self.holds_for_everyone + self.mistakes
        self.checks = {
            name: remote.guarded(check, guard)
            for name, check in checks.items()
        }
        self._enforcer.set_rules(self.checks)
        self._attributes = {
            name: expressions.attributes(checks, reached)
            for name, reached in expressions.reach(checks).items()
        }
        self._decisions: dict[Any, bool] = {}

    def log_warnings(self) -> None:
        """Log the warnings."""
        for warning in self.warnings:
            LOG.warning("%s", warning)

    def lost_rules(self, new: "Snapshot") -> bool:
        """Tell whether rules of files are missing from a new snapshot."""
        old, kept = (
            {name for name, rule in snapshot.rules.items() if rule.line}
            for snapshot in (self, new)
        )
        return not old <= kept

    def allows(
        self, rule: str, caller: RequestContext, target: Mapping[str, Any]
    ) -> bool:
        """Tell whether a rule allows a caller's action.

        The decision is cached, unless the rule asks a remote service.

        :raises PolicyUnavailable: the rule asks a remote service, which gives
            no answer.
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

    def _decide(
        self, rule: str, caller: RequestContext, target: Mapping[str, Any]
    ) -> bool:
        return bool(
            self._enforcer.authorize(
                rule, dict(target), remote.Credentials(caller)
            )
        )

    def asks_remote(self, rule: str) -> bool:
        """Tell whether a remote service or a plug-in may decide a rule."""
        return self._attributes[rule] is None

    def refusal(
        self, rule: str, caller: RequestContext, target: Mapping[str, Any]
    ) -> str | None:
        """Return the conditions that refuse an action, None if it is allowed.

        :raises PolicyUnavailable: as ``allows`` does.
        """
        if self.allows(rule, caller, target):
            return None
        for remote_answer in (False, True):
            found = self._evaluated(rule, caller, target, remote_answer)
            if not found.passes:
                return found.why()
        return "remote services, or the scope of the token"

    def explain(
        self,
        rule: str,
        caller: RequestContext,
        target: Mapping[str, Any],
        remote_answer: bool | None = None,
    ) -> expressions.Explanation:
        """Tell why a rule allows or refuses a caller's action.

        :param remote_answer: assumed answer of remote services; None asks them
            and adds notes and URLs, which may contain secrets.
        """
        found = self._evaluated(rule, caller, target, remote_answer)
        if remote_answer is not None and self.asks_remote(rule):
            return found
        # A request's decision depends on the token's scope as well, and ends
        # at a condition that cannot be evaluated.
        note = ""
        try:
            passes = self._decide(rule, caller, target)
        except Exception as error:
            passes, note = False, _reason(error)
        return found._replace(passes=passes, note=note)

    def _evaluated(
        self,
        rule: str,
        caller: RequestContext,
        target: Mapping[str, Any],
        remote_answer: bool | None,
    ) -> expressions.Explanation:
        """Return the results of all conditions of a rule."""
        values, own_target = caller.to_policy_values(), dict(target)

        def ask(condition: expressions.AnyCheck) -> expressions.Explanation:
            if remote_answer is not None and isinstance(
                condition, remote.RemoteCheck
            ):
                return expressions.Explanation(condition.place, remote_answer)
            passes, note = False, ""
            try:
                passes = condition(own_target, values, self._enforcer, rule)
                if remote_answer is None:
                    note = _note(condition, target)
            except Exception as error:
                note = _reason(error)
            return expressions.Explanation(str(condition), passes, note)

        return expressions.explain(
            policy.RuleCheck("rule", rule), self.checks, ask
        )


def _note(condition: expressions.AnyCheck, target: Mapping[str, Any]) -> str:
    """Return why a condition never passes, or the values of its attributes."""
    text = str(condition)
    problem = mistakes.never_passes(condition, target)
    if problem or "%(" not in text:
        return problem
    try:
        return f"here {text % target}"
    except (TypeError, ValueError):
        # A plug-in's condition.
        return ""


def _reason(error: Exception) -> str:
    """Return why a condition cannot be evaluated."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"


class Policy(Reloadable[Snapshot]):
    """Decides by the rules of the policy files, else by their defaults.

    :param defaults: the rules that the service asks.
    :raises FileError: a named file does not exist, or a file cannot be used.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, defaults: Sequence[policy.RuleDefault]
    ) -> None:
        # A file that exists at start stays the policy file, also while it is
        # missing: another file must not replace it and allow more.
        main = loader.main_file(conf)
        guard = Guard(conf.oslo_policy.remote_timeout)
        super().__init__(
            "Policy",
            lambda: loader.paths(conf, main),
            lambda contents: Snapshot(conf, defaults, contents, guard),
            Snapshot.lost_rules,
            Snapshot.log_warnings,
        )

    def allows(
        self, rule: str, caller: RequestContext, target: Mapping[str, Any]
    ) -> bool:
        """Tell whether a rule allows a caller's action.

        :raises PolicyUnavailable: as ``Snapshot.allows`` does.
        """
        return self.value.allows(rule, caller, target)

    def is_admin(self, caller: RequestContext) -> bool:
        """Tell whether the caller sees the images of every project.

        A rule that holds for everyone is probably a mistake, so it makes no
        caller an administrator. The rule has no target: with the caller's own
        project as target, ``project_id:%(project_id)s`` would always hold.

        :raises PolicyUnavailable: as ``Snapshot.allows`` does.
        """
        snapshot = self.value
        return not snapshot.holds_for_everyone and snapshot.allows(
            rules.CONTEXT_IS_ADMIN, caller, {}
        )


def target_of(image: model.Image) -> dict[str, Any]:
    """Return the attributes of an image that rules can use."""
    return {
        "project_id": image.owner,
        "visibility": image.visibility,
        "status": image.status,
        "protected": image.protected,
        "image_id": image.id,
    }
