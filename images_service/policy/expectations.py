# SPDX-License-Identifier: Apache-2.0
"""Reads a file of an operator's expectations of the rules, and tests them."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import re
from typing import Any
from typing import NamedTuple
from xml.etree import ElementTree  # nosec B405  # It is written, not read.

from oslo_policy import policy

from images_service import files
from images_service.files import FileError
from images_service.policy import enforcer
from images_service.policy import mistakes
from images_service.policy import personas
from images_service.policy import review

_KEYS = ("persona", "action", "image", "allowed")
# Characters that XML 1.0 cannot contain.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Expectation(NamedTuple):
    """A question with its expected answer, and its name in the file."""

    name: str
    question: review.Question
    allowed: bool


class Result(NamedTuple):
    """The result of an expectation; ``text`` says which rule decided."""

    expectation: Expectation
    holds: bool
    text: str


def load(
    path: str, defaults: Iterable[policy.RuleDefault]
) -> list[Expectation]:
    """Return the expectations in a YAML or JSON file.

    It maps a name to ``persona``, ``action``, ``image`` and ``allowed``.

    :raises FileError: an expectation is wrong; the message says which.
    """
    actions = {review.action(rule.name): rule for rule in defaults}
    found = []
    for name, (line, value) in files.parse_map(path, files.read(path)).items():
        try:
            question, allowed = _parsed(value, actions)
        except ValueError as error:
            raise FileError(path, line, f"{name}: {error}") from None
        found.append(Expectation(name, question, allowed))
    return found


def _parsed(
    value: Any, actions: Mapping[str, policy.RuleDefault]
) -> tuple[review.Question, bool]:
    if not isinstance(value, dict):
        raise ValueError(f"not a map of {', '.join(_KEYS)}")
    for key in value:
        if key not in _KEYS:
            hint = mistakes.did_you_mean(str(key), _KEYS)
            raise ValueError(f"{key} is unknown{hint}")
    allowed = value.get("allowed")
    if not isinstance(allowed, bool):
        raise ValueError("allowed is neither true nor false")
    action = review.action(_text(value, "action"))
    if action not in actions:
        hint = mistakes.did_you_mean(action, actions)
        raise ValueError(f"there is no action {action}{hint}")
    rule = actions[action]
    image = None
    if "image" in value:
        image = personas.image(_text(value, "image"))
    if not any(
        (kind is None) == (image is None) for kind in review.kinds(rule)
    ):
        needs = "needs an" if image is None else "is about no"
        raise ValueError(f"{action} {needs} image")
    persona = personas.persona(_text(value, "persona"))
    return review.Question(rule, image, persona), allowed


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise ValueError(f"{key} is missing, or is not a string")
    return text


def unnamed_roles(
    snapshot: enforcer.Snapshot, expectations: Iterable[Expectation]
) -> Iterator[str]:
    """Yield a sentence for each role that neither Keystone nor a rule has.

    A mistyped role is refused, so an expected refusal hides the mistake.
    """
    named = personas.named([snapshot]).callers
    known = {*personas.STANDARD, *(name.lower() for name in named)}
    for expectation in expectations:
        for role in expectation.question.persona.caller.roles:
            if not {role.lower(), f"role:{role}".lower()} & known:
                hint = mistakes.did_you_mean(role, sorted(known))
                yield f"{expectation.name}: no rule names role {role}{hint}"


def run(
    snapshot: enforcer.Snapshot, expectations: Iterable[Expectation]
) -> list[Result]:
    """Return the results of expectations for the rules of a snapshot."""
    return [_result(snapshot, expectation) for expectation in expectations]


def _result(snapshot: enforcer.Snapshot, expectation: Expectation) -> Result:
    decision = review.answer(snapshot, expectation.question)
    wanted = review.ALLOWED if expectation.allowed else review.REFUSED
    answer = decision.answer
    if answer == review.NOT_FOUND:
        answer = review.REFUSED
    by = ""
    if decision.rule is not None:
        rule = snapshot.rules[decision.rule]
        place = ":".join(
            str(part) for part in (rule.source, rule.line) if part
        )
        by = f" by {rule.name} ({place})"
    text = f"{decision.answer}{by}: {decision.why}"
    return Result(expectation, answer == wanted, text)


def junit(path: str, results: Sequence[Result]) -> bytes:
    """Return a report on the expectations of a file as JUnit's XML."""
    failures = [result for result in results if not result.holds]
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(path),
        tests=str(len(results)),
        failures=str(len(failures)),
        errors="0",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_xml(path),
            name=_xml(result.expectation.name),
        )
        text = _xml(result.text)
        if result.holds:
            ElementTree.SubElement(case, "system-out").text = text
        else:
            ElementTree.SubElement(case, "failure", message=text)
    report: bytes = ElementTree.tostring(
        suite, encoding="utf-8", xml_declaration=True
    )
    return report


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
