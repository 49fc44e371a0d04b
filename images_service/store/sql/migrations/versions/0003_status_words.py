# SPDX-License-Identifier: Apache-2.0
"""Find images by each word for their status, not by sets of statuses."""

import hashlib

from alembic import op
import sqlalchemy as sa

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Stored status -> the sets of statuses by which an image was found before.
_SETS = {
    "active": ("active",),
    "queued": ("queued", "queued,saving"),
    "saving": ("saving", "queued,saving"),
    "uploading": ("uploading", "uploading,importing,deactivated"),
    "importing": ("importing", "uploading,importing,deactivated"),
    "deactivated": ("deactivated", "uploading,importing,deactivated"),
    "killed": ("killed",),
    "pending_delete": ("pending_delete", "pending_delete,deleted"),
    "deleted": ("deleted", "pending_delete,deleted"),
}
# Stored status -> the words by which it is found now.
_WORDS = {
    "active": ("active",),
    "queued": ("queued", "saving"),
    "saving": ("saving",),
    "uploading": ("uploading", "unknown"),
    "importing": ("importing", "unknown"),
    "deactivated": ("deactivated", "unknown"),
    "killed": ("killed", "error"),
    "pending_delete": ("pending_delete", "deleted"),
    "deleted": ("deleted",),
}


def _digest(words: str) -> bytes:
    text = f"\0status\0{words}".encode()
    return hashlib.blake2b(text, digest_size=16).digest()


_DIGEST = sa.bindparam("digest", type_=sa.LargeBinary(16))
_DROP = sa.text("DELETE FROM image_terms WHERE digest = :digest").bindparams(
    _DIGEST
)
_ADD = sa.text(
    "INSERT INTO image_terms "
    "(image_id, digest, owner, visibility, state, created_at) "
    "SELECT id, :digest, owner, visibility, state, created_at "
    "FROM images WHERE status = :status"
).bindparams(_DIGEST)


def upgrade() -> None:
    """Replace the terms of statuses."""
    db = op.get_bind()
    for digest in {
        _digest(words)
        for mapping in (_SETS, _WORDS)
        for each in mapping.values()
        for words in each
    }:
        db.execute(_DROP, {"digest": digest})
    for status, words in _WORDS.items():
        for word in words:
            db.execute(_ADD, {"digest": _digest(word), "status": status})
