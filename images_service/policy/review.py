# SPDX-License-Identifier: Apache-2.0
"""Decides which actions the rules allow personas, on which kinds of images.

``decide`` answers as the service answers a request. Matrices, comparisons and
tests of rules use it.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import functools
from typing import NamedTuple

from oslo_policy import policy

from images_service import context
from images_service.policy import enforcer
from images_service.policy import expressions
from images_service.policy import refusals
from images_service.policy import rules
from images_service.policy.personas import Image
from images_service.policy.personas import IMAGES
from images_service.policy.personas import Persona

ALLOWED = "allowed"
REFUSED = "refused"
# The caller does not see the image.
NOT_FOUND = "not found"
# A remote service decides, but a review does not ask it.
REMOTE = "remote"

# How much an answer allows.
_RANKS = {REFUSED: 0, NOT_FOUND: 0, REMOTE: 1, ALLOWED: 2}


class Decision(NamedTuple):
    """An answer, the rule that gave it, and the conditions that decided.

    :ivar rule: None if no rule decided.
    """

    answer: str
    rule: str | None
    why: str


class Question(NamedTuple):
    """A persona, the rule of an action, and a kind of images.

    :ivar image: None if the action needs no image: a list, for example.
    """

    rule: policy.RuleDefault
    image: Image | None
    persona: Persona


def decide(
    snapshot: enforcer.Snapshot,
    rule: str,
    caller: context.RequestContext,
    image: Image | None,
) -> Decision:
    """Return the service's answer to a caller.

    The order of checks is the same as for a request: the visibility of the
    image, the rule of the action, the protection of the image.
    """
    judged = functools.partial(_judged, snapshot, caller=caller)
    if rule == rules.CONTEXT_IS_ADMIN:
        return judged(rule, target={})
    if image is None:
        return judged(rule, target={"project_id": caller.project_id})
    if not image.visible:
        sees = judged(rules.CONTEXT_IS_ADMIN, target={})
        if sees.answer == REFUSED:
            return sees._replace(answer=NOT_FOUND)
        if sees.answer == REMOTE:
            return sees
    target = image.target(caller)
    found = judged(rule, target=target)
    if (
        rule == rules.DELETE
        and target["protected"]
        and found.answer != REFUSED
    ):
        return Decision(REFUSED, None, refusals.PROTECTED)
    return found


def _judged(
    snapshot: enforcer.Snapshot,
    rule: str,
    caller: context.RequestContext,
    target: dict[str, object],
) -> Decision:
    if rule == rules.CONTEXT_IS_ADMIN and snapshot.holds_for_everyone:
        return Decision(REFUSED, rule, "it holds for every caller")
    found = snapshot.explain(rule, caller, target, remote_answer=True)
    answer = ALLOWED if found.passes else REFUSED
    if snapshot.asks_remote(rule):
        other = snapshot.explain(rule, caller, target, remote_answer=False)
        if other.passes != found.passes:
            answer = REMOTE
    return Decision(answer, rule, found.why())


def questions(
    defaults: Iterable[policy.RuleDefault],
    personas: Sequence[Persona],
    images: Sequence[Image],
) -> Iterator[Question]:
    """Yield the questions about all rules, in the API's order."""
    for rule in defaults:
        for image in kinds(rule, images):
            for persona in personas:
                yield Question(rule, image, persona)


def action(rule: str) -> str:
    """Return the name of the action that a rule allows."""
    return rule.removeprefix("os_compute_api:")


def kinds(
    rule: policy.RuleDefault, images: Sequence[Image] = IMAGES
) -> list[Image | None]:
    """Return the kinds of images that a rule decides on, None for no image."""
    if not isinstance(rule, policy.DocumentedRuleDefault):
        return [None]
    on_image = ["{image_id}" in each["path"] for each in rule.operations]
    found: list[Image | None] = [] if all(on_image) else [None]
    return [*found, *images] if any(on_image) else found


