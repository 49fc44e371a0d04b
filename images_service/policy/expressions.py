# SPDX-License-Identifier: Apache-2.0
"""What a rule is made of: conditions, joined by and, or, not.

oslo.policy parses a rule into a tree of checks. Its leaves are conditions,
such as ``role:member``; ``rule:NAME`` is one that stands for another rule.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import re
from typing import TYPE_CHECKING

from oslo_policy import policy

if TYPE_CHECKING:
    from oslo_policy._checks import BaseCheck

# Rules that refer to each other in a row; people write three or four.
_DEEPEST = 100
_ATTRIBUTE = re.compile(r"%\(([^)]*)\)")


def parts(check: "BaseCheck") -> Sequence["BaseCheck"]:
    """Return the checks that a check joins, none where it is a condition."""
    if isinstance(check, policy.AndCheck | policy.OrCheck):
        return check.rules
    return [check.rule] if isinstance(check, policy.NotCheck) else []


def conditions(check: "BaseCheck") -> Iterator["BaseCheck"]:
    """Yield the conditions of a check."""
    joined = parts(check)
    for part in joined:
        yield from conditions(part)
    if not joined:
        yield check


def references(check: "BaseCheck") -> list[str]:
    """Return the names of the rules that a check refers to."""
    return [
        condition.match
        for condition in conditions(check)
        if isinstance(condition, policy.RuleCheck)
    ]


def cycle(rules: Mapping[str, "BaseCheck"]) -> list[str]:
    """Return names of rules of which each refers to the next.

    The last one is the first one again; none where no rule refers to itself,
    in however many steps.

    :raises RecursionError: rules refer to rules deeper than can be followed
        when they are asked.
    """
    done: set[str] = set()

    def walk(way: list[str]) -> list[str]:
        name = way[-1]
        if name in way[:-1]:
            return way[way.index(name) :]
        if len(way) > _DEEPEST:
            raise RecursionError
        if name not in done and name in rules:
            for reference in references(rules[name]):
                found = walk([*way, reference])
                if found:
                    return found
        done.add(name)
        return []

    return next((way for name in rules if (way := walk([name]))), [])


def expanded(
    rules: Mapping[str, "BaseCheck"], name: str
) -> Iterator["BaseCheck"]:
    """Yield the conditions of a rule and of those that it refers to.

    :param rules: all of those that are referred to.
    """
    names = [name]
    for known in names:
        for condition in conditions(rules[known]):
            if not isinstance(condition, policy.RuleCheck):
                yield condition
            elif condition.match not in names:
                names.append(condition.match)


def attributes(
    rules: Mapping[str, "BaseCheck"], name: str
) -> tuple[str, ...] | None:
    """Return which attributes of a target a rule looks at.

    None where its answer depends on more than rules, target and caller: on a
    remote service, or on a check that a plug-in brings.
    """
    # The classes of oslo.policy's own conditions, which it doesn't export.
    known = {
        type(policy.RuleDefault("", text).check)
        for text in ("@", "!", "role:member", "user_id:x")
    }
    found: set[str] = set()
    for condition in expanded(rules, name):
        if type(condition) not in known:
            return None
        if isinstance(condition, policy.Check):
            found.update(_ATTRIBUTE.findall(condition.match))
    return tuple(sorted(found))
