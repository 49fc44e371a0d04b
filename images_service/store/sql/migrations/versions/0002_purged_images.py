# SPDX-License-Identifier: Apache-2.0
"""Keep the ids of purged images, so that they are never used again."""

from alembic import op
import sqlalchemy as sa

from images_service.store.sql.schema import AsciiId

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "purged_images", sa.Column("id", AsciiId(36), primary_key=True)
    )
