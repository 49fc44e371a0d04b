# SPDX-License-Identifier: Apache-2.0
"""The tables; each index with the query that needs it.

SQLite, MariaDB, MySQL and PostgreSQL have the same tables, so every type
defines how values compare: all text is compared by its code points, with no
folding of case and no padding, and times keep their microseconds.
"""

from collections.abc import Mapping
import enum
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlalchemy.types import TypeEngine

from images_service import model


def ascii_id(length: int) -> sa.String:
    """Return the type of ids, which databases order by their bytes."""
    # ascii_bin pads, but no id ends with a space.
    return (
        sa.String(length)
        .with_variant(
            mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"),
            "mysql",
            "mariadb",
        )
        .with_variant(sa.String(length, collation="C"), "postgresql")
    )


class Name(TypeDecorator[str]):
    """Up to 255 characters, which databases compare exactly."""

    impl = sa.String(255)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the dialect's type with a binary, no-pad collation."""
        if dialect.name in ("mysql", "mariadb"):
            # The two servers call the same collation by different names.
            nopad = getattr(dialect, "is_mariadb", False)
            collation = "utf8mb4_nopad_bin" if nopad else "utf8mb4_0900_bin"
            return mysql.VARCHAR(255, charset="utf8mb4", collation=collation)
        if dialect.name == "postgresql":
            return sa.String(255, collation="C")
        return sa.String(255)


# DATETIME of MariaDB and MySQL rounds to seconds by default.
MicroTime = sa.DateTime().with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)

# A document is only read and written, never compared.
Document = sa.Text().with_variant(
    mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb"
)

Digest = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")


class State(enum.IntEnum):
    """Decides whether lists show an image to callers who may list it.

    The state is a part of every index that a list reads, so that no list reads
    images that it does not show.
    """

    LISTED = 0
    KILLED = 1
    HIDDEN = 2
    DELETED = 3
    DELETED_HIDDEN = 4


metadata = sa.MetaData()

images = sa.Table(
    "images",
    metadata,
    sa.Column("id", ascii_id(36), primary_key=True),
    sa.Column("name", Name),
    sa.Column("status", ascii_id(16), nullable=False),
    sa.Column("visibility", ascii_id(16), nullable=False),
    sa.Column("owner", ascii_id(255), nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("min_ram", sa.BigInteger, nullable=False),
    sa.Column("min_disk", sa.BigInteger, nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("os_hidden", sa.Boolean, nullable=False),
    sa.Column("created_at", MicroTime, nullable=False),
    sa.Column("updated_at", MicroTime, nullable=False),
    sa.Column("deleted_at", MicroTime),
    sa.Column("generation", sa.BigInteger, nullable=False),
    # The image's properties, as they were given: a JSON object of strings.
    sa.Column("metadata", Document, nullable=False),
    # The search index has copies of the next two columns.
    sa.Column("state", sa.SmallInteger, nullable=False),
    # The latest of created_at, updated_at and deleted_at.
    sa.Column("changed_at", MicroTime, nullable=False),
    # db purge: the images that were deleted first.
    sa.Index("ix_images_deleted_at", "deleted_at", "id"),
)

# A row of these columns is a ``model.Image``.
IMAGE_COLUMNS = tuple(images.c)[: len(model.Image._fields)]


def _image_id() -> sa.Column[str]:
    return sa.Column(
        "image_id",
        ascii_id(36),
        sa.ForeignKey("images.id", ondelete="CASCADE"),
        primary_key=True,
    )


image_members = sa.Table(
    "image_members",
    metadata,
    _image_id(),
    sa.Column("member", ascii_id(255), primary_key=True),
    sa.Column("status", ascii_id(16), nullable=False),
)

# A range of equal audience and state is in the order of lists.
_ORDER = ("audience", "state", "created_at", "image_id")

# The next two tables are the search index. They are copies of data in images
# and image_members; images-service-manage db check --repair restores them.

# The audiences that find an image in lists; see ``search_index.audiences``.
image_audiences = sa.Table(
    "image_audiences",
    metadata,
    _image_id(),
    sa.Column("audience", ascii_id(257), primary_key=True),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("created_at", MicroTime, nullable=False),
    sa.Column("changed_at", MicroTime, nullable=False),
    # Lists without filters.
    sa.Index("ix_image_audiences_created", *_ORDER),
    # changes-since, if it matches few images.
    sa.Index("ix_image_audiences_changed", "audience", "state", "changed_at"),
)

# The filters by which audiences find an image; see ``search_index.digests``.
search_entries = sa.Table(
    "search_entries",
    metadata,
    # The primary key answers whether a second filter matches an image.
    _image_id(),
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("audience", ascii_id(257), primary_key=True),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("created_at", MicroTime, nullable=False),
    # Lists with filters.
    sa.Index("ix_search_entries_created", "digest", *_ORDER),
)

# Ids of purged images, which only Glance may use again.
purged_images = sa.Table(
    "purged_images",
    metadata,
    sa.Column("id", ascii_id(36), primary_key=True),
)

# The action that may change an image in Glance, and the end of this right.
image_leases = sa.Table(
    "image_leases",
    metadata,
    sa.Column("image_id", ascii_id(36), primary_key=True),
    sa.Column("holder", ascii_id(36), nullable=False),
    sa.Column("expires_at", MicroTime, nullable=False),
)

# The last run of Glance's mirror of each kind.
mirror_runs = sa.Table(
    "mirror_runs",
    metadata,
    sa.Column("kind", ascii_id(16), primary_key=True),
    sa.Column("ended_at", MicroTime, nullable=False),
    sa.Column("result", Document, nullable=False),
)


def document(items: Mapping[str, str]) -> str:
    """Return the JSON text that stores metadata."""
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))
