# SPDX-License-Identifier: Apache-2.0
"""images-service-manage policy matrix, diff and test."""

import argparse
from collections.abc import Iterable
import itertools
import textwrap
from typing import Any

from cliff import columns
from cliff import lister

from images_service.api import routes
from images_service.cmd.manage import Command
from images_service.cmd.policy import snapshot_of
from images_service.files import FileError
from images_service.policy import enforcer
from images_service.policy import expectations
from images_service.policy import personas
from images_service.policy import review
from images_service.policy import rules

_FILE = (
    "a policy file, or a folder with policy.json or policy.yaml and policy.d"
)
# Characters of a table's column.
_WIDTH = 32


def _personas(text: str) -> list[personas.Persona]:
    """Return the personas of an argument."""
    try:
        return [personas.persona(name) for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class _List(list[str]):
    def __str__(self) -> str:
        return ", ".join(self)


class _Names(columns.FormattableColumn[_List]):
    """Names: a list in JSON; a table joins names with the same first words."""

    def human_readable(self) -> str:
        lines = []
        for owner, names in itertools.groupby(
            self._value, lambda name: name.rpartition(" ")[0]
        ):
            rest = ", ".join(
                name.removeprefix(owner).strip() for name in names
            )
            lines += textwrap.wrap(f"{owner} {rest}".strip(), _WIDTH)
        return "\n".join(lines)


class Matrix(Command, lister.Lister):
    """Show who may do what with which images.

    Each persona has one of Keystone's roles and those that it implies.
    Personas with the roles and ids that rules name follow. An image is "own"
    if it is of the persona's project, else "other"; "other shared" images are
    shared with that project. A row holds for all images that it names.
    "not found" means that the persona does not see the image. "remote" means
    that a remote service decides; it is not asked.
    """

    examples = (
        "policy matrix",
        "policy matrix --why -f csv policy.json",
        "policy matrix --roles member,member+janitor,reader+user_id:a1b2",
    )
    arguments = {
        "--roles": {
            "type": _personas,
            "metavar": "PERSONA[,PERSONA…]",
            "help": "other personas: each is roles and attributes KIND:VALUE, "
            "joined by +",
        },
        "--why": {
            "action": "store_true",
            "help": "a row for each answer, with the conditions that decide",
        },
        "file": {
            "metavar": "FILE",
            "nargs": "?",
            "help": f"{_FILE}; default: the configured files",
        },
    }

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        snapshot = snapshot_of(self.app.conf, parsed_args.file)
        named = personas.named([snapshot])
        callers = parsed_args.roles or [
            *personas.standard(),
            *named.personas(["member"]),
        ]
        asked = review.questions(
            routes.list_rules(), callers, [*personas.IMAGES, *named.kinds()]
        )
        names = [caller.name for caller in callers]
        if not parsed_args.why:
            return ("action", "image", *names), (
                (action, _Names(images), *(found.answer for found in row))
                for action, images, row in _rows(snapshot, asked, why=False)
            )
        return ("action", "image", "persona", "answer", "why"), (
            (
                action,
                _Names(images),
                # The personas that get this answer.
                _Names(
                    _List(itertools.compress(names, [x == each for x in row]))
                ),
                each.answer,
                _reason(action, each),
            )
            for action, images, row in _rows(snapshot, asked, why=True)
            for each in dict.fromkeys(row)
        )


def _reason(action: str, decision: review.Decision) -> str:
    """Return the reason, with the rule if it is not the action's rule."""
    rule = review.action(decision.rule or action)
    return decision.why if rule == action else f"{rule}: {decision.why}"


def _rows(
    snapshot: enforcer.Snapshot, asked: Iterable[review.Question], *, why: bool
) -> list[tuple[str, _List, tuple[review.Decision, ...]]]:
    """Return actions, images, and the decisions for all callers."""
    rows: dict[tuple[str, tuple[review.Decision, ...]], _List] = {}
    for (rule, image), questions in itertools.groupby(
        asked, lambda question: (question.rule.name, question.image)
    ):
        decisions = (review.answer(snapshot, each) for each in questions)
        row = tuple(
            each if why else review.Decision(each.answer, None, "")
            for each in decisions
        )
        images = rows.setdefault((review.action(rule), row), _List())
        images.append("-" if image is None else image.name)
    return [(action, images, row) for (action, row), images in rows.items()]


def _unusable(command: Command, error: Exception) -> int:
    """Report a file that cannot be used; return the exit status."""
    command.app.LOG.error("%s", error)
    return 2


class Diff(Command):
    """Tell who may do more, or less, after a change of the policy.

    Prints a line for each change, those that allow more first, and nothing if
    all answers are the same. The exit status is 0 if they are, 1 if one
    changes, and 2 if a file cannot be used.
    """

    examples = (
        "policy diff /etc/images_service/policy.json policy.json",
        "policy diff /etc/images_service new",
    )
    arguments = {
        "old": {"metavar": "OLD", "help": _FILE},
        "new": {"metavar": "NEW", "help": "what replaces it"},
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            old, new = (
                snapshot_of(self.app.conf, path)
                for path in (parsed_args.old, parsed_args.new)
            )
        except FileError as error:
            return _unusable(self, error)
        named = personas.named([old, new])
        defaults = routes.list_rules()
        edited = review.changed(old, new, defaults)
        # Administrators see the images of all actions.
        admins = any(rule.name == rules.CONTEXT_IS_ADMIN for rule in edited)
        asked = review.questions(
            defaults if admins else edited,
            [*personas.standard(), *named.personas(personas.STANDARD)],
            [*personas.IMAGES, *named.kinds()],
        )
        flips = list(review.compare(old, new, asked))
        for line in review.sentences(flips):
            print(line)
        told = {flip.question.rule.name for flip in flips}
        for rule in edited:
            if rule.name not in told:
                self.app.LOG.warning(
                    "rule %s has changed, and the answer to no persona",
                    rule.name,
                )
        return int(bool(flips))


class Test(Command):
    """Test the policy against expectations in a file.

    The file is YAML or JSON. It maps a name to what is expected: "persona",
    "action", "image" (not for lists) and "allowed", with the names that policy
    matrix shows. Prints for each which rule decided. The exit status is 0 if
    all hold, 1 if one does not, and 2 if a file cannot be used.
    """

    examples = (
        "policy test policy-tests.yaml",
        "policy test policy-tests.yaml policy.json --junit report.xml",
    )
    arguments = {
        "tests": {"metavar": "TESTS", "help": "the file of expectations"},
        "file": {
            "metavar": "FILE",
            "nargs": "?",
            "help": f"{_FILE}; default: the configured files",
        },
        "--junit": {
            "metavar": "PATH",
            "help": "also write a report as JUnit's XML",
        },
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            expected = expectations.load(
                parsed_args.tests, routes.list_rules()
            )
            snapshot = snapshot_of(self.app.conf, parsed_args.file)
        except FileError as error:
            return _unusable(self, error)
        for text in expectations.unnamed_roles(snapshot, expected):
            self.app.LOG.warning("%s", text)
        results = expectations.run(snapshot, expected)
        for result in results:
            verdict = "ok    " if result.holds else "FAILED"
            print(f"{verdict}  {result.expectation.name}: {result.text}")
        held = sum(result.holds for result in results)
        print(f"{held} of {len(results)} expectations hold.")
        if parsed_args.junit is not None:
            report = expectations.junit(parsed_args.tests, results)
            try:
                with open(parsed_args.junit, "wb") as file:
                    file.write(report)
            except OSError as error:
                return _unusable(self, error)
        return int(held < len(results))
