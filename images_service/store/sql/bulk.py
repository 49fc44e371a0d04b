# SPDX-License-Identifier: Apache-2.0
"""Many images at once, with a few statements for all of them."""

from collections.abc import Sequence
import datetime
import operator
from typing import Any

import sqlalchemy as sa

from images_service import model
from images_service.store.sql import documents
from images_service.store.sql import terms
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_terms
from images_service.store.sql.schema import images
from images_service.store.sql.schema import purged_images


def purged(db: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Return those of some ids that a purged image had."""
    return set(
        db.execute(
            sa.select(purged_images.c.id).where(purged_images.c.id.in_(ids))
        ).scalars()
    )


def known(db: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Return those of some ids that an image in the store has."""
    return set(
        db.execute(
            sa.select(images.c.id).where(images.c.id.in_(ids))
        ).scalars()
    )


def replace(db: sa.Connection, new_images: Sequence[model.NewImage]) -> None:
    """Replace images that are in the store, whatever they were."""
    if not new_images:
        return
    rows = []
    for new in new_images:
        row = _row(new)
        row["image_id"] = row.pop("id")
        del row["generation"]
        rows.append(row)
    db.execute(
        sa.update(images)
        .where(images.c.id == sa.bindparam("image_id"))
        .values(generation=images.c.generation + 1),
        rows,
    )
    ids = [new.image.id for new in new_images]
    db.execute(sa.delete(image_terms).where(image_terms.c.image_id.in_(ids)))
    # Members that the import says nothing of stay.
    shared = [new.image.id for new in new_images if new.members is not None]
    db.execute(
        sa.delete(image_members).where(image_members.c.image_id.in_(shared))
    )
    db.execute(
        sa.update(image_members)
        .where(image_members.c.image_id == sa.bindparam("of_image"))
        .values(
            created_at=sa.bindparam("created"), state=sa.bindparam("now_is")
        ),
        [
            {
                "of_image": new.image.id,
                "created": new.image.created_at,
                "now_is": terms.state_of(new.image),
            }
            for new in new_images
        ],
    )
    _insert_children(db, new_images)


def insert(db: sa.Connection, new_images: Sequence[model.NewImage]) -> None:
    """Store images whose ids no image has."""
    if new_images:
        db.execute(sa.insert(images), [_row(new) for new in new_images])
        _insert_children(db, new_images)


def _insert_children(
    db: sa.Connection, new_images: Sequence[model.NewImage]
) -> None:
    rows = [
        row
        for new in new_images
        for row in terms.rows_of(
            new.image, terms.of_image(new.image, new.metadata)
        )
    ]
    # In the order of the index that spreads them most, so that neighbours
    # there are written together.
    rows.sort(key=operator.itemgetter("digest"))
    db.execute(sa.insert(image_terms), rows)
    members = [
        {
            "image_id": new.image.id,
            "member": member,
            "status": status,
            "state": terms.state_of(new.image),
            "created_at": new.image.created_at,
        }
        for new in new_images
        for member, status in (new.members or {}).items()
    ]
    if members:
        db.execute(sa.insert(image_members), members)


def _row(new: model.NewImage) -> dict[str, Any]:
    image = new.image
    times: list[datetime.datetime | None] = [
        image.created_at,
        image.updated_at,
        image.deleted_at,
    ]
    return {
        **image._asdict(),
        "metadata": documents.dump(new.metadata),
        "generation": 1,
        "state": terms.state_of(image),
        "changed_at": max(time for time in times if time is not None),
    }
