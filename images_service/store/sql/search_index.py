# SPDX-License-Identifier: Apache-2.0
"""The search index: which callers find an image in lists, by which filters.

An image has a row in ``image_audiences`` for each audience, and a row in
``search_entries`` for each audience and filter.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import datetime
import hashlib
import operator
from typing import Any

import sqlalchemy as sa

from images_service import model
from images_service.store.sql import cursor
from images_service.store.sql.schema import image_audiences
from images_service.store.sql.schema import search_entries
from images_service.store.sql.schema import State

# The audiences of all callers, administrators and operators; then the prefixes
# of a project's audiences.
_PUBLIC, _ADMINS, _OPERATORS = "*", "A", "C"
_MEMBERS_OF, _ADMINS_OF = "M:", "C:"

# No property has these names, since none holds U+0000.
_NAME, _STATUS, _MIN_RAM, _MIN_DISK = "\0name", "\0status", "\0ram", "\0disk"

# Maximum number of digests that one statement adds: SQLite's limit is 500.
_CHUNK = 100

_SET_CHANGED = (
    sa.update(image_audiences)
    .where(image_audiences.c.image_id == sa.bindparam("of_image"))
    .values(
        changed_at=sa.bindparam("changed"), state=sa.bindparam("new_state")
    )
)
_SET_STATE = (
    sa.update(search_entries)
    .where(search_entries.c.image_id == sa.bindparam("of_image"))
    .values(state=sa.bindparam("new_state"))
)
_REPLACE = (
    sa.update(search_entries)
    .where(
        search_entries.c.image_id == sa.bindparam("of_image"),
        search_entries.c.digest == sa.bindparam("old"),
    )
    .values(digest=sa.bindparam("new"))
)
_DROP = sa.delete(search_entries).where(
    search_entries.c.image_id == sa.bindparam("of_image"),
    search_entries.c.digest.in_(sa.bindparam("digests", expanding=True)),
)


def audiences(image: model.Image, members: Mapping[str, str]) -> list[str]:
    """Return the audiences of an image.

    No image is in two audiences of one viewer.

    :param members: project id -> status of the share.
    """
    own = _MEMBERS_OF + image.owner
    if image.visibility == "public":
        return [_PUBLIC]
    if image.visibility == "community":
        return [own, _ADMINS_OF + image.owner, _OPERATORS]
    found = {own, _ADMINS}
    if image.visibility == "shared":
        found |= {
            _MEMBERS_OF + member
            for member, status in members.items()
            if status == "accepted"
        }
    return sorted(found)


def audiences_of(viewer: model.Viewer) -> list[str]:
    """Return the audiences that a viewer belongs to."""
    if viewer.is_operator:
        return [_PUBLIC, _ADMINS, _OPERATORS]
    if viewer.is_admin:
        return [_PUBLIC, _ADMINS, _ADMINS_OF + viewer.project_id]
    return [_PUBLIC, _MEMBERS_OF + viewer.project_id]


def _digest(name: str, value: str) -> bytes:
    """Return the 16 bytes that stand for a name and a value.

    Digests compare exactly with every collation, and fit into a key for values
    of any length. Properties contain no U+0000, so two pairs never make the
    same text.
    """
    text = f"{name}\0{value}".encode()
    return hashlib.blake2b(text, digest_size=16).digest()


def metadata_digests(items: Iterable[tuple[str, str]]) -> set[bytes]:
    """Return the digests of properties."""
    return {_digest(name, value) for name, value in items}


def status_digests(status: str) -> set[bytes]:
    """Return the digests of the words by which filters name a status."""
    return {_digest(_STATUS, word) for word in model.status_words(status)}


def digests(image: model.Image, items: Mapping[str, str]) -> set[bytes]:
    """Return the digests of all filters that match an image.

    :param items: its properties.
    """
    found = metadata_digests(items.items()) | status_digests(image.status)
    found.add(_digest(_MIN_RAM, str(image.min_ram)))
    found.add(_digest(_MIN_DISK, str(image.min_disk)))
    if image.name is not None:
        found.add(_digest(_NAME, image.name))
    return found


def digests_of(query: model.ListQuery) -> list[bytes]:
    """Return the digests of a query's filters, in one order for all URLs."""
    found = metadata_digests(query.properties)
    for name, value in (
        (_NAME, query.name),
        (_STATUS, query.status),
        (_MIN_RAM, query.min_ram),
        (_MIN_DISK, query.min_disk),
    ):
        if value is not None:
            found.add(_digest(name, str(value)))
    return sorted(found)


