# SPDX-License-Identifier: Apache-2.0
"""Personas and kinds of images, for which rules are reviewed.

A name has all attributes: ``member+janitor`` is a caller with two roles, and
``reader+user_id:a1b2`` has an id. ``own private`` is an image of the caller's
project, and ``other public status:queued`` belongs to another project.
"""

import ast
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
from typing import Any
from typing import NamedTuple

from images_service import context
from images_service import model
from images_service.policy import enforcer
from images_service.policy import expressions
from images_service.policy import mistakes

# Keystone's roles, each with the roles that it implies.
STANDARD: Mapping[str, tuple[str, ...]] = {
    "admin": ("admin", "manager", "member", "reader"),
    "manager": ("manager", "member", "reader"),
    "member": ("member", "reader"),
    "reader": ("reader",),
    "service": ("service",),
}
# Ids that no rule names.
_CALLER = {
    "user_id": "the-caller",
    "project_id": "own-project",
    "user_domain_id": "some-domain",
    "project_domain_id": "some-domain",
}
_OTHER = "other-project"
_IMAGE_ID = "00000000-0000-4000-8000-000000000000"
# Attributes that the name of a kind gives as KEY:VALUE.
_PROJECT = "project_id"
_SPECIAL = ("status", "image_id", _PROJECT)


class Persona(NamedTuple):
    """An example of a caller."""

    name: str
    caller: context.RequestContext


class Image(NamedTuple):
    """A kind of images.

    :param own: whether the images belong to the caller's project.
    :param words: name of the kind in a sentence, with ``images``.
    """

    name: str
    own: bool
    words: str
    attributes: Mapping[str, Any]

    def target(self, caller: context.RequestContext) -> dict[str, Any]:
        """Return the attributes of such an image for a caller's rules."""
        project_id = caller.project_id if self.own else _OTHER
        return {"project_id": project_id, **self.attributes}

    @property
    def visible(self) -> bool:
        """Whether callers other than administrators see the image.

        Shared images of other projects are shared with the caller's project.
        """
        return self.own or self.attributes["visibility"] != "private"


def persona(name: str) -> Persona:
    """Return the persona with a name.

    :raises ValueError: a part of the name is unknown.
    """
    return _persona(name.split("+"))


def _persona(words: Sequence[str]) -> Persona:
    values: dict[str, Any] = {**_CALLER, "roles": [], "service_roles": []}
    for word in words:
        kind, colon, value = word.partition(":")
        if not colon or kind == "role":
            role = value if colon else word
            if not role:
                raise ValueError("a role is missing")
            values["roles"] += STANDARD.get(role, [role])
        elif kind == "service_roles":
            values[kind] += [value]
        elif kind in _caller_attributes():
            values[kind] = value
        else:
            hint = mistakes.did_you_mean(kind, _caller_attributes())
            raise ValueError(f"a caller has no {kind}{hint}")
    caller = context.RequestContext(**values, overwrite=False)
    return Persona("+".join(words), caller)


def image(name: str) -> Image:
    """Return the kind of images with a name.

    :raises ValueError: a part of the name is unknown.
    """
    owner, *words = name.split() or [""]
    if owner not in ("own", "other"):
        raise ValueError(f"{name!r} does not begin with own or other")
    attributes: dict[str, Any] = {
        "visibility": "private" if owner == "own" else "public",
        "status": "active",
        "protected": False,
        "image_id": _IMAGE_ID,
    }
    # The project of an own image is the caller's, so a name can't set it.
    special = [key for key in _SPECIAL if (owner, key) != ("own", _PROJECT)]
    for word in words:
        kind, colon, value = word.partition(":")
        if word in model.VISIBILITIES:
            attributes["visibility"] = word
        elif word == "protected":
            attributes["protected"] = True
        elif colon and kind in special:
            attributes[kind] = value
        else:
            known = (*model.VISIBILITIES, "protected", *special)
            hint = mistakes.did_you_mean(kind, known)
            raise ValueError(f"no image is {word}{hint}")
    adjectives = [word for word in words if ":" not in word]
    others = [word.replace(":", " ") for word in words if ":" in word]
    text = " ".join([*adjectives, "images"])
    if others:
        text += f" with {' and '.join(others)}"
    return Image(name, owner == "own", text, attributes)


# The kinds that the default rules and the service itself distinguish.
IMAGES = tuple(
    image(f"{owner} {word}")
    for owner in ("own", "other")
    for word in ("private", "shared", "community", "public", "protected")
)


def standard() -> list[Persona]:
    """Return a persona for each of Keystone's roles."""
    return [persona(role) for role in STANDARD]


class Named(NamedTuple):
    """Values in rules, as parts of the names of personas and of images."""

    callers: tuple[str, ...]
    images: tuple[str, ...]

    def personas(self, beside: Iterable[str]) -> list[Persona]:
        """Return a persona for each part, alone and beside some roles."""
        return [
            _persona([*role, part])
            for part in self.callers
            for role in ([], *([name] for name in beside))
        ]

    def kinds(self) -> list[Image]:
        """Return two kinds of images for each part."""
        return [
            image(f"{owner} {part}")
            for part in self.images
            for owner in ("own", "other")
            if owner == "other" or not part.startswith(_PROJECT)
        ]


def named(snapshots: Iterable[enforcer.Snapshot]) -> Named:
    """Return the values that rules compare callers and images with."""
    callers: dict[str, None] = {}
    images: dict[str, None] = {}
    conditions = (
        condition
        for snapshot in snapshots
        for check in snapshot.checks.values()
        for condition in expressions.conditions(check)
        if expressions.is_own(condition)
    )
    for condition in conditions:
        kind, _, match = str(condition).partition(":")
        attribute = expressions.compares_with(condition)
        if attribute in _SPECIAL:
            # Other conditions name an attribute: project_id:%(project_id)s.
            with contextlib.suppress(ValueError):
                images[f"{attribute}:{ast.literal_eval(kind)}"] = None
        elif "%" in match:
            continue
        elif kind in ("role", "roles"):
            if match.lower() not in STANDARD:
                word = f"role:{match}" if ":" in match else match
                callers[word] = None
        elif kind == "is_admin_project":
            # By default, the project of personas is the administrators'.
            callers["is_admin_project:False"] = None
        elif kind in _caller_attributes():
            callers[f"{kind}:{match}"] = None
    return Named(tuple(callers), tuple(images))


def _caller_attributes() -> list[str]:
    """Return the attributes of a caller that a persona's name can give.

    A scope other than a project is left out: the service refuses such tokens.
    """
    values = context.RequestContext(overwrite=False).to_policy_values()
    without = ("roles", "system_scope", "domain_id")
    return [name for name in values if name not in without]
