# SPDX-License-Identifier: Apache-2.0
"""images-service-manage image set, unset, share and unshare."""

import argparse
from collections.abc import Callable
import dataclasses
from typing import Any

from oslo_utils import timeutils

from images_service import errors
from images_service import glance
from images_service import model
from images_service.cmd.manage import DatabaseCommand

# Options that say one of several things: option -> attribute, value, help.
_WORDS = {
    "--public": ("visibility", "public", "everybody may use it"),
    "--private": ("visibility", "private", "only its owner may use it"),
    "--shared": ("visibility", "shared", "its owner, and whom it is shared"),
    "--community": (
        "visibility",
        "community",
        "everybody may use it, who knows its id",
    ),
    "--protected": ("protected", True, "it can't be deleted"),
    "--unprotected": ("protected", False, "it can be deleted"),
    "--hidden": ("os_hidden", True, "no listing shows it"),
    "--unhidden": ("os_hidden", False, "listings show it"),
    "--activate": ("status", "active", "its status is active"),
    "--deactivate": ("status", "deactivated", "its status is deactivated"),
}


class _Edit(DatabaseCommand):
    """A command that changes one image."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the image's id."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id", metavar="IMAGE", help="the image's id")
        return parser

    def edit(
        self,
        image_id: str,
        change: Callable[[model.NewImage], model.NewImage],
    ) -> None:
        """Change the image; its ``updated_at`` is now."""
        from images_service.store.sql import editing

        def act(old: model.NewImage) -> model.NewImage:
            new = change(old)
            image = new.image._replace(updated_at=timeutils.utcnow())
            return dataclasses.replace(new, image=image)

        editing.edit(self.database, image_id, act)


class Set(_Edit):
    """Set attributes and properties of an image, all or none of them."""

    examples = (
        "image set --name jammy --public 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",
        "image set --property os_distro=ubuntu --property "
        "hw_disk_bus=virtio 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add an option for each attribute."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", type=_checked("name"))
        parser.add_argument(
            "--owner",
            "--project",
            type=_checked("owner"),
            metavar="PROJECT",
            help="the id of the project that it belongs to",
        )
        for option, unit in (("min-disk", "GIB"), ("min-ram", "MIB")):
            parser.add_argument(
                f"--{option}",
                type=_checked(option.replace("-", "_"), int),
                metavar=unit,
                help="what a server needs at least",
            )
        groups: dict[str, Any] = {}
        for option, (attribute, value, text) in _WORDS.items():
            if attribute not in groups:
                groups[attribute] = parser.add_mutually_exclusive_group()
            groups[attribute].add_argument(
                option,
                dest=attribute,
                action="store_const",
                const=value,
                help=text,
            )
        parser.add_argument(
            "--property",
            dest="properties",
            action="append",
            default=[],
            type=_property,
            metavar="KEY=VALUE",
            help="may be repeated",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Set them.

        :raises errors.Invalid: no option says what to set.
        """
        attributes = {
            name: value
            for name, value in vars(parsed_args).items()
            if name in model.Image._fields
            and name != "id"
            and value is not None
        }
        items = dict(parsed_args.properties)
        if not attributes and not items:
            raise errors.Invalid("Nothing to set; see --help")
        self.edit(
            parsed_args.id,
            lambda old: model.NewImage(
                old.image._replace(**attributes),
                {**old.metadata, **items},
                old.members,
            ),
        )


class Unset(_Edit):
    """Take properties of an image away, all or none of them."""

    examples = (
        "image unset --property hw_disk_bus "
        "0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the properties' keys."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--property",
            dest="keys",
            action="append",
            required=True,
            metavar="KEY",
            help="may be repeated",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Take them away.

        :raises errors.NotFound: the image lacks one.
        """

        def change(old: model.NewImage) -> model.NewImage:
            for key in parsed_args.keys:
                if key not in old.metadata:
                    raise errors.NotFound(f"--property: no {key} is there")
            items = {
                key: value
                for key, value in old.metadata.items()
                if key not in parsed_args.keys
            }
            return dataclasses.replace(old, metadata=items)

        self.edit(parsed_args.id, change)


class Share(_Edit):
    """Share an image with projects, or change what became of its shares.

    The image must be shared: image set --shared. A project sees an image that
    it has accepted in its listings, others that are shared with it by id only.
    """

    examples = (
        "image share 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00 "
        "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1",
        "image share --status pending 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00 "
        "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the projects and the status."""
        parser = super().get_parser(prog_name)
        _add_projects(parser)
        parser.add_argument(
            "--status",
            choices=model.MEMBER_STATUSES,
            default="accepted",
            help="whether the projects have accepted it (default: accepted)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Share it.

        :raises errors.Conflict: its visibility is another.
        """
        status = parsed_args.status

        def change(old: model.NewImage) -> model.NewImage:
            if old.image.visibility != "shared":
                raise errors.Conflict(
                    f"The image is {old.image.visibility}, and only shared "
                    "ones can be shared; see image set --shared"
                )
            shares = dict.fromkeys(parsed_args.projects, status)
            return dataclasses.replace(
                old, members={**(old.members or {}), **shares}
            )

        self.edit(parsed_args.id, change)


class Unshare(_Edit):
    """Share an image with some projects no longer."""

    examples = (
        "image unshare 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00 "
        "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the projects."""
        parser = super().get_parser(prog_name)
        _add_projects(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """End the shares.

        :raises errors.NotFound: it isn't shared with one of the projects.
        """

        def change(old: model.NewImage) -> model.NewImage:
            members = dict(old.members or {})
            for project in parsed_args.projects:
                if members.pop(project, None) is None:
                    raise errors.NotFound(
                        f"The image isn't shared with {project}"
                    )
            return dataclasses.replace(old, members=members)

        self.edit(parsed_args.id, change)


def _add_projects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "projects",
        metavar="PROJECT",
        nargs="+",
        type=_checked("owner"),
        help="a project's id",
    )


def _checked(
    attribute: str, convert: Callable[[str], Any] = str
) -> Callable[[str], Any]:
    """Return a type of an option that takes what an attribute may be."""

    def check(text: str) -> Any:
        try:
            return glance.attribute(attribute, convert(text))
        except (glance.Refused, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return check


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not KEY=VALUE")
    try:
        glance.check_property(key, value)
    except glance.Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return key, value
