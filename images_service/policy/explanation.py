# SPDX-License-Identifier: Apache-2.0
"""Why a rule allows a caller something, or doesn't."""

from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import TYPE_CHECKING

from oslo_policy import policy

from images_service import context
from images_service.policy import expressions

if TYPE_CHECKING:
    from oslo_policy._checks import BaseCheck

_WORDS = {policy.AndCheck: "and", policy.OrCheck: "or", policy.NotCheck: "not"}


@dataclasses.dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a check, and of the checks that it is made of.

    :param text: a condition as the rule has it, or ``and``, ``or``, ``not``.
    :param passes: whether it does.
    :param note: what else there is to know of a condition.
    :param parts: of a join or of the rule that a condition refers to.
    """

    text: str
    passes: bool
    note: str = ""
    parts: tuple["Explanation", ...] = ()

    def lines(self, depth: int = 0) -> list[str]:
        """Return the explanation as text, a line for each check."""
        verdict = "passes" if self.passes else "fails "
        note = f"  ({self.note})" if self.note else ""
        line = f"{'  ' * depth}{verdict}  {self.text}{note}"
        return [
            line,
            *(line for part in self.parts for line in part.lines(depth + 1)),
        ]


def explain(
    enforcer: policy.Enforcer,
    rule: str,
    caller: context.RequestContext,
    target: Mapping[str, Any],
) -> Explanation:
    """Ask every condition of a rule, also those that no longer matter.

    :param enforcer: with the rules in force.
    """
    question = _Question(enforcer, rule, dict(target), caller)
    answer = question.ask(policy.RuleCheck("rule", rule))
    # What counts is what a request is told. That the token isn't for a
    # project, or that a condition before the deciding one can't be asked,
    # stands in no condition.
    note = ""
    try:
        passes = enforcer.enforce(
            rule, dict(target), caller.to_policy_values(), do_raise=True
        )
    except policy.PolicyNotAuthorized:
        passes = False
    except Exception as error:
        passes, note = False, f"{type(error).__name__}: {error}"
    return dataclasses.replace(answer, passes=bool(passes), note=note)


class _Question:
    """One rule, one caller, one target."""

    def __init__(
        self,
        enforcer: policy.Enforcer,
        rule: str,
        target: dict[str, Any],
        caller: context.RequestContext,
    ) -> None:
        self._enforcer = enforcer
        self._rule = rule
        self._target = target
        self._values = caller.to_policy_values()

    def ask(self, check: "BaseCheck") -> Explanation:
        """Return what becomes of a check."""
        if isinstance(check, policy.RuleCheck):
            part = self.ask(self._enforcer.rules[check.match])
            return Explanation(str(check), part.passes, "", (part,))
        parts = tuple(map(self.ask, expressions.parts(check)))
        if not parts:
            return self._ask_condition(check)
        passing = [part.passes for part in parts]
        word = _WORDS[type(check)]
        joined = {
            "and": all(passing),
            "or": any(passing),
            "not": not passing[0],
        }
        return Explanation(word, joined[word], "", parts)

    def _ask_condition(self, check: "BaseCheck") -> Explanation:
        try:
            # Joined, since oslo.policy then knows which arguments a plug-in's
            # check takes.
            passes = policy.AndCheck([check])(
                self._target, self._values, self._enforcer, self._rule
            )
        except Exception as error:
            # A remote service that doesn't answer, most likely.
            note = f"{type(error).__name__}: {error}"
            return Explanation(str(check), False, note)
        return Explanation(str(check), bool(passes), self._note(check))

    def _note(self, check: "BaseCheck") -> str:
        """Say what a condition compares with, where the target says it."""
        text = str(check)
        if "%(" not in text:
            return ""
        try:
            return f"here {text % self._target}"
        except KeyError as error:
            return f"the target has no {error.args[0]}"
        except (TypeError, ValueError):
            return ""
