# SPDX-License-Identifier: Apache-2.0
"""Fill the configured database with made-up images, to measure with.

They are spread over projects, visibilities, statuses and shares as a cloud's
are; a few names are common and many are rare. Each has four properties:
os_distro (common values), team, build (rare) and batch (the same for all).
The team of the oldest images, a 500th of all, is "first".
The same seed makes the same images.
"""

import argparse
from collections.abc import Iterator
import datetime
import itertools
import random
import uuid

from images_service import config
from images_service import model
from images_service.store.sql import engine
from images_service.store.sql.store import SqlStore

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


def generate(count: int, projects: int, seed: int) -> Iterator[model.NewImage]:
    """Yield made-up images, the same for the same arguments.

    Projects are called ``project-0`` and so on; the first ones have more
    images than the last.
    """
    chance = random.Random(seed)
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
        if number < count // 500:
            metadata["team"] = "first"
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


def add(store: SqlStore, made: Iterator[model.NewImage]) -> int:
    """Store images; return how many the store has taken."""
    stored = 0
    while batch := list(itertools.islice(made, _BATCH)):
        stored += list(store.add(batch)).count(None)
    return stored


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config-file", action="append", metavar="PATH")
    parser.add_argument("--count", type=int, required=True, metavar="N")
    parser.add_argument("--projects", type=int, default=100, metavar="M")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    options = parser.parse_args(argv)
    conf = config.load(config.file_arguments(options.config_file))
    database = engine.Database(conf, engine.COMMANDS)
    made = generate(options.count, options.projects, options.seed)
    print(f"{add(SqlStore(database), made)} generated")
    database.dispose()


if __name__ == "__main__":
    main()
