# SPDX-License-Identifier: Apache-2.0
"""Finds mistakes in rules.

oslo.policy denies what it cannot parse, and evaluates a condition only when a
request needs it. It does not know the attributes of callers and images.
"""

import ast
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import difflib
import itertools
import re
from typing import Any
import uuid

from oslo_policy import policy

from images_service import context
from images_service import model
from images_service.policy import expressions
from images_service.policy import rules

# Maximum number of parentheses or "not" around a condition: a decision needs
# some frames of Python's stack for each.
_DEEPEST = 50
# As in oslo.policy, parentheses at the ends of a word are not a part of it.
_WORD = re.compile(r"[()]|[^\s()]\S*?(?=\)*(?:\s|$))")
_OPERATORS = ("and", "or", "not")
_START, _END = "the start", "the end"
# The values of attributes with few different values.
_VALUES = {
    "visibility": model.VISIBILITIES,
    "status": tuple(model.STATUSES),
    "protected": ("True", "False"),
}
# A rule with more conditions has too many combinations of their results.
_MOST = 8
# Names of attributes in other services and older releases.
_SYNONYMS = {
    "id": "image_id",
    "owner": "project_id",
    "project": "project_id",
    "tenant": "project_id",
    "tenant_id": "project_id",
    "user": "user_id",
}


def words(text: str) -> list[str]:
    """Split a rule into parentheses, ``and``, ``or``, ``not``, conditions."""
    found = _WORD.findall(text)
    return [
        word.lower() if word.lower() in _OPERATORS else word for word in found
    ]


def check_syntax(text: str) -> None:
    """Check the order of a rule's words.

    :raises ValueError: the order is wrong; the message says where.
    """
    depth = nots = 0
    for before, word in itertools.pairwise([_START, *words(text), _END]):
        wanted = before in (_START, "(", *_OPERATORS)
        starts = word not in (_END, ")", "and", "or")
        if wanted and not starts and text:
            place = f"between {before} and {word}"
            if word == _END:
                place = f"after {before}"
            raise ValueError(f"a condition is missing {place}")
        if starts and not wanted:
            raise ValueError(f'"and" or "or" is missing before {word}')
        if starts and word not in ("(", "not") and not _is_condition(word):
            raise ValueError(f"{word} is not a condition KIND:VALUE")
        depth += (word == "(") - (word == ")")
        nots = nots + 1 if word == "not" else 0
        if depth < 0:
            raise ValueError("a parenthesis is closed that is not open")
        if max(depth, nots) > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} levels are too many")
    if depth:
        raise ValueError("a parenthesis is not closed")


def _is_condition(word: str) -> bool:
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
    return word in ("@", "!") or (":" in word and not quoted)


def can_be_asked(
    condition: expressions.AnyCheck, enforcer: policy.Enforcer
) -> bool:
    """Tell whether a condition can be evaluated without an error."""
    names = expressions.looks_at(condition)
    target = {**dict.fromkeys(names, "x"), "protected": True}
    roles = ["x"]
    caller = _values(
        user_id="x", project_id="x", roles=roles, service_roles=roles
    )
    try:
        if expressions.is_own(condition):
            enforcer.enforce(condition, target, caller)
        elif str(condition).startswith(("http:", "https:")):
            _ = str(condition) % target
    except Exception:
        # Examples are SyntaxError, ValueError and TypeError.
        return False
    return True


def never_passing(
    checks: expressions.Checks, defaults: Iterable[policy.RuleDefault]
) -> Iterator[tuple[str, str]]:
    """Yield the rule and the reason of each condition that never passes."""
    reach = expressions.reach(checks)
    attributes: dict[str, set[str]] = {name: set() for name in checks}
    for rule in defaults:
        for name in reach[rule.name]:
            attributes[name] |= rules.attributes(rule)
    for name, check in checks.items():
        for condition in expressions.conditions(check):
            problem = never_passes(condition, attributes[name])
            if problem:
                yield name, f"{condition} never passes: {problem}"
    for name in reach[rules.CONTEXT_IS_ADMIN]:
        for condition in expressions.conditions(checks[name]):
            if expressions.looks_at(condition):
                yield (
                    rules.CONTEXT_IS_ADMIN,
                    f"{condition} makes no caller an administrator: this rule "
                    "is evaluated without an image",
                )


