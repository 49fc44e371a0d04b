# SPDX-License-Identifier: Apache-2.0
"""The conditions of rules, and how and, or, not join them.

oslo.policy parses a rule into a tree of checks. The leaves are conditions,
such as ``role:member``; ``rule:NAME`` stands for another rule.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import graphlib
import re
from typing import NamedTuple
from typing import TYPE_CHECKING
from typing import TypeAlias

from oslo_policy import policy

if TYPE_CHECKING:
    from oslo_policy._checks import BaseCheck

AnyCheck: TypeAlias = "BaseCheck"
Checks: TypeAlias = Mapping[str, AnyCheck]

# Maximum number of rules that a rule refers to; operators need three or four.
_MOST = 100
_ATTRIBUTE = re.compile(r"%\(([^)]*)\)")
_WHOLE = re.compile(r"%\((\w+)\)s")


def parts(check: AnyCheck) -> Sequence[AnyCheck]:
    """Return the checks that a check joins, none if it is a condition."""
    if isinstance(check, policy.AndCheck | policy.OrCheck):
        return check.rules
    return [check.rule] if isinstance(check, policy.NotCheck) else []


def conditions(check: AnyCheck) -> Iterator[AnyCheck]:
    """Yield the conditions of a check."""
    joined = parts(check)
    for part in joined:
        yield from conditions(part)
    if not joined:
        yield check


def rebuilt(
    check: AnyCheck, change: Callable[[AnyCheck], AnyCheck]
) -> AnyCheck:
    """Return a check with each of its conditions changed."""
    changed = [rebuilt(part, change) for part in parts(check)]
    if isinstance(check, policy.AndCheck | policy.OrCheck):
        return type(check)(changed)
    if isinstance(check, policy.NotCheck):
        # oslo.policy's type hint forbids checks that its own parser puts here.
        return policy.NotCheck(changed[0])  # type: ignore[arg-type]
    return change(check)


def is_own(condition: AnyCheck) -> bool:
    """Tell whether oslo.policy evaluates a condition without a service."""
    return type(condition).__module__ == policy.Check.__module__


def looks_at(condition: AnyCheck) -> list[str]:
    """Return the attributes of a target that a condition reads."""
    return _ATTRIBUTE.findall(str(condition))


def compares_with(condition: AnyCheck) -> str:
    """Return the only attribute of a target that a condition compares with.

    :returns: "" if the condition compares with anything else.
    """
    found = _WHOLE.fullmatch(str(condition).partition(":")[2])
    return found[1] if found else ""


def references(check: AnyCheck) -> list[str]:
    """Return the names of the rules that a check refers to."""
    return [
        condition.match
        for condition in conditions(check)
        if isinstance(condition, policy.RuleCheck)
    ]


def expanded(checks: Checks, name: str) -> AnyCheck:
    """Return a rule's check; checks of other rules replace the references."""
    return rebuilt(
        checks[name],
        lambda condition: (
            expanded(checks, condition.match)
            if isinstance(condition, policy.RuleCheck)
            else condition
        ),
    )


def reach(checks: Checks) -> dict[str, list[str]]:
    """Return, by rule, the names of the rule and of all that it refers to.

    :raises graphlib.CycleError: a rule refers to itself. The last argument has
        the names, each of which refers to the next one.
    :raises RecursionError: a rule refers to too many; the argument names it.
    """
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, check in checks.items():
        sorter.add(name)
        for reference in references(check):
            sorter.add(reference, name)
    found: dict[str, list[str]] = {}
    for name in reversed([*sorter.static_order()]):
        names = {n for each in references(checks[name]) for n in found[each]}
        if len(names) > _MOST:
            raise RecursionError(name)
        found[name] = [name, *sorted(names)]
    return found


def attributes(checks: Checks, names: Iterable[str]) -> tuple[str, ...] | None:
    """Return the attributes of a target that some rules read.

    None if the result depends on more than rules, target and caller: on a
    remote service or a plug-in.
    """
    found: set[str] = set()
    for name in names:
        for condition in conditions(checks[name]):
            if not is_own(condition):
                return None
            found.update(looks_at(condition))
    return tuple(sorted(found))


class Explanation(NamedTuple):
    """The result of a check, and of the checks that it joins or refers to."""

    text: str
    passes: bool
    note: str = ""
    parts: Sequence["Explanation"] = ()

    def why(self) -> str:
        """Return the conditions that decide, with ``not`` if they fail."""
        return " and ".join(dict.fromkeys(self._deciding()))

    def _deciding(self) -> Iterator[str]:
        if not self.parts:
            constant = self.text in ("@", "!")
            yield self.text if self.passes or constant else f"not {self.text}"
            return
        parts = self.parts
        if self.text in ("and", "or"):
            # One part is enough for "and" to fail, and for "or" to pass.
            enough = self.passes == (self.text == "or")
            parts = [part for part in parts if part.passes == self.passes]
            parts = parts[:1] if enough else parts
        for part in parts:
            yield from part._deciding()

    def lines(self) -> list[str]:
        """Return a line for the check, and one for each part."""
        verdict = "passes" if self.passes else "fails "
        note = f"  ({self.note})" if self.note else ""
        below = [line for part in self.parts for line in part.lines()]
        return [
            f"{verdict}  {self.text}{note}",
            *[f"  {line}" for line in below],
        ]


def explain(
    check: AnyCheck,
    checks: Checks,
    ask: Callable[[AnyCheck], Explanation],
) -> Explanation:
    """Evaluate all conditions of a check, even if the result is certain.

    :param ask: evaluates a condition.
    """
    below = parts(check)
    if isinstance(check, policy.RuleCheck):
        below = [checks[check.match]]
    found = [explain(part, checks, ask) for part in below]
    results = [part.passes for part in found]
    match check:
        case policy.RuleCheck():
            return Explanation(str(check), results[0], "", found)
        case policy.AndCheck():
            return Explanation("and", all(results), "", found)
        case policy.OrCheck():
            return Explanation("or", any(results), "", found)
        case policy.NotCheck():
            return Explanation("not", not results[0], "", found)
    return ask(check)
