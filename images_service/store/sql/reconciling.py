# SPDX-License-Identifier: Apache-2.0
"""Makes the store's images equal to Glance's.

A process reads the generations, asks Glance, and stores the answer only if the
generations are still the same. So any number of processes may do this at the
same time.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import enum

from oslo_utils import timeutils
import sqlalchemy as sa

from images_service import model
from images_service.store import base
from images_service.store.sql import admin
from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.store.sql.schema import images
from images_service.store.sql.schema import purged_images

# Ids that one statement reads.
_BATCH = 5000
_GENERATION = sa.select(images.c.generation, images.c.deleted_at).where(
    images.c.id == sa.bindparam("image_id")
)
# The ids of images that are not deleted, in their order.
_IDS = (
    sa.select(images.c.id)
    .where(images.c.id > sa.bindparam("after"), images.c.deleted_at.is_(None))
    .order_by(images.c.id)
    .limit(_BATCH)
)


class Outcome(enum.Enum):
    """The result for an image."""

    CREATED = "created"
    CHANGED = "changed"
    SAME = "same"
    DELETED = "deleted"


def generation(database: engine.Database, image_id: str) -> int:
    """Return an image's generation, deleted or not; 0 if there is no image.

    :param image_id: in lower case.
    """
    return _known(database, image_id)[0]


def is_known(database: engine.Database, image_id: str) -> bool:
    """Tell whether an image exists and is not deleted."""
    return _known(database, image_id)[1]


def _known(database: engine.Database, image_id: str) -> tuple[int, bool]:
    values = {"image_id": image_id}
    rows = database.primary.read(lambda db: db.rows(_GENERATION, values))
    return (int(rows[0][0]), rows[0][1] is None) if rows else (0, False)


def ids(database: engine.Database) -> Iterator[str]:
    """Yield the ids of all images that are not deleted."""
    values = {"after": ""}
    while rows := database.primary.read(lambda db: db.rows(_IDS, values)):
        yield from (row[0] for row in rows)
        values["after"] = rows[-1][0]


def different(
    database: engine.Database, new_images: Sequence[model.NewImage]
) -> tuple[list[str], list[str]]:
    """Return the ids of images that differ, and of images that are missing."""
    wanted = {new.image.id for new in new_images}
    stored = database.primary.read(
        lambda db: admin.stored(db.db, wanted, lock=False)
    )
    changed = [
        new.image.id
        for new in new_images
        if new.image.id in stored
        and not admin.is_same(stored[new.image.id], new)
    ]
    return changed, sorted(wanted - stored.keys())


def reconcile(
    database: engine.Database,
    new_images: Sequence[model.NewImage],
    generations: Mapping[str, int],
) -> dict[str, Outcome]:
    """Store images as they are in Glance, all or none of them.

    An image that is the same keeps its generation. A deleted or purged image
    may exist again.

    :param generations: generations of the images before Glance was asked.
    :returns: the outcome of each image, by its id.
    :raises Changed: the store has changed one of the images since then.
    """
    ids = {new.image.id for new in new_images}
    return database.primary.write(
        lambda db: _reconcile(
            db, admin.stored(db.db, ids), new_images, generations
        )
    )


def delete(
    database: engine.Database,
    image_id: str,
    generation: int,
    deleted_at: datetime.datetime | None = None,
) -> Outcome:
    """Mark an image that Glance no longer has as deleted.

    :param generation: the image's generation before Glance was asked.
    :param deleted_at: None for the present time.
    :raises Changed: the store has changed the image since then.
    """

    def act(db: cursor.Cursor) -> Outcome:
        stored = admin.stored(db.db, [image_id])
        old = stored.get(image_id)
        if old is None or old.image.deleted_at is not None:
            return Outcome.SAME
        at = deleted_at or timeutils.utcnow()
        image = old.image._replace(
            status="deleted", updated_at=at, deleted_at=at
        )
        new = dataclasses.replace(old, image=image)
        _reconcile(db, stored, [new], {image_id: generation})
        return Outcome.DELETED

    return database.primary.write(act)


def _reconcile(
    db: cursor.Cursor,
    stored: Mapping[str, model.NewImage],
    new_images: Collection[model.NewImage],
    generations: Mapping[str, int],
) -> dict[str, Outcome]:
    """Store images; see ``reconcile``.

    :param stored: the images as the store has them; their rows are locked.
    """
    now = timeutils.utcnow()
    found: dict[str, Outcome] = {}
    changed: dict[str, model.NewImage] = {}
    for new in new_images:
        image_id = new.image.id
        old = stored.get(image_id)
        if (old.image.generation if old else 0) != generations[image_id]:
            raise base.Changed
        if old and admin.is_same(old, new):
            found[image_id] = Outcome.SAME
            continue
        # With the image's own times, clients that ask for changes since their
        # last request would miss an image that arrives late.
        changed[image_id] = dataclasses.replace(new, changed_at=now)
        found[image_id] = Outcome.CHANGED if old else Outcome.CREATED
    created = changed.keys() - stored.keys()
    try:
        admin.store(db.db, changed, changed.keys() & stored.keys())
        if created:
            purged = purged_images.c.id.in_(created)
            db.db.execute(sa.delete(purged_images).where(purged))
    except sa.exc.IntegrityError as error:
        # Another process has just stored one of the images.
        raise base.Changed from error
    return found
