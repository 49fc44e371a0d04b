# SPDX-License-Identifier: Apache-2.0
"""The first tables: images, their members, what they are found by."""

from alembic import op
import sqlalchemy as sa

from images_service.store.sql.schema import AsciiId
from images_service.store.sql.schema import Digest
from images_service.store.sql.schema import Document
from images_service.store.sql.schema import ExactText
from images_service.store.sql.schema import MicroTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


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
