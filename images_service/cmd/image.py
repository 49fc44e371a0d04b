# SPDX-License-Identifier: Apache-2.0
"""images-service-manage image: list, show, change and delete images."""

import argparse
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import functools
import itertools
from typing import Any

from cliff import lister
from cliff import show
from oslo_utils import timeutils

from images_service import exception
from images_service import model
from images_service.cmd.manage import DatabaseCommand
from images_service.cmd.manage import whole_number
from images_service.glance import records
from images_service.model import NewImage
from images_service.store import base

_OPERATOR = model.Viewer("", is_admin=True, is_operator=True)
_COLUMNS = ("id", "name", "status", "visibility", "owner", "created_at")
_PAGE = 1000
_ID = "0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00"
_PROJECT = "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1"


def _shown(value: object) -> object:
    """Return an image's value in a form that cliff can write."""
    return value if value is None or isinstance(value, int) else str(value)


class List(DatabaseCommand, lister.Lister):
    """List all images that are not deleted, newest first."""

    examples = ("image list", "image list --name jammy --limit 10 -f json")
    arguments = {
        "--name": {"help": "only images with this name"},
        "--limit": {"type": whole_number, "help": "at most so many images"},
    }

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        limit = parsed_args.limit
        query = model.ListQuery(
            limit=min(limit or _PAGE, _PAGE), name=parsed_args.name
        )
        images = itertools.islice(self.store.iterate(query, _OPERATOR), limit)
        return _COLUMNS, (
            tuple(_shown(getattr(image, column)) for column in _COLUMNS)
            for image in images
        )


class Show(DatabaseCommand, show.ShowOne):
    """Show an image and its metadata."""

    examples = (f"image show {_ID}",)
    arguments = {"id": {}}

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        image = self.store.get(parsed_args.id, _OPERATOR)
        return image._fields, tuple(map(_shown, image))


class Delete(DatabaseCommand):
    """Delete images, protected ones too."""

    changes_images = True
    examples = (f"image delete {_ID}",)
    arguments = {"id": {"nargs": "+"}}

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        for image_id in parsed_args.id:
            base.retried(functools.partial(self._delete, image_id))

    def _delete(self, image_id: str) -> None:
        self.store.delete(self.store.get(image_id, _OPERATOR))


