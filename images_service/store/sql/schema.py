# SPDX-License-Identifier: Apache-2.0
"""The tables; each index with the query that needs it.

The same tables serve SQLite, MariaDB, MySQL and PostgreSQL, so every type says
how it compares: all text is compared by its code points, with no folding of
case and no padding, and times keep their microseconds.
"""

import enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlalchemy.types import TypeEngine


class AsciiId(TypeDecorator[str]):
    """An id: ASCII, ordered by its bytes on every database."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the dialect's type with a binary collation."""
        if dialect.name in ("mysql", "mariadb"):
            # ascii_bin pads, but no id ends with a space.
            return mysql.VARCHAR(
                self.length, charset="ascii", collation="ascii_bin"
            )
        if dialect.name == "postgresql":
            return postgresql.VARCHAR(self.length, collation="C")
        return sa.String(self.length)


class ExactText(TypeDecorator[str]):
    """Up to so many characters of any kind, compared exactly."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the dialect's type with a binary, no-pad collation."""
        if dialect.name in ("mysql", "mariadb"):
            # The two servers call the same collation by different names.
            nopad = getattr(dialect, "is_mariadb", False)
            collation = "utf8mb4_nopad_bin" if nopad else "utf8mb4_0900_bin"
            return mysql.VARCHAR(
                self.length, charset="utf8mb4", collation=collation
            )
        if dialect.name == "postgresql":
            return postgresql.VARCHAR(self.length, collation="C")
        return sa.String(self.length)


# DATETIME of MariaDB and MySQL rounds to seconds unless told otherwise.
MicroTime = sa.DateTime().with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)

# A document is never compared, only read and written.
Document = sa.Text().with_variant(
    mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb"
)

Digest = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")


class State(enum.IntEnum):
    """What decides whether a listing holds an image, beside who asks.

    A part of every index that a listing reads, so that no listing reads past
    images that it leaves out.
    """

    LISTED = 0
    KILLED = 1
    HIDDEN = 2
    DELETED = 3
    DELETED_HIDDEN = 4


metadata = sa.MetaData()

# Columns up to ``metadata`` stand in the order of ``model.Image``: a row of
# them is an image.
images = sa.Table(
    "images",
    metadata,
    sa.Column("id", AsciiId(36), primary_key=True),
    sa.Column("name", ExactText(255)),
    sa.Column("status", AsciiId(16), nullable=False),
    sa.Column("visibility", AsciiId(16), nullable=False),
    sa.Column("owner", AsciiId(255), nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("min_ram", sa.BigInteger, nullable=False),
    sa.Column("min_disk", sa.BigInteger, nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("os_hidden", sa.Boolean, nullable=False),
    sa.Column("created_at", MicroTime, nullable=False),
    sa.Column("updated_at", MicroTime, nullable=False),
    sa.Column("deleted_at", MicroTime),
    sa.Column("generation", sa.BigInteger, nullable=False),
    # What the image's properties are: a JSON object of strings, as they were
    # given.  A change rewrites it under the row's lock.
    sa.Column("metadata", Document, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    # The latest of created_at, updated_at and deleted_at: changes-since asks
    # one column instead of three.
    sa.Column("changed_at", MicroTime, nullable=False),
    # Public images, and an administrator's view of private and shared ones.
    sa.Index(
        "ix_images_visibility", "visibility", "state", "created_at", "id"
    ),
    # A project's own images, by visibility.
    sa.Index(
        "ix_images_owner", "owner", "visibility", "state", "created_at", "id"
    ),
    # The same two, for changes-since where it matches few.
    sa.Index(
        "ix_images_visibility_changed", "visibility", "state", "changed_at"
    ),
    sa.Index(
        "ix_images_owner_changed", "owner", "visibility", "state", "changed_at"
    ),
    # Purging what was deleted long ago, the oldest first.
    sa.Index("ix_images_deleted_at", "deleted_at", "id"),
)

# What images can be found by: a row for each property, and for name, status,
# minRam and minDisk, all of which filters compare for equality.  A term is the
# digest of its name and value: exact on every database, whatever its
# collations, and short enough for a key, however long a value is.  The copies
# of the image's columns make a filtered listing a walk along an index, just as
# an unfiltered one is.  Nothing is lost with this table: the image's row has
# it all.
image_terms = sa.Table(
    "image_terms",
    metadata,
    # An image's terms stand together, for changes of them, for purging, and
    # for asking whether an image has a second term.
    sa.Column(
        "image_id",
        AsciiId(36),
        sa.ForeignKey("images.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("owner", AsciiId(255), nullable=False),
    sa.Column("visibility", AsciiId(16), nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("created_at", MicroTime, nullable=False),
    # The same two views as of images, of those that have a term.
    sa.Index(
        "ix_image_terms_visibility",
        "digest",
        "visibility",
        "state",
        "created_at",
        "image_id",
    ),
    sa.Index(
        "ix_image_terms_owner",
        "digest",
        "owner",
        "visibility",
        "state",
        "created_at",
        "image_id",
    ),
)

# Ids of images that were purged: an id is never used again.
purged_images = sa.Table(
    "purged_images",
    metadata,
    sa.Column("id", AsciiId(36), primary_key=True),
)

image_members = sa.Table(
    "image_members",
    metadata,
    sa.Column(
        "image_id",
        AsciiId(36),
        sa.ForeignKey("images.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("member", AsciiId(255), primary_key=True),
    sa.Column("status", AsciiId(16), nullable=False),
    # Copies of the image's, so that what is shared with a project is read in
    # the order of a listing.
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("created_at", MicroTime, nullable=False),
    sa.Index(
        "ix_image_members_member",
        "member",
        "status",
        "state",
        "created_at",
        "image_id",
    ),
)
