# SPDX-License-Identifier: Apache-2.0
"""Changes that operators make: imports, edits, purges, checks.

Each change locks the rows of its images before it reads them.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import json
import math
from typing import Any

from oslo_db import exception as db_exc
import sqlalchemy as sa

from images_service import exception
from images_service import model
from images_service.store.sql import engine
from images_service.store.sql import failures
from images_service.store.sql import schema
from images_service.store.sql import search_index
from images_service.store.sql.schema import image_audiences
from images_service.store.sql.schema import IMAGE_COLUMNS
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import images
from images_service.store.sql.schema import purged_images
from images_service.store.sql.schema import search_entries

# Images that one transaction purges or checks.
BATCH = 500

_REPLACE = (
    sa.update(images)
    .where(images.c.id == sa.bindparam("of_image"))
    .values(generation=images.c.generation + 1)
)

_PURGED = "An image with this id was purged; ids are never used again."


@failures.retry_deadlocks
def add(
    database: engine.Database,
    new_images: Sequence[model.NewImage],
    *,
    replace: bool,
) -> list[exception.Error | None]:
    """Store images in one transaction; see ``base.ImageStore.add``."""
    ids = {new.image.id for new in new_images}
    results: list[exception.Error | None] = []
    accepted: dict[str, model.NewImage] = {}
    with database.writer.begin() as db:
        known = stored(db, ids) if replace else {}
        taken: Collection[str] = (
            known if replace else _locked(db, images.c.id.in_(ids))
        )
        clause = sa.select(purged_images.c.id).where(
            purged_images.c.id.in_(ids)
        )
        purged = set(db.execute(clause).scalars())
        for new in new_images:
            image_id = new.image.id
            if image_id in purged:
                results.append(exception.Conflict(_PURGED))
            elif image_id in accepted or (image_id in taken and not replace):
                results.append(exception.Conflict())
            else:
                accepted[image_id] = new
                results.append(None)
        changed = {
            image_id: new
            for image_id, new in accepted.items()
            if image_id not in known or not is_same(known[image_id], new)
        }
        try:
            store(db, changed, changed.keys() & taken)
        except sa.exc.IntegrityError as error:
            # Another process has just stored one of the images.
            raise db_exc.RetryRequest(error) from error
    return results


@failures.retry_deadlocks
def edit(
    database: engine.Database,
    image_id: str,
    change: Callable[[model.NewImage], model.NewImage],
) -> None:
    """Change an image in one transaction.

    :param image_id: a UUID in any letter case.
    :param change: takes the present image and returns the changed one; may be
        called again. If it raises an error, the image stays unchanged.
    :raises ImageNotFound: there is no such image, or it is deleted.
    """
    with database.writer.begin() as db:
        old = stored(db, [image_id.lower()]).get(image_id.lower())
        if old is None or old.image.deleted_at is not None:
            raise exception.ImageNotFound
        store(db, {old.image.id: change(old)}, {old.image.id})


def purgeable(database: engine.Database, before: datetime.datetime) -> int:
    """Return how many images were deleted before a time (UTC)."""
    count = (
        sa.select(sa.func.count())
        .select_from(images)
        .where(images.c.deleted_at < before)
    )
    [[found]] = database.primary.read(lambda db: db.rows(count))
    return int(found)


def purge(
    database: engine.Database,
    before: datetime.datetime,
    max_rows: int | None = None,
) -> Iterator[int]:
    """Remove images that were deleted before a time, the oldest first.

    The ids are kept, and never used again. The transactions are small, so the
    purge can be interrupted at any time and started again later.

    :param before: UTC.
    :param max_rows: maximum number of images.
    :returns: yields the number of images that each transaction has removed.
    """
    left = math.inf if max_rows is None else max_rows
    while left > 0:
        removed = _purge(database, before, int(min(left, BATCH)))
        if not removed:
            return
        left -= removed
        yield removed


@failures.retry_deadlocks
def _purge(
    database: engine.Database, before: datetime.datetime, size: int
) -> int:
    deleted = images.c.deleted_at < before
    with database.writer.connect() as db:
        oldest = (
            sa.select(images.c.id)
            .where(deleted)
            .order_by(images.c.deleted_at, images.c.id)
            .limit(size)
        )
        found = db.execute(oldest).scalars().all()
    with database.writer.begin() as db:
        # An import may have replaced one of them in between.
        ids = _locked(db, images.c.id.in_(found), deleted)
        if ids:
            # This also deletes the rows of these images in other tables.
            db.execute(sa.delete(images).where(images.c.id.in_(ids)))
            db.execute(
                sa.insert(purged_images), [{"id": image} for image in ids]
            )
    return len(ids)


def check(database: engine.Database, *, repair: bool) -> Iterator[str]:
    """Compare the search index with the images and members that it copies.

    :param repair: restore the entries that differ.
    :returns: yields the id of each image whose entries differ.
    """
    last = ""
    while True:
        wrong, last = _check(database, last, repair)
        yield from wrong
        if not last:
            return


@failures.retry_deadlocks
def _check(
    database: engine.Database, after: str, repair: bool
) -> tuple[list[str], str]:
    """Check the images after an id; return wrong ids, and the last id."""
    with database.writer.connect() as db:
        batch = (
            sa.select(images.c.id)
            .where(images.c.id > after)
            .order_by(images.c.id)
            .limit(BATCH)
        )
        ids = db.execute(batch).scalars().all()
    with database.snapshot() as db:
        repeated: dict[str, set[frozenset[Any]]] = {}
        for table in (image_audiences, search_entries):
            clause = sa.select(table).where(table.c.image_id.in_(ids))
            for row in db.execute(clause).mappings():
                of_image = repeated.setdefault(row["image_id"], set())
                of_image.add(frozenset(row.items()))
        wrong = []
        for image_id, new in stored(db, ids, lock=repair).items():
            expected = {
                frozenset(row.items())
                for rows in search_index.rows([new])
                for row in rows
            }
            if expected != repeated.get(image_id, set()):
                wrong.append(new)
        if repair and wrong:
            search_index.delete(db, [new.image.id for new in wrong])
            search_index.insert(db, wrong)
    return [new.image.id for new in wrong], ids[-1] if ids else ""


def _locked(db: sa.Connection, *scope: sa.ColumnElement[bool]) -> set[str]:
    """Lock the rows of images, and return their ids."""
    clause = sa.select(images.c.id).where(*scope).with_for_update()
    return set(db.execute(clause).scalars())


def stored(
    db: sa.Connection, ids: Collection[str], *, lock: bool = True
) -> dict[str, model.NewImage]:
    """Return images by id, deleted ones as well.

    :param lock: lock their rows first.
    """
    clause = sa.select(*IMAGE_COLUMNS, images.c.changed_at)
    clause = clause.where(images.c.id.in_(ids)).order_by(images.c.id)
    if lock:
        clause = clause.with_for_update()
    found = [tuple(row) for row in db.execute(clause)]
    shares = _members(db, [row[0] for row in found])
    return {
        row[0]: model.NewImage(
            (image := model.Image._make(row[:-1])),
            json.loads(image.metadata),
            shares[row[0]],
            row[-1],
        )
        for row in found
    }


def is_same(old: model.NewImage, new: model.NewImage) -> bool:
    """Tell whether a new image is the same as a stored one."""
    generation, metadata = old.image.generation, old.image.metadata
    return (
        new.image._replace(generation=generation, metadata=metadata)
        == old.image
        and new.metadata == old.metadata
        and new.members in (None, old.members)
    )


def _members(
    db: sa.Connection, ids: Collection[str]
) -> dict[str, dict[str, str]]:
    """Return image id -> project id -> status of the share."""
    found: dict[str, dict[str, str]] = {image_id: {} for image_id in ids}
    clause = sa.select(image_members).where(image_members.c.image_id.in_(ids))
    for image_id, member, status in db.execute(clause):
        found[image_id][member] = status
    return found


def store(
    db: sa.Connection,
    accepted: Mapping[str, model.NewImage],
    taken: Collection[str],
) -> None:
    """Insert images, or replace those whose ids are taken."""
    added, replaced, known, shares = [], [], [], []
    for image_id, new in accepted.items():
        row = {
            **new.image._asdict(),
            "metadata": schema.document(new.metadata),
            "state": search_index.state_of(new.image),
            "changed_at": search_index.changed_at(new),
        }
        if image_id in taken:
            del row["id"], row["generation"]
            replaced.append({**row, "of_image": image_id})
        else:
            added.append({**row, "generation": 1})
        # An import that does not mention the members keeps them.
        if new.members is not None:
            known.append(image_id)
            shares += [
                {"image_id": image_id, "member": member, "status": status}
                for member, status in new.members.items()
            ]
    if replaced:
        db.execute(_REPLACE, replaced)
        db.execute(
            sa.delete(image_members).where(image_members.c.image_id.in_(known))
        )
        search_index.delete(db, taken)
    if added:
        db.execute(sa.insert(images), added)
    if shares:
        db.execute(sa.insert(image_members), shares)
    if accepted:
        members = _members(db, accepted)
        search_index.insert(
            db,
            [
                dataclasses.replace(new, members=members[image_id])
                for image_id, new in accepted.items()
            ],
        )