def _checked(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return an argument's type: the values that a check accepts."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except records.Refused as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def _attribute(name: str) -> Callable[[str], Any]:
    return _checked(functools.partial(records.attribute, name))


@_checked
def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise records.Refused(f"{text} is not KEY=VALUE")
    records.check_property(key, value)
    return key, value


class _Edit(DatabaseCommand):
    """A command that changes one image."""

    changes_images = True

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from images_service.store.sql import admin

        def edit(old: NewImage) -> NewImage:
            new = self._change(old, parsed_args)
            image = new.image._replace(updated_at=timeutils.utcnow())
            return dataclasses.replace(new, image=image, changed_at=None)

        admin.edit(self.database, parsed_args.image, edit)

    def _change(self, old: NewImage, args: argparse.Namespace) -> NewImage:
        """Return the changed image."""
        raise NotImplementedError


_IMAGE = {"image": {"metavar": "IMAGE", "help": "the image's id"}}
_PROJECTS = {
    "projects": {
        "metavar": "PROJECT",
        "nargs": "+",
        "type": _attribute("owner"),
        "help": "a project's id",
    }
}
_LEAST = "what a server needs at least"
# Options that set an attribute to one value: attribute, value, help.
_VALUES = {
    "--public": ("visibility", "public", "everybody can use it"),
    "--private": ("visibility", "private", "only its owner can use it"),
    "--shared": ("visibility", "shared", "its owner can share it"),
    "--community": ("visibility", "community", "usable by all, not listed"),
    "--protected": ("protected", True, "it can't be deleted"),
    "--unprotected": ("protected", False, "it can be deleted"),
    "--hidden": ("os_hidden", True, "no listing shows it"),
    "--unhidden": ("os_hidden", False, "listings show it"),
    "--activate": ("status", "active", "its status is active"),
    "--deactivate": ("status", "deactivated", "its status is deactivated"),
}


class Set(_Edit):
    """Set attributes and properties of an image, all or none of them."""

    examples = (
        f"image set --name jammy --public {_ID}",
        f"image set --property os_distro=ubuntu --property a=b {_ID}",
    )
    arguments = {
        **_IMAGE,
        "--name": {"type": _attribute("name")},
        "--owner --project": {
            "type": _attribute("owner"),
            "metavar": "PROJECT",
            "help": "the id of the project that owns it",
        },
        "--min-disk": {"type": whole_number, "metavar": "GIB", "help": _LEAST},
        "--min-ram": {"type": whole_number, "metavar": "MIB", "help": _LEAST},
        **{
            option: {
                "dest": attribute,
                "exclusive": attribute,
                "action": "store_const",
                "const": value,
                "help": text,
            }
            for option, (attribute, value, text) in _VALUES.items()
        },
        "--property": {
            "dest": "properties",
            "action": "append",
            "default": [],
            "type": _property,
            "metavar": "KEY=VALUE",
            "help": "may be repeated",
        },
    }

    def _change(self, old: NewImage, args: argparse.Namespace) -> NewImage:
        attributes = {
            name: value
            for name, value in vars(args).items()
            if name in model.Image._fields and value is not None
        }
        if not attributes and not args.properties:
            raise exception.Invalid("Nothing to set; see --help")
        return dataclasses.replace(
            old,
            image=old.image._replace(**attributes),
            metadata={**old.metadata, **dict(args.properties)},
        )


class Unset(_Edit):
    """Remove properties of an image, all or none of them."""

    examples = (f"image unset --property hw_disk_bus {_ID}",)
    arguments = {
        **_IMAGE,
        "--property": {
            "dest": "keys",
            "action": "append",
            "required": True,
            "metavar": "KEY",
            "help": "may be repeated",
        },
    }

    def _change(self, old: NewImage, args: argparse.Namespace) -> NewImage:
        items = _without(old.metadata, args.keys, "The image has no property")
        return dataclasses.replace(old, metadata=items)


class Share(_Edit):
    """Share an image with projects, or change the status of its shares.

    The image must be shared: image set --shared. A project that has accepted
    a share finds the image in its listings; others find it by id only.
    """

    examples = (
        f"image share {_ID} {_PROJECT}",
        f"image share --status pending {_ID} {_PROJECT}",
    )
    arguments = {
        **_IMAGE,
        **_PROJECTS,
        "--status": {
            "choices": model.MEMBER_STATUSES,
            "default": "accepted",
            "help": "of the shares (default: accepted)",
        },
    }

    def _change(self, old: NewImage, args: argparse.Namespace) -> NewImage:
        if old.image.visibility != "shared":
            raise exception.Conflict(
                f"The image is {old.image.visibility}, and only shared ones "
                "can be shared; see image set --shared"
            )
        shares = dict.fromkeys(args.projects, args.status)
        members = {**(old.members or {}), **shares}
        return dataclasses.replace(old, members=members)


class Unshare(_Edit):
    """End the shares of an image with some projects."""

    examples = (f"image unshare {_ID} {_PROJECT}",)
    arguments = {**_IMAGE, **_PROJECTS}

    def _change(self, old: NewImage, args: argparse.Namespace) -> NewImage:
        problem = "The image isn't shared with"
        members = _without(old.members or {}, args.projects, problem)
        return dataclasses.replace(old, members=members)


def _without(
    items: Mapping[str, str], keys: Collection[str], problem: str
) -> dict[str, str]:
    """Return items without some keys.

    :raises NotFound: a key is missing; the message names it.
    """
    for key in keys:
        if key not in items:
            raise exception.NotFound(f"{problem} {key}")
    return {key: value for key, value in items.items() if key not in keys}