def answer(snapshot: enforcer.Snapshot, question: Question) -> Decision:
    """Return the answer to a question."""
    rule, image, persona = question
    return decide(snapshot, rule.name, persona.caller, image)


class Flip(NamedTuple):
    """A question to which two sets of rules give different answers."""

    question: Question
    before: str
    after: str

    @property
    def wider(self) -> bool:
        """Whether the later answer allows more."""
        return _RANKS[self.after] > _RANKS[self.before]


def compare(
    old: enforcer.Snapshot,
    new: enforcer.Snapshot,
    asked: Iterable[Question],
) -> Iterator[Flip]:
    """Yield the questions whose answers differ in what a caller may do."""
    for question in asked:
        before, after = (
            answer(snapshot, question).answer for snapshot in (old, new)
        )
        if _RANKS[before] != _RANKS[after]:
            yield Flip(question, before, after)


def changed(
    old: enforcer.Snapshot,
    new: enforcer.Snapshot,
    defaults: Iterable[policy.RuleDefault],
) -> list[policy.RuleDefault]:
    """Return the rules whose conditions differ.

    The conditions of a rule include those of the rules that it refers to.
    """

    def text(snapshot: enforcer.Snapshot, rule: policy.RuleDefault) -> str:
        return str(expressions.expanded(snapshot.checks, rule.name))

    return [rule for rule in defaults if text(old, rule) != text(new, rule)]


def sentences(flips: Sequence[Flip]) -> list[str]:
    """Return sentences for flips; flips that allow more come first.

    A persona is left out if a persona with one of its parts has the same flip.
    Personas with flips for the same images share a sentence.
    """
    found = {_key(flip, flip.question.persona.name) for flip in flips}
    told: dict[tuple[bool, str, str], dict[str, list[Image]]] = {}
    for flip in flips:
        _, image, (name, _) = flip.question
        role, _, part = name.rpartition("+")
        if role and not found.isdisjoint(_key(flip, x) for x in (role, part)):
            continue
        change = (flip.wider, flip.after, _sentence(flip))
        images = told.setdefault(change, {}).setdefault(name, [])
        images += [image] if image else []
    lines = []
    for change in sorted(told, key=lambda change: not change[0]):
        _, _, sentence = change
        same: dict[str, list[str]] = {}
        for name, images in told[change].items():
            same.setdefault(_images(images), []).append(name)
        lines += [
            sentence.format(personas=", ".join(names), images=images)
            for images, names in same.items()
        ]
    return lines


def _key(flip: Flip, persona: str) -> tuple[str, str, str, bool, str]:
    rule, image, _ = flip.question
    kind = image.name if image else ""
    return rule.name, kind, persona, flip.wider, flip.after


def _sentence(flip: Flip) -> str:
    """Return a flip in words, with fields ``{personas}`` and ``{images}``."""
    rule, image, _ = flip.question
    does = (rule.description or rule.name).removesuffix(".")
    does = does[:1].lower() + does[1:]
    whose = ""
    if image is not None:
        for text, with_images in (
            ("an image's metadata", "the metadata of {images}"),
            ("an image", "{images}"),
            ("of images", "of {images}"),
        ):
            does = does.replace(text, with_images)
        project = "the image's" if image.own else "another"
        whose = f" of {project} project"
    elif rule.name == rules.IMAGE_SIZE:
        does += " in lists"
    mark, may, unless = "narrower:", "may no longer", "unless"
    if flip.wider:
        mark, may, unless = "wider:   ", "may now", "if"
    if flip.after == REMOTE:
        does += f", {unless} a remote service agrees"
    return f"{mark} {{personas}}{whose}: {may} {does}"


def _images(images: Sequence[Image]) -> str:
    """Return the words for several kinds of images of one owner."""
    words = [each.words for each in images]
    plain = [text for text in words if text.endswith(" images")]
    found = [text for text in words if text not in plain]
    if plain:
        kinds = ", ".join(text.removesuffix(" images") for text in plain)
        found.insert(0, f"{kinds} images")
    return " and ".join(found)