def state_of(image: model.Image) -> State:
    """Return the state of an image."""
    if image.deleted_at is not None:
        return State.DELETED_HIDDEN if image.os_hidden else State.DELETED
    if image.os_hidden:
        return State.HIDDEN
    return State.KILLED if image.status == "killed" else State.LISTED


def changed_at(new: model.NewImage) -> datetime.datetime:
    """Return when an image was last created, updated or deleted."""
    image = new.image
    changed = max(image.created_at, image.updated_at)
    return new.changed_at or max(changed, image.deleted_at or changed)


def rows(
    new_images: Iterable[model.NewImage],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of images in image_audiences and search_entries."""
    of_audiences: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for new in new_images:
        found = digests(new.image, new.metadata)
        for audience in audiences(new.image, new.members or {}):
            row = {
                "image_id": new.image.id,
                "audience": audience,
                "state": int(state_of(new.image)),
                "created_at": new.image.created_at,
            }
            of_audiences.append({**row, "changed_at": changed_at(new)})
            entries += [{**row, "digest": digest} for digest in found]
    return of_audiences, entries


def insert(db: sa.Connection, new_images: Iterable[model.NewImage]) -> None:
    """Insert the rows of images."""
    of_audiences, entries = rows(new_images)
    # The index by digest spreads the rows most. In its order, neighbours in
    # the index are written together.
    entries.sort(key=operator.itemgetter("digest"))
    db.execute(sa.insert(image_audiences), of_audiences)
    db.execute(sa.insert(search_entries), entries)


def delete(db: sa.Connection, ids: Collection[str]) -> None:
    """Delete the rows of images."""
    for table in (image_audiences, search_entries):
        db.execute(sa.delete(table).where(table.c.image_id.in_(ids)))


def change(
    db: cursor.Cursor, image: model.Image, old: set[bytes], new: set[bytes]
) -> None:
    """Record an image's change of properties, or its deletion.

    :param image: the image after the change.
    :param old: the digests before; digests that can't change may be left out.
    :param new: the digests after; digests in both stay.
    """
    values = {"of_image": image.id, "new_state": int(state_of(image))}
    db.change(_SET_CHANGED, {**values, "changed": image.updated_at})
    if image.deleted_at is not None:
        db.change(_SET_STATE, values)
    gone, come = sorted(old - new), sorted(new - old)
    if len(gone) == len(come) == 1:
        # Most changes are of one property.
        replaced = {"of_image": image.id, "old": gone[0], "new": come[0]}
        db.change(_REPLACE, replaced)
        return
    if gone:
        db.db.execute(_DROP, {"of_image": image.id, "digests": gone})
    for start in range(0, len(come), _CHUNK):
        chunk = come[start : start + _CHUNK]
        db.db.execute(_insertion(image.id, chunk))


def _insertion(image_id: str, come: Iterable[bytes]) -> sa.Insert:
    """Return the INSERT of an image's entries for each of its audiences."""
    of = image_audiences.c
    parts = (
        sa.select(
            of.image_id,
            sa.literal(digest, search_entries.c.digest.type),
            of.audience,
            of.state,
            of.created_at,
        ).where(of.image_id == image_id)
        for digest in come
    )
    columns = ("image_id", "digest", "audience", "state", "created_at")
    return sa.insert(search_entries).from_select(columns, sa.union_all(*parts))
