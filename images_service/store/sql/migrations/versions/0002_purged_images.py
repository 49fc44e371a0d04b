# SPDX-License-Identifier: Apache-2.0
"""Keep the ids of purged images, so that they are never used again."""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    image_id = (
        sa.String(36)
        .with_variant(
            mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"),
            "mysql",
            "mariadb",
        )
        .with_variant(postgresql.VARCHAR(36, collation="C"), "postgresql")
    )
    op.create_table(
        "purged_images", sa.Column("id", image_id, primary_key=True)
    )
