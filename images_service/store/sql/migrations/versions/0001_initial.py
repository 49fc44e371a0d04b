# SPDX-License-Identifier: Apache-2.0
"""The first tables: images, their members, what they are found by."""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


MicroTime = sa.DateTime().with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)
Document = sa.Text().with_variant(
    mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb"
)
Digest = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")


def AsciiId(length: int) -> sa.String:  # noqa: N802
    """Return the type of an id, as this revision has it."""
    return (
        sa.String(length)
        .with_variant(
            mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"),
            "mysql",
            "mariadb",
        )
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
    )


def ExactText(length: int) -> sa.String:  # noqa: N802
    """Return the type of a name, as this revision has it."""
    # The two servers call the same collation by different names.
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    return (
        sa.String(length)
        .with_variant(
            mysql.VARCHAR(length, charset="utf8mb4", collation=collation),
            "mysql",
            "mariadb",
        )
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
    )


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "images",
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
        sa.Column("metadata", Document, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("changed_at", MicroTime, nullable=False),
    )
    for name, columns in (
        ("visibility", ("visibility", "state", "created_at", "id")),
        ("owner", ("owner", "visibility", "state", "created_at", "id")),
        ("visibility_changed", ("visibility", "state", "changed_at")),
        ("owner_changed", ("owner", "visibility", "state", "changed_at")),
        ("deleted_at", ("deleted_at", "id")),
    ):
        op.create_index(f"ix_images_{name}", "images", columns)
    op.create_table(
        "image_terms",
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
    )
    walked = ("visibility", "state", "created_at", "image_id")
    op.create_index(
        "ix_image_terms_visibility", "image_terms", ("digest", *walked)
    )
    op.create_index(
        "ix_image_terms_owner", "image_terms", ("digest", "owner", *walked)
    )
    op.create_table(
        "image_members",
        sa.Column(
            "image_id",
            AsciiId(36),
            sa.ForeignKey("images.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("member", AsciiId(255), primary_key=True),
        sa.Column("status", AsciiId(16), nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("created_at", MicroTime, nullable=False),
    )
    op.create_index(
        "ix_image_members_member",
        "image_members",
        ("member", "status", "state", "created_at", "image_id"),
    )
