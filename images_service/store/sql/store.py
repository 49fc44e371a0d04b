# SPDX-License-Identifier: Apache-2.0
"""The store on a relational database.

Every writing transaction changes the image's row first.  That takes the row's
lock before anything is read, so concurrent changes of one image queue up, on
one server and in a Galera cluster alike.
"""

from collections.abc import Sequence
import functools
from typing import Any

from oslo_db import exception as db_exc
from oslo_utils import timeutils
import sqlalchemy as sa

from images_service import errors
from images_service import model
from images_service.store.sql import bulk
from images_service.store.sql import connections
from images_service.store.sql import documents
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql import reading
from images_service.store.sql import terms
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_terms
from images_service.store.sql.schema import images

# Statements that are kept, by how many terms they drop.
_STATEMENTS = 512
# Images that one transaction of an import stores.
_BATCH = 5000

_PURGED = "An image with this id was purged; ids are never used again."

_FOR_CHANGE = sa.select(*listing.IMAGE_COLUMNS).where(
    images.c.id == sa.bindparam("image_id")
)
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
_ADD_TERMS = sa.insert(image_terms)


class SqlStore(reading.Reader):
    """Images in the tables of ``schema``.

    :param database: where the tables are.
    """

    def __init__(self, database: engine.Database) -> None:
        super().__init__(database)
        self._drop_terms = functools.lru_cache(_STATEMENTS)(_drop_terms)

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
