# SPDX-License-Identifier: Apache-2.0
"""images-service-manage image import: images come in."""

import argparse
from collections.abc import Iterator
import itertools
import sys
from typing import IO

from oslo_utils import timeutils
import tqdm

from images_service import glance
from images_service import model
from images_service.cmd.manage import DatabaseCommand

_BATCH = 5000


class Import(DatabaseCommand):
    """Import images as Glance lists them.

    FILE holds an answer of Glance's GET /v2/images (or several), a JSON array
    of images, or one of these a line. Each image is stored wholly or not at
    all; those that are refused are named with the reason, and make the exit
    status 1.
    """

    examples = (
        "image import images.json",
        "image import --update --owner 8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1 -",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the file and what to do with what it holds."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "file", metavar="FILE", help="a path, or - for standard input"
        )
        parser.add_argument(
            "--update",
            action="store_true",
            help="replace images that exist; else they are refused",
        )
        parser.add_argument(
            "--owner", help="the project of images that name none"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Import; return the exit status."""
        if parsed_args.file == "-":
            return self._import(sys.stdin, parsed_args)
        with open(parsed_args.file, encoding="utf-8") as stream:
            return self._import(stream, parsed_args)

    def _import(self, stream: IO[str], options: argparse.Namespace) -> int:
        store = self.store
        now = timeutils.utcnow()
        stored = refused = 0
        # None: the bar is there where standard error is a terminal.
        records = tqdm.tqdm(
            glance.read(stream), unit=" images", disable=None, leave=False
        )
        for batch in _batches(enumerate(records, 1)):
            taken: list[tuple[int, model.NewImage]] = []
            failures: list[tuple[int, str]] = []
            for number, record in batch:
                try:
                    image = glance.new_image(record, now, options.owner)
                except glance.Refused as error:
                    failures.append((number, str(error)))
                else:
                    taken.append((number, image))
            results = store.add(
                [image for _, image in taken], replace=options.update
            )
            for (number, image), refusal in zip(taken, results, strict=True):
                if refusal is None:
                    stored += 1
                else:
                    failures.append((number, f"{image.image.id}: {refusal}"))
            for number, reason in sorted(failures):
                records.write(f"image {number}: {reason}", file=sys.stderr)
            refused += len(failures)
        print(f"{stored} imported, {refused} refused")
        return int(refused > 0)


def _batches(
    records: Iterator[tuple[int, object]],
) -> Iterator[list[tuple[int, object]]]:
    while batch := list(itertools.islice(records, _BATCH)):
        yield batch
