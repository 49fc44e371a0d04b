# SPDX-License-Identifier: Apache-2.0
"""What is read of the store on a relational database: an image, and pages."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import sqlalchemy as sa

from images_service import errors
from images_service import model
from images_service.store import base
from images_service.store.sql import connections
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql import shape as shapes
from images_service.store.sql import terms
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import images

# Shapes of listings whose statements are kept; more are built anew.
_STATEMENTS = 512

# A row of the right columns is an image: a page makes a thousand of them.
_as_image = functools.partial(tuple.__new__, model.Image)

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
_UNDELETED = _SEEN.where(images.c.deleted_at.is_(None))
_NOTHING = sa.text("SELECT 1")
_LENGTH = sa.func.length(images.c.metadata)


class Reader(base.ImageStore):
    """The half of a store that changes nothing.

    :param database: where the tables of ``schema`` are.
    """

    def __init__(self, database: engine.Database) -> None:
        self._database = database
        self._statement = functools.lru_cache(_STATEMENTS)(listing.statement)
        self._probe = functools.lru_cache(_STATEMENTS)(listing.probe)
        self._select = functools.lru_cache(_STATEMENTS)(_select)

    def get(self, image_id: str, viewer: model.Viewer) -> model.Image:
        """Return one image; see ``base.ImageStore.get``."""
        with engine.unavailability():
            image = self._database.primary.read(
                lambda db: _visible(db, _UNDELETED, image_id, viewer)
            )
        if image is None:
            raise errors.ImageNotFound
        return image

    def ping(self) -> None:
        """Ask the database for nothing; see ``base.ImageStore.ping``."""
        with engine.unavailability():
            self._database.replica.read(lambda db: db.rows(_NOTHING, {}))

    def connection_counts(self) -> tuple[int, int]:
        """See ``base.ImageStore.connection_counts``."""
        return self._database.connection_counts()

    def page(self, query: model.ListQuery, viewer: model.Viewer) -> model.Page:
        """Return a page of images; see ``base.ImageStore.page``."""
        with engine.unavailability():
            return self._database.replica.read(
                lambda db: self._page(db, query, viewer)
            )

    def _page(
        self,
        db: connections.Session,
        query: model.ListQuery,
        viewer: model.Viewer,
    ) -> model.Page:
        place = None
        if query.marker is not None:
            # An image that was deleted since still has its place.
            marker = _visible(db, _SEEN, query.marker, viewer)
            if marker is None:
                marker = self._ahead(query.marker, viewer)
            if marker is None:
                raise errors.MarkerNotFound(query.marker)
            place = (marker.created_at, marker.id)
        digests = terms.of_query(query)
        shape = shapes.Shape(
            sets=shapes.sets(query, viewer),
            after_marker=place is not None,
            terms=len(digests),
            changes_since=query.changes_since is not None,
            bounded=query.max_metadata is not None,
        )
        values = listing.parameters(query, viewer, digests, place)
        if shape.needs_probe:
            (counts,) = db.rows(self._probe(shape), values)
            shape, digests = listing.probed(shape, digests, counts)
            values = listing.parameters(query, viewer, digests, place)
        rows = db.rows(self._statement(shape), values)
        kept = rows[: query.limit]
        if query.max_metadata is not None and None in [
            row[-1] for row in kept
        ]:
            kept = self._complete(db, kept, query.max_metadata)
        return model.Page(list(map(_as_image, kept)), len(rows) > len(kept))

    def _complete(
        self,
        db: connections.Session,
        rows: Sequence[connections.Row],
        most: int,
    ) -> list[connections.Row]:
        """Return the first rows of a page, with metadata that were left out.

        :param rows: their last column is metadata, null where left out.
        :param most: about so many characters of metadata, but for the first
            row's; the rows end before there are more.
        """
        left_out = [row[0] for row in rows if row[-1] is None]
        lengths = self._of_images(db, _LENGTH, left_out)
        kept: list[connections.Row] = []
        for row in rows:
            most -= lengths.get(row[0], 0) if row[-1] is None else len(row[-1])
            if kept and most < 0:
                break
            kept.append(row)
        wanted = [row[0] for row in kept if row[-1] is None]
        found = self._of_images(db, images.c.metadata, wanted)
        return [
            # One that was purged meanwhile has none any more.
            row
            if row[-1] is not None
            else [*row[:-1], found.get(row[0], "{}")]
            for row in kept
        ]

    def _of_images(
        self,
        db: connections.Session,
        column: sa.ColumnElement[Any],
        ids: list[str],
    ) -> dict[str, Any]:
        """Return the value of a column for each of some images, by id."""
        values = {f"id_{number}": id_ for number, id_ in enumerate(ids)}
        rows = db.rows(self._select(column, len(ids)), values) if ids else []
        return {row[0]: row[1] for row in rows}

    def _ahead(
        self, image_id: str, viewer: model.Viewer
    ) -> model.Image | None:
        """Look an image up on the primary, if a replica may lag behind it."""
        if self._database.replica is self._database.primary:
            return None
        return self._database.primary.read(
            lambda db: _visible(db, _SEEN, image_id, viewer)
        )

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


def _visible(
    db: connections.Session,
    clause: sa.Select[Any],
    image_id: str,
    viewer: model.Viewer,
) -> model.Image | None:
    """Return the image, if there is one that the viewer may see."""
    if not model.IMAGE_ID.fullmatch(image_id):
        return None
    rows = db.rows(
        clause,
        {"image_id": image_id.lower(), "project_id": viewer.project_id},
    )
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


def _select(column: sa.ColumnElement[Any], count: int) -> sa.Select[Any]:
    """Return the SELECT of a column of so many images, after their ids."""
    ids = [
        sa.bindparam(f"id_{number}", type_=images.c.id.type)
        for number in range(count)
    ]
    return sa.select(images.c.id, column).where(images.c.id.in_(ids))
