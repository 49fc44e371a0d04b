# SPDX-License-Identifier: Apache-2.0
"""images-service-manage image generate: a catalogue to measure with."""

import argparse
from collections.abc import Iterator
import datetime
import itertools
import random
import uuid

import tqdm

from images_service import model
from images_service.cmd.manage import DatabaseCommand

_BATCH = 5000
_START = datetime.datetime(2021, 1, 1)
_SPAN = datetime.timedelta(days=5 * 365)
_DISTROS = ("ubuntu", "debian", "rocky", "fedora", "suse", "windows")
# How a cloud's images are spread; the weights are parts of 100.
_VISIBILITIES = {"private": 70, "shared": 20, "public": 5, "community": 5}
_STATUSES = {
    "active": 95,
    "queued": 1,
    "saving": 1,
    "importing": 1,
    "deactivated": 1,
    "killed": 1,
}


class Generate(DatabaseCommand):
    """Fill the database with made-up images.

    The same seed makes the same images. They are spread over projects,
    visibilities, statuses and shares as a cloud's are; a few names are common
    and many are rare. Each has four properties: os_distro (common values),
    team, build (rare) and batch (the same for all).
    """

    examples = ("image generate --count 100000 --projects 1000",)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add how many, for whom, and which."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--count", type=int, required=True, metavar="N")
        parser.add_argument("--projects", type=int, default=100, metavar="M")
        parser.add_argument("--seed", type=int, default=1, metavar="S")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Make them and store them."""
        store = self.store
        made = generate(
            parsed_args.count, parsed_args.projects, parsed_args.seed
        )
        stored = 0
        with tqdm.tqdm(
            total=parsed_args.count, unit=" images", disable=None, leave=False
        ) as bar:
            while batch := list(itertools.islice(made, _BATCH)):
                stored += list(store.add(batch)).count(None)
                bar.update(len(batch))
        print(f"{stored} generated")


def generate(count: int, projects: int, seed: int) -> Iterator[model.NewImage]:
    """Yield made-up images, the same for the same arguments.

    Projects are called ``project-0`` and so on; the first ones have more
    images than the last.
    """
    chance = random.Random(seed)  # noqa: S311  # nosec B311
    for number in range(count):
        # Skewed: half of all names and owners are among the first few.
        owner = int(projects * chance.random() ** 2)
        name = int(count ** (chance.random() ** 2))
        # In the order of a catalogue that grows, several at a time.
        created = _START + _SPAN * (number // 3 * 3 / count)
        created = created.replace(microsecond=0)
        visibility = _choice(chance, _VISIBILITIES)
        status = _choice(chance, _STATUSES)
        changed = created + datetime.timedelta(seconds=chance.randrange(10**7))
        deleted = chance.random() < 0.03
        image = model.Image(
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            name=f"image-{name}",
            status="deleted" if deleted else status,
            visibility=visibility,
            owner=f"project-{owner}",
            size=chance.randrange(2**36),
            min_ram=chance.choice((0, 0, 0, 512, 1024)),
            min_disk=chance.choice((0, 0, 0, 10, 20)),
            protected=chance.random() < 0.01,
            os_hidden=chance.random() < 0.02,
            created_at=created,
            updated_at=changed,
            deleted_at=changed if deleted else None,
            generation=1,
            metadata="",
        )
        metadata = {
            "os_distro": chance.choice(_DISTROS),
            "team": f"team-{chance.randrange(100)}",
            "build": f"build-{number // 5}",
            "batch": "all",
        }
        members = {}
        if visibility == "shared":
            members = {
                f"project-{chance.randrange(projects)}": chance.choice(
                    ("accepted", "pending")
                )
                for _ in range(2)
            }
        yield model.NewImage(image, metadata, members)


def _choice(chance: random.Random, weights: dict[str, int]) -> str:
    (word,) = chance.choices(list(weights), list(weights.values()))
    return word
