# SPDX-License-Identifier: Apache-2.0
"""images-service-manage image import: import images from a file."""

import argparse
import collections
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import io
import itertools
import os
import signal
import sys
from types import FrameType
from typing import BinaryIO
from typing import cast
from typing import TextIO

from oslo_utils import timeutils
import tqdm

from images_service import exception
from images_service import model
from images_service.cmd.manage import DatabaseCommand
from images_service.glance import records
from images_service.glance.listing import Listing

_BATCH = 5000


class Import(DatabaseCommand):
    """Import images as Glance lists them.

    FILE holds an answer of Glance's GET /v2/images (or several), a JSON array
    of images, or one of these in each line. Each image is stored wholly or not
    at all. Each refused image is printed with the reason. The exit status is 1
    if an image is refused, if the file has no images, or if the last answer
    has a next page. Ctrl+C ends the import after the images that are being
    stored, with exit status 130; --skip-existing continues it.
    """

    changes_images = True
    examples = (
        "image import images.json",
        "image import --update --owner 8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1 -",
    )
    arguments = {
        "file": {"metavar": "FILE", "help": "a path, or - for stdin"},
        "--update": {
            "exclusive": "existing",
            "action": "store_true",
            "help": "replace images that exist, instead of refusing them; "
            "those that are the same stay as they are",
        },
        "--skip-existing": {
            "exclusive": "existing",
            "action": "store_true",
            "help": "count images that exist, or were purged, and go on",
        },
        "--owner": {"help": "the project of images that name none"},
        "--generate-ids": {
            "action": "store_true",
            "help": "give images without ids random ones, other ones at each "
            "run; without this option such images are refused",
        },
        "--partial": {
            "action": "store_true",
            "help": "accept a list whose last page names a next page",
        },
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        self._args = parsed_args
        self._counts: dict[str, int] = collections.Counter()
        with _opened(parsed_args.file) as stream:
            listing = Listing(stream)
            try:
                self._import(listing)
            except KeyboardInterrupt:
                print(
                    "Interrupted. --skip-existing imports the rest.",
                    file=sys.stderr,
                )
                raise
            finally:
                # Stored images stay stored, even if an error ends the import.
                self._print_counts()
        return self._status(listing)

    def _import(self, listing: Listing) -> None:
        now = timeutils.utcnow()
        numbered = enumerate(listing, 1)
        while batch := list(itertools.islice(numbered, _BATCH)):
            images: dict[int, model.NewImage] = {}
            refusals: dict[int, str] = {}
            for number, record in batch:
                try:
                    images[number] = records.new_image(
                        record,
                        now,
                        self._args.owner,
                        generate_id=self._args.generate_ids,
                    )
                except records.Refused as error:
                    refusals[number] = str(error)
            with _uninterrupted():
                refusals |= self._add(images)
                self._counts["refused"] += len(refusals)
                for number, reason in sorted(refusals.items()):
                    line = f"image {number}: {reason}"
                    tqdm.tqdm.write(line, file=sys.stderr)

    def _add(self, images: Mapping[int, model.NewImage]) -> dict[int, str]:
        """Store images; return the reasons of refusals, by image number."""
        refusals = {}
        results = self.store.add(
            list(images.values()), replace=self._args.update
        )
        for (number, new), error in zip(images.items(), results, strict=True):
            exists = isinstance(error, exception.Conflict)
            if error is None:
                self._counts["imported"] += 1
            elif exists and self._args.skip_existing:
                self._counts["existed"] += 1
            else:
                refusals[number] = f"{new.image.id}: {error}"
        return refusals

    def _print_counts(self) -> None:
        results = ["imported", "existed", "refused"]
        if not self._args.skip_existing:
            results.remove("existed")
        print(", ".join(f"{self._counts[name]} {name}" for name in results))

    def _status(self, listing: Listing) -> int:
        """Return the exit status of a complete import."""
        problem = None
        if not any(self._counts.values()):
            problem = f"{self._args.file} holds no images."
        elif listing.next_page is not None and not self._args.partial:
            problem = (
                f"Images are missing: the last answer in {self._args.file} "
                f"has a next page, {listing.next_page}. Import that page too, "
                "or pass --partial."
            )
        if problem:
            print(problem, file=sys.stderr)
        return int(bool(problem or self._counts["refused"]))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """Open a file or standard input; a bar shows the progress."""
    standard = path == "-"
    with (
        open(
            sys.stdin.fileno() if standard else path,
            "rb",
            buffering=0,
            closefd=not standard,
        ) as file,
        tqdm.tqdm.wrapattr(
            file,
            "read",
            # 0 for a pipe, whose length is unknown.
            total=os.fstat(file.fileno()).st_size or None,
            # None shows the bar only if standard error is a terminal.
            disable=None,
            leave=False,
        ) as counted,
    ):
        yield io.TextIOWrapper(cast(BinaryIO, counted), encoding="utf-8")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl+C to the end of the block; then raise KeyboardInterrupt.

    A second Ctrl+C is not delayed: the database may not answer.
    """
    waiting = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal waiting
        if waiting:
            raise KeyboardInterrupt
        waiting = True

    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        raise KeyboardInterrupt
