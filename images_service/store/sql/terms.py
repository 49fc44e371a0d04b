# SPDX-License-Identifier: Apache-2.0
"""What an image can be found by, as rows of ``image_terms``."""

from collections.abc import Iterable
from collections.abc import Mapping
import hashlib
from typing import Any

from images_service import model
from images_service.store.sql.schema import State

# Names that no property has: none holds U+0000.
_NAME, _STATUS, _MIN_RAM, _MIN_DISK = "\0name", "\0status", "\0ram", "\0disk"

# A stored status -> the sets of stored statuses that a filter on it names:
# itself, and those that the API shows by the same name.
_STATUS_SETS: Mapping[str, frozenset[tuple[str, ...]]] = {
    stored: frozenset(
        {
            (stored,),
            tuple(
                other
                for other, (name, _) in model.STATUSES.items()
                if name == shown
            ),
        }
    )
    for stored, (shown, _) in model.STATUSES.items()
}


def _digest(name: str, value: str) -> bytes:
    """Return the 16 bytes that stand for a name and a value.

    No property holds U+0000, so no two pairs are the same bytes.
    """
    text = f"{name}\0{value}".encode()
    return hashlib.blake2b(text, digest_size=16).digest()


def of_metadata(items: Mapping[str, str]) -> set[bytes]:
    """Return the terms of properties."""
    return {_digest(name, value) for name, value in items.items()}


def of_status(status: str) -> set[bytes]:
    """Return the terms of a stored status."""
    return {
        _digest(_STATUS, ",".join(statuses))
        for statuses in _STATUS_SETS[status]
    }


def of_image(image: model.Image, items: Mapping[str, str]) -> set[bytes]:
    """Return all terms of an image.

    :param items: its properties.
    """
    found = of_metadata(items) | of_status(image.status)
    found.add(_digest(_MIN_RAM, str(image.min_ram)))
    found.add(_digest(_MIN_DISK, str(image.min_disk)))
    if image.name is not None:
        found.add(_digest(_NAME, image.name))
    return found


def of_query(query: model.ListQuery) -> list[bytes]:
    """Return the terms that an image must have to match a query."""
    found = [_digest(name, value) for name, value in query.properties]
    if query.name is not None:
        found.append(_digest(_NAME, query.name))
    if query.min_ram is not None:
        found.append(_digest(_MIN_RAM, str(query.min_ram)))
    if query.min_disk is not None:
        found.append(_digest(_MIN_DISK, str(query.min_disk)))
    if query.statuses is not None:
        # A set of statuses that no image has is a term that no image has.
        found.append(_digest(_STATUS, ",".join(query.statuses)))
    return list(dict.fromkeys(found))


def state_of(image: model.Image) -> State:
    """Return the state that an image's columns add up to."""
    if image.deleted_at is not None:
        return State.DELETED_HIDDEN if image.os_hidden else State.DELETED
    if image.os_hidden:
        return State.HIDDEN
    return State.KILLED if image.status == "killed" else State.LISTED


def rows_of(
    image: model.Image, digests: Iterable[bytes]
) -> list[dict[str, Any]]:
    """Return the rows that say that an image has some terms."""
    copies = {
        "image_id": image.id,
        "owner": image.owner,
        "visibility": image.visibility,
        "state": state_of(image),
        "created_at": image.created_at,
    }
    return [{**copies, "digest": digest} for digest in digests]
