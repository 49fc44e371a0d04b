# SPDX-License-Identifier: Apache-2.0
"""What operators do to the store now and then: purging and checking."""

from collections.abc import Iterator
import datetime

import sqlalchemy as sa

from images_service import model
from images_service.store.sql import documents
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql import terms
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_terms
from images_service.store.sql.schema import images
from images_service.store.sql.schema import purged_images

# Images that one transaction purges or looks at.
BATCH = 500


def purgeable(database: engine.Database, before: datetime.datetime) -> int:
    """Return how many images were deleted before a time (UTC)."""
    with engine.unavailability(), database.writer.connect() as db:
        count: int = db.execute(
            sa.select(sa.func.count())
            .select_from(images)
            .where(images.c.deleted_at < before)
        ).scalar_one()
    return count


def purge(
    database: engine.Database,
    before: datetime.datetime,
    max_rows: int | None = None,
) -> Iterator[int]:
    """Remove images that were deleted before a time, the oldest first.

    In small transactions, so that it can be ended at any time and started
    again later.  What is purged is gone, but for its id, which is never used
    again.

    :param before: UTC.
    :param max_rows: at most so many images.
    :returns: yields the number of images that each transaction has removed.
    """
    left = max_rows
    while left is None or left > 0:
        size = BATCH if left is None else min(left, BATCH)
        removed = _purge(database, before, size)
        if not removed:
            return
        if left is not None:
            left -= removed
        yield removed


@engine.retried
def _purge(
    database: engine.Database, before: datetime.datetime, size: int
) -> int:
    oldest = (
        sa.select(images.c.id)
        .where(images.c.deleted_at < before)
        .order_by(images.c.deleted_at, images.c.id)
        .limit(size)
    )
    with database.writer.connect() as db:
        found = db.execute(oldest).scalars().all()
    still = sa.and_(images.c.id.in_(found), images.c.deleted_at < before)
    with database.writer.begin() as db:
        # The rows' locks first: an import may just bring one of them back.
        db.execute(
            sa.update(images)
            .where(still)
            .values(generation=images.c.generation + 1)
        )
        ids = db.execute(sa.select(images.c.id).where(still)).scalars().all()
        if ids:
            for table in (image_terms, image_members):
                db.execute(sa.delete(table).where(table.c.image_id.in_(ids)))
            db.execute(sa.delete(images).where(images.c.id.in_(ids)))
            db.execute(
                sa.insert(purged_images), [{"id": image} for image in ids]
            )
    return len(ids)


def check(database: engine.Database, *, repair: bool) -> Iterator[str]:
    """Hold what images are found by against the images themselves.

    :param repair: put right what is wrong, from the images' rows.
    :returns: yields the id of each image whose terms are not what its row
        says.
    """
    last = ""
    while True:
        wrong, last = _check(database, last, repair)
        yield from wrong
        if not last:
            return


@engine.retried
def _check(
    database: engine.Database, after: str, repair: bool
) -> tuple[list[str], str]:
    """Check the images after an id; return the wrong ones, and the last."""
    with database.writer.connect() as db:
        ids = (
            db.execute(
                sa.select(images.c.id)
                .where(images.c.id > after)
                .order_by(images.c.id)
                .limit(BATCH)
            )
            .scalars()
            .all()
        )
    wrong = []
    with database.writer.begin() as db:
        if repair:
            # The rows' locks first, as for every change.
            db.execute(
                sa.update(images)
                .where(images.c.id.in_(ids))
                .values(generation=images.c.generation)
            )
        rows_found = db.execute(
            sa.select(*listing.IMAGE_COLUMNS).where(images.c.id.in_(ids))
        )
        found = [model.Image._make(row) for row in rows_found]
        stored: dict[str, set[tuple[object, ...]]] = {}
        for row in db.execute(
            sa.select(image_terms).where(image_terms.c.image_id.in_(ids))
        ).mappings():
            stored.setdefault(row["image_id"], set()).add(_key(dict(row)))
        for image in found:
            items = documents.load(image.metadata)
            rows = terms.rows_of(image, terms.of_image(image, items))
            if {_key(row) for row in rows} == stored.get(image.id, set()):
                continue
            wrong.append(image.id)
            if repair:
                db.execute(
                    sa.delete(image_terms).where(
                        image_terms.c.image_id == image.id
                    )
                )
                db.execute(sa.insert(image_terms), rows)
    return wrong, ids[-1] if ids else ""


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[column.name] for column in image_terms.c)
