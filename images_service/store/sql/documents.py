# SPDX-License-Identifier: Apache-2.0
"""An image's metadata as a document, and the document's index.

The document is the truth: a JSON object of strings.  The index holds a digest
of each name and value, so that images can be found by their properties.
"""

from collections.abc import Mapping
import hashlib
import json

from images_service import errors
from images_service import model


def dump(items: Mapping[str, str]) -> str:
    """Return the JSON text that stores metadata."""
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))


def load(document: str) -> dict[str, str]:
    """Return the metadata that a JSON text stores."""
    items: dict[str, str] = json.loads(document)
    return items


def digest(name: str, value: str) -> bytes:
    """Return the 16 bytes that index a property.

    Neither part holds U+0000, so no two properties are the same bytes.
    """
    text = f"{name}\0{value}".encode()
    return hashlib.blake2b(text, digest_size=16).digest()


def digests(items: Mapping[str, str]) -> set[bytes]:
    """Return the index of a document."""
    return {digest(name, value) for name, value in items.items()}


def changed(
    items: Mapping[str, str], change: model.MetadataChange, quota: int
) -> dict[str, str]:
    """Return metadata after a change.

    :raises errors.MetadataKeyNotFound: the key to remove isn't there.
    :raises errors.QuotaExceeded: there would be more items than the quota.
    """
    if change.remove is not None:
        if change.remove not in items:
            raise errors.MetadataKeyNotFound
        return {k: v for k, v in items.items() if k != change.remove}
    after = dict(change.items) if change.replace else {**items, **change.items}
    if len(after) > quota:
        raise errors.QuotaExceeded
    return after
