# SPDX-License-Identifier: Apache-2.0
"""The store on a relational database.

A change is a transaction that begins with an UPDATE of the image's row, on the
condition that its generation is still the one that was read. This takes the
row's lock, on one server and in a Galera cluster.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import json
from typing import Any

from oslo_utils import timeutils
import sqlalchemy as sa

from images_service import exception
from images_service import model
from images_service.store import base
from images_service.store.sql import admin
from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql import schema
from images_service.store.sql import search_index
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import images

# Images that one transaction of an import stores.
_BATCH = 5000

# An image, and the viewer's share of it.
_SEEN = (
    sa.select(*schema.IMAGE_COLUMNS, image_members.c.status.label("share"))
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
_UNDELETED = _SEEN.where(images.c.deleted_at.is_(None))
_NOTHING = sa.text("SELECT 1")

# The first statement of every change: it matches no row if another change came
# first.
_TOUCH = (
    sa.update(images)
    .where(
        images.c.id == sa.bindparam("image_id"),
        images.c.generation == sa.bindparam("read"),
        images.c.deleted_at.is_(None),
    )
    .values(
        generation=sa.bindparam("next"),
        updated_at=sa.bindparam("now"),
        changed_at=sa.bindparam("now"),
    )
)
_SET_METADATA = _TOUCH.values(metadata=sa.bindparam("document"))
_MARK_DELETED = _TOUCH.values(
    deleted_at=sa.bindparam("now"),
    status="deleted",
    state=sa.bindparam("new_state"),
)


class SqlStore(base.ImageStore):
    """Images in the tables of ``schema``.

    :param database: the database that contains the tables.
    """

    def __init__(self, database: engine.Database) -> None:
        self._database = database
        self._listing = listing.Listing(database.replica.engine.dialect)

    def get(self, image_id: str, viewer: model.Viewer) -> model.Image:
        """Return one image; see ``base.ImageStore.get``."""
        image = self._database.primary.read(
            lambda db: _visible(db, _UNDELETED, image_id, viewer)
        )
        if image is None:
            raise exception.ImageNotFound
        return image

    def ping(self) -> None:
        """Run a query without tables; see ``base.ImageStore.ping``."""
        self._database.replica.read(lambda db: db.rows(_NOTHING))

    def connection_counts(self) -> tuple[int, int]:
        """See ``base.ImageStore.connection_counts``."""
        return self._database.connection_counts()

    def page(
        self, query: model.ListQuery, viewer: model.Viewer, kind: type[model.T]
    ) -> model.Page[model.T]:
        """Return a page of images; see ``base.ImageStore.page``."""
        place = None
        if query.marker is not None:
            place = self._place(query.marker, viewer)
        fetched = self._database.replica.read(
            lambda db: self._listing.read(
                db, query, viewer, place, kind._fields
            )
        )
        rows = fetched[: query.limit]
        if "metadata" in kind._fields and None in [row[-1] for row in rows]:
            # The page has too much metadata; with half as many images, each
            # share is larger.
            fewer = dataclasses.replace(query, limit=query.limit // 2)
            return self.page(fewer, viewer, kind)
        # A page may have a thousand images, and _make takes longer.
        found = list(map(functools.partial(tuple.__new__, kind), rows))
        return model.Page(found, len(fetched) > len(rows))

    def _place(self, marker: str, viewer: model.Viewer) -> listing.Place:
        """Return the place of the image after which a page starts.

        :raises MarkerNotFound: the viewer sees no such image.
        """
        # A deleted image still has its place. A new image may be missing on a
        # replica, which lags behind.
        for server in (self._database.replica, self._database.primary):
            image = server.read(lambda db: _visible(db, _SEEN, marker, viewer))
            if image is not None:
                return image.created_at, image.id
            if server is self._database.primary:
                break
        raise exception.MarkerNotFound(marker)

    def change_metadata(
        self,
        image: model.Image,
        items: Mapping[str, str],
        token: str | None = None,
    ) -> model.Image:
        """Change metadata; see ``base.ImageStore.change_metadata``."""
        after = _next(image)._replace(metadata=schema.document(items))
        before = json.loads(image.metadata).items()
        # The entries of unchanged items stay.
        old = search_index.metadata_digests(before - items.items())
        new = search_index.metadata_digests(items.items() - before)

        values = {"document": after.metadata}
        self._change(_SET_METADATA, after, values, old, new)
        return after

    def delete(self, image: model.Image, token: str | None = None) -> None:
        """Mark an image as deleted; see ``base.ImageStore.delete``."""
        now = _next(image)
        after = now._replace(status="deleted", deleted_at=now.updated_at)
        values = {"new_state": int(search_index.state_of(after))}
        old = search_index.status_digests(image.status)
        new = search_index.status_digests(after.status)
        self._change(_MARK_DELETED, after, values, old, new)

    def _change(
        self,
        clause: sa.Update,
        after: model.Image,
        values: Mapping[str, Any],
        old: set[bytes],
        new: set[bytes],
    ) -> None:
        """Change an image, if it has not changed since it was read.

        :raises base.Changed: it has changed since then.
        """
        given = {
            "image_id": after.id,
            "read": after.generation - 1,
            "next": after.generation,
            "now": after.updated_at,
            **values,
        }

        def act(db: cursor.Cursor) -> None:
            if not db.change(clause, given):
                raise base.Changed
            search_index.change(db, after, old, new)

        self._database.primary.write(act)

    def add(
        self, images: Sequence[model.NewImage], *, replace: bool = False
    ) -> list[exception.Error | None]:
        """Store images; see ``base.ImageStore.add``."""
        results: list[exception.Error | None] = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            results += admin.add(self._database, batch, replace=replace)
        return results


def _visible(
    db: cursor.Cursor,
    clause: sa.Select[Any],
    image_id: str,
    viewer: model.Viewer,
) -> model.Image | None:
    """Return the image, if there is one that the viewer may see."""
    if not model.IMAGE_ID.fullmatch(image_id):
        return None
    values = {"image_id": image_id.lower(), "project_id": viewer.project_id}
    rows = db.rows(clause, values)
    if not rows:
        return None
    *fields, share = rows[0]
    image = model.Image._make(fields)
    seen = (
        viewer.is_admin
        or image.visibility in ("public", "community")
        or image.owner == viewer.project_id
        or (image.visibility == "shared" and share is not None)
    )
    return image if seen else None


def _next(image: model.Image) -> model.Image:
    """Return an image with the next generation and the present time."""
    return image._replace(
        generation=image.generation + 1, updated_at=timeutils.utcnow()
    )
