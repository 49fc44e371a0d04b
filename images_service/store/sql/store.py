# SPDX-License-Identifier: Apache-2.0
"""The store on a relational database.

Every writing transaction changes the image's row first.  That takes the row's
lock before anything is read, so concurrent changes of one image queue up, on
one server and in a Galera cluster alike.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import functools
import re
from typing import Any

from oslo_db import exception as db_exc
from oslo_utils import timeutils
import sqlalchemy as sa

from images_service import errors
from images_service import model
from images_service.store import base
from images_service.store.sql import documents
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_properties
from images_service.store.sql.schema import images

# Shapes of listings whose statements are kept; more are built anew.
_STATEMENTS = 512
# Images that one transaction of an import stores.
_BATCH = 500

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I | re.A)

_IMAGE = sa.select(*listing.IMAGE_COLUMNS)
# An image, and the viewer's share of it.
_SEEN = (
    _IMAGE.add_columns(image_members.c.status.label("share"))
    .select_from(
        images.outerjoin(
            image_members,
            sa.and_(
                image_members.c.image_id == images.c.id,
                image_members.c.member == sa.bindparam("project_id"),
            ),
        )
    )
    .where(images.c.id == sa.bindparam("image_id"))
)
_UNDELETED = _SEEN.where(images.c.deleted == sa.false())


class SqlStore(base.ImageStore):
    """Images in the tables of ``schema``.

    :param database: where the tables are.
    """

    def __init__(self, database: engine.Database) -> None:
        self._database = database
        self._statement = functools.lru_cache(_STATEMENTS)(listing.statement)

    def get(self, image_id: str, viewer: model.Viewer) -> model.Image:
        """Return one image; see ``base.ImageStore.get``."""
        with engine.unavailability(), self._database.writer.connect() as db:
            image = _visible(db, _UNDELETED, image_id, viewer)
        if image is None:
            raise errors.ImageNotFound
        return image

    def page(self, query: model.ListQuery, viewer: model.Viewer) -> model.Page:
        """Return a page of images; see ``base.ImageStore.page``."""
        with engine.unavailability(), self._database.reader.connect() as db:
            place = None
            if query.marker is not None:
                # An image that was deleted since still has its place.
                marker = _visible(db, _SEEN, query.marker, viewer)
                if marker is None:
                    raise errors.MarkerNotFound(query.marker)
                place = (marker.created_at, marker.id)
            shape = listing.Shape.of(query, viewer, after=place is not None)
            values = listing.parameters(query, viewer, place)
            rows = db.execute(self._statement(shape), values).all()
        found = [model.Image._make(row) for row in rows[: query.limit]]
        return model.Page(found, len(rows) > query.limit)

    def iterate(
        self, query: model.ListQuery, viewer: model.Viewer
    ) -> Iterator[model.Image]:
        """Yield all images of a listing; see ``base.ImageStore.iterate``."""
        while True:
            page = self.page(query, viewer)
            yield from page.images
            if not page.more:
                return
            query = dataclasses.replace(query, marker=page.images[-1].id)

    @engine.retried
    def change_metadata(
        self,
        image_id: str,
        change: model.MetadataChange,
        quota: int,
        generation: int | None = None,
    ) -> model.Image:
        """Change metadata; see ``base.ImageStore.change_metadata``."""
        with self._database.writer.begin() as db:
            now = timeutils.utcnow()
            _touch(db, image_id, generation, updated_at=now, changed_at=now)
            row = db.execute(_IMAGE.where(images.c.id == image_id)).one()
            image = model.Image._make(row)
            before = documents.load(image.metadata)
            after = documents.changed(before, change, quota)
            document = documents.dump(after)
            db.execute(
                sa.update(images)
                .where(images.c.id == image_id)
                .values(metadata=document)
            )
            old, new = documents.digests(before), documents.digests(after)
            _unindex(db, image_id, old - new)
            _index(db, image_id, new - old)
        return image._replace(metadata=document)

    @engine.retried
    def delete(self, image_id: str, generation: int | None = None) -> None:
        """Mark an image as deleted; see ``base.ImageStore.delete``."""
        with self._database.writer.begin() as db:
            now = timeutils.utcnow()
            _touch(
                db,
                image_id,
                generation,
                status="deleted",
                deleted=True,
                deleted_at=now,
                updated_at=now,
                changed_at=now,
            )

    def add(
        self, images: Sequence[model.NewImage], *, replace: bool = False
    ) -> list[errors.Error | None]:
        """Store images; see ``base.ImageStore.add``."""
        results: list[errors.Error | None] = []
        for start in range(0, len(images), _BATCH):
            results += self._add(images[start : start + _BATCH], replace)
        return results

    @engine.retried
    def _add(
        self, new_images: Sequence[model.NewImage], replace: bool
    ) -> list[errors.Error | None]:
        """Store some images in one transaction."""
        with self._database.writer.begin() as db:
            taken = _generations(db, [new.image.id for new in new_images])
            results: list[errors.Error | None] = []
            accepted: dict[str, model.NewImage] = {}
            for new in new_images:
                image_id = new.image.id
                if image_id in accepted or (image_id in taken and not replace):
                    results.append(errors.Conflict())
                else:
                    accepted[image_id] = new
                    results.append(None)
            _replace(db, [n for i, n in accepted.items() if i in taken])
            try:
                _insert(db, [n for i, n in accepted.items() if i not in taken])
            except db_exc.DBDuplicateEntry as error:
                # Somebody else has just stored one of them: look again.
                raise db_exc.RetryRequest(error) from error
        return results


def _visible(
    db: sa.Connection,
    statement: sa.Select[Any],
    image_id: str,
    viewer: model.Viewer,
) -> model.Image | None:
    """Return the image, if there is one that the viewer may see."""
    if not _UUID.fullmatch(image_id):
        return None
    row = db.execute(
        statement,
        {"image_id": image_id.lower(), "project_id": viewer.project_id},
    ).one_or_none()
    if row is None:
        return None
    *fields, share = row
    image = model.Image._make(fields)
    seen = (
        viewer.is_admin
        or image.visibility in ("public", "community")
        or image.owner == viewer.project_id
        or (image.visibility == "shared" and share is not None)
    )
    return image if seen else None


def _touch(
    db: sa.Connection, image_id: str, generation: int | None, **values: Any
) -> None:
    """Take the row's lock by a change of it, and count its generation up.

    :raises errors.ImageNotFound: there is no such image any more.
    :raises errors.PreconditionFailed: it has another generation.
    """
    touch = sa.update(images).where(
        images.c.id == image_id, images.c.deleted == sa.false()
    )
    if generation is not None:
        touch = touch.where(images.c.generation == generation)
    touch = touch.values(generation=images.c.generation + 1, **values)
    if db.execute(touch).rowcount:
        return
    exists = db.execute(
        sa.select(images.c.id).where(
            images.c.id == image_id, images.c.deleted == sa.false()
        )
    ).first()
    raise errors.PreconditionFailed if exists else errors.ImageNotFound


def _index(
    db: sa.Connection, image_id: str, digests: Collection[bytes]
) -> None:
    if digests:
        db.execute(
            sa.insert(image_properties),
            [{"image_id": image_id, "digest": digest} for digest in digests],
        )


def _unindex(
    db: sa.Connection, image_id: str, digests: Collection[bytes]
) -> None:
    if digests:
        db.execute(
            sa.delete(image_properties).where(
                image_properties.c.image_id == image_id,
                image_properties.c.digest.in_(digests),
            )
        )


def _generations(db: sa.Connection, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the generations of those images that are in the store."""
    rows = db.execute(
        sa.select(images.c.id, images.c.generation).where(images.c.id.in_(ids))
    )
    return {row.id: row.generation for row in rows}


