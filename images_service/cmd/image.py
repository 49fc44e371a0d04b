# SPDX-License-Identifier: Apache-2.0
"""images-service-manage image …: look at images and delete them."""

import argparse
from collections.abc import Iterator
import itertools
from typing import Any

from cliff import lister
from cliff import show

from images_service import model
from images_service.cmd.manage import DatabaseCommand

_OPERATOR = model.Viewer("", is_admin=True, is_operator=True)
_COLUMNS = ("id", "name", "status", "visibility", "owner", "created_at")
_PAGE = 1000


class List(DatabaseCommand, lister.Lister):
    """List all images that are not deleted, newest first."""

    examples = ("image list", "image list --name jammy --limit 10 -f json")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the filters."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", help="only images of this name")
        parser.add_argument("--limit", type=int, help="at most so many images")
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
        """Return the columns and a row for each image."""
        images = self.store.iterate(
            model.ListQuery(
                limit=min(parsed_args.limit or _PAGE, _PAGE),
                name=parsed_args.name,
            ),
            _OPERATOR,
        )
        limit = parsed_args.limit
        wanted = itertools.count() if limit is None else range(limit)
        return _COLUMNS, (
            tuple(str(getattr(image, column)) for column in _COLUMNS)
            for _, image in zip(wanted, images, strict=False)
        )


class Show(DatabaseCommand, show.ShowOne):
    """Show an image, its metadata included."""

    examples = ("image show 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the image's id."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id")
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return the image's attributes and their values."""
        image = self.store.get(parsed_args.id, _OPERATOR)
        fields = image._asdict()
        return tuple(fields), tuple(
            value if value is None or isinstance(value, int) else str(value)
            for value in fields.values()
        )


class Delete(DatabaseCommand):
    """Delete images, protected ones too."""

    examples = ("image delete 0f1c9a52-6a3c-4d8e-9b7e-2d1a4c6e8f00",)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the images' ids."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id", nargs="+")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete one image after the other; the first failure ends it."""
        store = self.store
        for image_id in parsed_args.id:
            image = store.get(image_id, _OPERATOR)
            store.delete(image.id)
