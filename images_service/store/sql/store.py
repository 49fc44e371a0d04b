# SPDX-License-Identifier: Apache-2.0
"""The store on a relational database.

Every writing transaction changes the image's row first.  That takes the row's
lock before anything is read, so concurrent changes of one image queue up, on
one server and in a Galera cluster alike.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from oslo_db import exception as db_exc
from oslo_utils import timeutils
import sqlalchemy as sa

from images_service import errors
from images_service import model
from images_service.store import base
from images_service.store.sql import bulk
from images_service.store.sql import connections
from images_service.store.sql import documents
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql import shape as shapes
from images_service.store.sql import terms
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_terms
from images_service.store.sql.schema import images

# Shapes of listings whose statements are kept; more are built anew.
_STATEMENTS = 512
# Images that one transaction of an import stores.
_BATCH = 5000

# A row of the right columns is an image: a page makes a thousand of them.
_as_image = functools.partial(tuple.__new__, model.Image)

_PURGED = "An image with this id was purged; ids are never used again."

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
_FOR_CHANGE = _IMAGE.where(images.c.id == sa.bindparam("image_id"))
_EXISTS = sa.select(images.c.id).where(
    images.c.id == sa.bindparam("image_id"), images.c.deleted_at.is_(None)
)
# What every change begins with; a precondition is one more condition.
_TOUCH = (
    sa.update(images)
    .where(
        images.c.id == sa.bindparam("image_id"), images.c.deleted_at.is_(None)
    )
    .values(
        generation=images.c.generation + 1,
        updated_at=sa.bindparam("now"),
        changed_at=sa.bindparam("now"),
    )
)
_MARK_DELETED = _TOUCH.values(deleted_at=sa.bindparam("now"))
# The same, only where the image still has the generation that is expected.
_IF_EXPECTED = {
    clause: clause.where(images.c.generation == sa.bindparam("expected"))
    for clause in (_TOUCH, _MARK_DELETED)
}
_SET_METADATA = (
    sa.update(images)
    .where(images.c.id == sa.bindparam("image_id"))
    .values(metadata=sa.bindparam("document"))
)
_SET_STATUS = (
    sa.update(images)
    .where(images.c.id == sa.bindparam("image_id"))
    .values(status=sa.bindparam("status"), state=sa.bindparam("new_state"))
)
_SET_STATE = tuple(
    sa.update(table)
    .where(table.c.image_id == sa.bindparam("of_image"))
    .values(state=sa.bindparam("new_state"))
    for table in (image_terms, image_members)
)
_NOTHING = sa.text("SELECT 1")
_LENGTH = sa.func.length(images.c.metadata)
_ADD_TERMS = sa.insert(image_terms)


class SqlStore(base.ImageStore):
    """Images in the tables of ``schema``.

    :param database: where the tables are.
    """

    def __init__(self, database: engine.Database) -> None:
        self._database = database
        self._statement = functools.lru_cache(_STATEMENTS)(listing.statement)
        self._probe = functools.lru_cache(_STATEMENTS)(listing.probe)
        self._select = functools.lru_cache(_STATEMENTS)(_select)
        self._drop_terms = functools.lru_cache(_STATEMENTS)(_drop_terms)

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

    @engine.retried
    def change_metadata(
        self,
        image_id: str,
        change: model.MetadataChange,
        quota: int,
        generation: int | None = None,
    ) -> model.Image:
        """Change metadata; see ``base.ImageStore.change_metadata``."""

        def act(db: connections.Session) -> model.Image:
            image = _touched(db, _TOUCH, image_id, generation)
            before = documents.load(image.metadata)
            after = documents.changed(before, change, quota)
            document = documents.dump(after)
            db.execute(
                _SET_METADATA, {"image_id": image_id, "document": document}
            )
            # Of what stays there is nothing to say.
            changed = before.items() ^ after.items()
            self._change_terms(
                db,
                image,
                terms.of_metadata(dict(before.items() & changed)),
                terms.of_metadata(dict(after.items() & changed)),
            )
            return image._replace(metadata=document)

        return self._database.primary.write(act)

    @engine.retried
    def delete(self, image_id: str, generation: int | None = None) -> None:
        """Mark an image as deleted; see ``base.ImageStore.delete``."""

        def act(db: connections.Session) -> None:
            before = _touched(db, _MARK_DELETED, image_id, generation)
            after = before._replace(status="deleted")
            state = int(terms.state_of(after))
            db.execute(
                _SET_STATUS,
                {
                    "image_id": image_id,
                    "status": after.status,
                    "new_state": state,
                },
            )
            for clause in _SET_STATE:
                db.execute(clause, {"of_image": image_id, "new_state": state})
            self._change_terms(
                db,
                after,
                terms.of_status(before.status),
                terms.of_status(after.status),
            )

        self._database.primary.write(act)

    def _change_terms(
        self,
        db: connections.Session,
        image: model.Image,
        old: set[bytes],
        new: set[bytes],
    ) -> None:
        """Put an image's new terms in the place of old ones."""
        if gone := sorted(old - new):
            values = {f"digest_{n}": digest for n, digest in enumerate(gone)}
            db.execute(
                self._drop_terms(len(gone)), {"of_image": image.id, **values}
            )
        if come := terms.rows_of(image, new - old):
            db.insert(_ADD_TERMS, come)

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
            ids = [new.image.id for new in new_images]
            taken, purged = bulk.known(db, ids), bulk.purged(db, ids)
            results: list[errors.Error | None] = []
            accepted: dict[str, model.NewImage] = {}
            for new in new_images:
                image_id = new.image.id
                if image_id in purged:
                    results.append(errors.Conflict(_PURGED))
                elif image_id in accepted or (
                    image_id in taken and not replace
                ):
                    results.append(errors.Conflict())
                else:
                    accepted[image_id] = new
                    results.append(None)
            bulk.replace(db, [n for i, n in accepted.items() if i in taken])
            try:
                bulk.insert(
                    db, [n for i, n in accepted.items() if i not in taken]
                )
            except db_exc.DBDuplicateEntry as error:
                # Somebody else has just stored one of them: look again.
                raise db_exc.RetryRequest(error) from error
        return results


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