def never_passes(
    condition: expressions.AnyCheck, attributes: Collection[str]
) -> str:
    """Return why a condition passes for no caller, "" if it can pass.

    :param attributes: names of the target's attributes.
    """
    for name in expressions.looks_at(condition):
        if name not in attributes:
            hint = _hint(name, attributes, "%({})s")
            return f"the target has no {name}; {hint}"
    kind, _, match = str(condition).partition(":")
    # "system" is oslo.policy's other name of system_scope.
    known = [*_values(), "system"]
    if (
        not expressions.is_own(condition)
        or kind in ("@", "!", "role", "rule")
        or kind.partition(".")[0] in known
    ):
        return ""
    try:
        value = str(ast.literal_eval(kind))
    except ValueError:
        hint = _hint(kind, known, f"{{}}:{match}", "role", "rule", "http")
        if kind == "is_admin":
            hint = f"did you mean rule:{rules.CONTEXT_IS_ADMIN}?"
        elif kind in attributes and "%" not in match:
            hint = f"did you mean '{match}':%({kind})s?"
        return f"a caller has no {kind}; {hint}"
    name = expressions.compares_with(condition)
    if value not in _VALUES.get(name, (value,)):
        hint = _hint(value, _VALUES[name], f"'{{}}':%({name})s")
        return f"the {name} of no image is {value}; {hint}"
    constants = "%" not in match and value != match
    return "it compares two constants" if constants else ""


def without_effect(check: expressions.AnyCheck) -> list[str]:
    """Return the conditions that never matter, such as those after ``@ or``.

    Rules with many conditions are not examined.
    """
    found = [str(each) for each in expressions.conditions(check)]
    constants = {"@": [True], "!": [False]}
    names = list(dict.fromkeys(found))
    if len(names) > _MOST:
        return []
    choices = [constants.get(name, [True, False]) for name in names]
    results = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*choices)
    ]

    def matters(place: int, result: dict[str, bool]) -> bool:
        values = [result[name] for name in found]
        before = _passes(check, iter(values))
        values[place] = not values[place]
        return before != _passes(check, iter(values))

    return [
        name
        for place, name in enumerate(found)
        if name not in constants
        and not any(matters(place, result) for result in results)
    ]


def _passes(check: expressions.AnyCheck, values: Iterator[bool]) -> bool:
    """Return a check's result for the results of its conditions, in order."""
    parts = [_passes(part, values) for part in expressions.parts(check)]
    if isinstance(check, policy.AndCheck):
        return all(parts)
    if isinstance(check, policy.OrCheck):
        return any(parts)
    return not parts[0] if parts else next(values)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that ends a sentence, "" if no name is close."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _hint(name: str, known: Collection[str], text: str, *others: str) -> str:
    close = difflib.get_close_matches(name, [*others, *known], 1)
    if name in _SYNONYMS and _SYNONYMS[name] in known:
        close = [_SYNONYMS[name]]
    if close:
        return f"did you mean {text.replace('{}', close[0], 1)}?"
    return f"it has {', '.join(sorted(known)) or 'nothing'}"


def holds_for_everyone(
    checks: expressions.Checks, enforcer: policy.Enforcer
) -> bool:
    """Tell whether everyone is an administrator.

    Everyone is, if the rule passes for a caller with random ids and no roles.
    A rule that asks remote services must pass for each of their answers.
    """

    def passes(stranger: dict[str, Any], answer: bool) -> bool:
        def ask(condition: expressions.AnyCheck) -> expressions.Explanation:
            passes = answer
            if expressions.is_own(condition):
                passes = enforcer.enforce(condition, {}, stranger)
            return expressions.Explanation(str(condition), passes)

        check = checks[rules.CONTEXT_IS_ADMIN]
        return expressions.explain(check, checks, ask).passes

    return any(
        passes(stranger, True) and passes(stranger, False)
        for stranger in _strangers()
    )


def _strangers() -> Iterator[dict[str, Any]]:
    # Some identity services have no domains, no administrators' project, or no
    # service tokens.
    name = uuid.uuid4().hex
    for domain, service, admin_project in itertools.product(
        (name, None), (name, None), (True, False)
    ):
        yield _values(
            user_id=name,
            project_id=name,
            user_domain_id=domain,
            project_domain_id=domain,
            service_user_id=service,
            service_project_id=service,
            service_user_domain_id=service and domain,
            service_project_domain_id=service and domain,
            is_admin_project=admin_project,
        )
    # A caller without attributes: no rule may hold for missing values.
    yield _values()


def _values(**attributes: Any) -> dict[str, Any]:
    """Return a caller's values for rules."""
    caller = context.RequestContext(**attributes, overwrite=False)
    return dict(caller.to_policy_values())
