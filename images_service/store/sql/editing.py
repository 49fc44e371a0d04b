# SPDX-License-Identifier: Apache-2.0
"""Changes that an operator makes of one image: attributes, and its shares."""

from collections.abc import Callable

import sqlalchemy as sa

from images_service import errors
from images_service import model
from images_service.store.sql import bulk
from images_service.store.sql import documents
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import images


@engine.retried
def edit(
    database: engine.Database,
    image_id: str,
    change: Callable[[model.NewImage], model.NewImage],
) -> None:
    """Change an image, as if nobody else changed it meanwhile.

    :param image_id: a UUID in any letter case.
    :param change: takes the image as it is and returns it as it is to be; may
        be called again.  What it raises leaves the image as it was.
    :raises errors.ImageNotFound: there is no such image, or it is deleted.
    """
    this = sa.and_(
        images.c.id == image_id.lower(), images.c.deleted_at.is_(None)
    )
    with database.writer.begin() as db:
        # The row's lock first, as for every change.
        db.execute(
            sa.update(images)
            .where(this)
            .values(generation=images.c.generation)
        )
        row = db.execute(sa.select(*listing.IMAGE_COLUMNS).where(this)).first()
        if row is None:
            raise errors.ImageNotFound
        image = model.Image._make(row)
        members = db.execute(
            sa.select(image_members.c.member, image_members.c.status).where(
                image_members.c.image_id == image.id
            )
        )
        shares = {row[0]: row[1] for row in members}
        items = documents.load(image.metadata)
        bulk.replace(db, [change(model.NewImage(image, items, shares))])