def _touched(
    db: connections.Session,
    clause: sa.Update,
    image_id: str,
    generation: int | None,
) -> model.Image:
    """Return an image whose row's lock was taken by a change of it.

    :param clause: the change, which counts the generation up.
    :raises errors.ImageNotFound: there is no such image any more.
    :raises errors.PreconditionFailed: it has another generation.
    """
    values: dict[str, Any] = {"image_id": image_id, "now": timeutils.utcnow()}
    if generation is not None:
        clause, values["expected"] = _IF_EXPECTED[clause], generation
    if not db.execute(clause, values):
        exists = db.rows(_EXISTS, {"image_id": image_id})
        raise errors.PreconditionFailed if exists else errors.ImageNotFound
    (row,) = db.rows(_FOR_CHANGE, {"image_id": image_id})
    return model.Image._make(row)


def _select(column: sa.ColumnElement[Any], count: int) -> sa.Select[Any]:
    """Return the SELECT of a column of so many images, after their ids."""
    ids = [
        sa.bindparam(f"id_{number}", type_=images.c.id.type)
        for number in range(count)
    ]
    return sa.select(images.c.id, column).where(images.c.id.in_(ids))


def _drop_terms(count: int) -> sa.Delete:
    """Return the statement that takes so many terms of an image away."""
    digests = [
        sa.bindparam(f"digest_{number}", type_=image_terms.c.digest.type)
        for number in range(count)
    ]
    return sa.delete(image_terms).where(
        image_terms.c.image_id == sa.bindparam("of_image"),
        sa.or_(*(image_terms.c.digest == digest for digest in digests)),
    )