def _replace(db: sa.Connection, new_images: Sequence[model.NewImage]) -> None:
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
    db.execute(
        sa.delete(image_properties).where(image_properties.c.image_id.in_(ids))
    )
    # Members that the import says nothing of stay, in the listing's order.
    shared = [new.image.id for new in new_images if new.members is not None]
    db.execute(
        sa.delete(image_members).where(image_members.c.image_id.in_(shared))
    )
    db.execute(
        sa.update(image_members)
        .where(image_members.c.image_id == sa.bindparam("of_image"))
        .values(image_created_at=sa.bindparam("created_at")),
        [
            {"of_image": new.image.id, "created_at": new.image.created_at}
            for new in new_images
        ],
    )
    _insert_children(db, new_images)


def _insert(db: sa.Connection, new_images: Sequence[model.NewImage]) -> None:
    if new_images:
        db.execute(sa.insert(images), [_row(new) for new in new_images])
        _insert_children(db, new_images)


def _insert_children(
    db: sa.Connection, new_images: Sequence[model.NewImage]
) -> None:
    properties = [
        {"image_id": new.image.id, "digest": digest}
        for new in new_images
        for digest in documents.digests(new.metadata)
    ]
    if properties:
        db.execute(sa.insert(image_properties), properties)
    members = [
        {
            "image_id": new.image.id,
            "member": member,
            "status": status,
            "image_created_at": new.image.created_at,
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
        "deleted": image.deleted_at is not None,
        "changed_at": max(time for time in times if time is not None),
    }
