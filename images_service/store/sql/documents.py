# SPDX-License-Identifier: Apache-2.0
"""An image's metadata as a document: a JSON object of strings."""

from collections.abc import Mapping
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
