# SPDX-License-Identifier: Apache-2.0
"""Add what a mirror of Glance needs: leases of images, and its last runs."""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MicroTime = sa.DateTime().with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)
_Document = sa.Text().with_variant(
    mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb"
)


def _ascii(length: int) -> sa.String:
    return (
        sa.String(length)
        .with_variant(
            mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"),
            "mysql",
            "mariadb",
        )
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
    )


def upgrade() -> None:
    """Create the tables; a failed run can be repeated."""
    tables = sa.inspect(op.get_bind()).get_table_names()
    if "image_leases" not in tables:
        op.create_table(
            "image_leases",
            sa.Column("image_id", _ascii(36), primary_key=True),
            sa.Column("holder", _ascii(36), nullable=False),
            sa.Column("expires_at", _MicroTime, nullable=False),
        )
    if "mirror_runs" not in tables:
        op.create_table(
            "mirror_runs",
            sa.Column("kind", _ascii(16), primary_key=True),
            sa.Column("ended_at", _MicroTime, nullable=False),
            sa.Column("result", _Document, nullable=False),
        )
