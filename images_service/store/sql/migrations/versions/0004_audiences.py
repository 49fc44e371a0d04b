# SPDX-License-Identifier: Apache-2.0
"""List images by audience: make the search index anew."""

from typing import Any

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Images whose rows one transaction copies.
_BATCH = 5000

# The old index gets this name first, so that services of the older release
# can't change images from then on.
_OLD = "image_terms_0003"
_NEW = ("search_entries", "image_audiences")
_ORDER = ("audience", "state", "created_at", "image_id")

_UNUSED = (
    "ix_images_visibility",
    "ix_images_owner",
    "ix_images_visibility_changed",
    "ix_images_owner_changed",
    "ix_image_members_member",
)

_MicroTime = sa.DateTime().with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)
_Digest = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")

_BATCHES = "SELECT id FROM images WHERE id > :after ORDER BY id LIMIT :count"
_AUDIENCES = """
INSERT INTO image_audiences (image_id, audience, state, created_at, changed_at)
SELECT i.id, {}, i.state, i.created_at, i.changed_at FROM images i {}
AND i.id > :after AND i.id <= :last
"""
# The two parts of an audience's name, and which images have it.
_FOUND = (
    ("*", "''", "WHERE visibility = 'public'"),
    ("M:", "i.owner", "WHERE visibility <> 'public'"),
    (
        "M:",
        "m.member",
        "JOIN image_members m ON m.image_id = i.id WHERE visibility = "
        "'shared' AND m.status = 'accepted' AND m.member <> i.owner",
    ),
    ("A", "''", "WHERE visibility IN ('private', 'shared')"),
    ("C:", "i.owner", "WHERE visibility = 'community'"),
    ("C", "''", "WHERE visibility = 'community'"),
)
_ENTRIES = """
INSERT INTO search_entries (image_id, digest, audience, state, created_at)
SELECT a.image_id, t.digest, a.audience, a.state, a.created_at
FROM image_audiences a JOIN image_terms_0003 t ON t.image_id = a.image_id
WHERE a.image_id > :after AND a.image_id <= :last
AND t.image_id > :after AND t.image_id <= :last
"""


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
    """Replace image_terms; a failed run can be repeated."""
    db = op.get_bind()
    tables = sa.inspect(db).get_table_names()
    if "image_terms" in tables:
        op.rename_table("image_terms", _OLD)
    if "image_terms" in tables or _OLD in tables:
        for name in _NEW:
            if name in tables:
                op.drop_table(name)
        _create()
        _fill(db)
        op.drop_table(_OLD)
    for table in ("images", "image_members"):
        for index in sa.inspect(db).get_indexes(table):
            if index["name"] in _UNUSED:
                op.drop_index(index["name"], table)
    with op.batch_alter_table("image_members") as batch:
        for column in sa.inspect(db).get_columns("image_members"):
            if column["name"] in ("state", "created_at"):
                batch.drop_column(column["name"])


def _create() -> None:
    def columns() -> tuple[sa.Column[Any], ...]:
        return (
            sa.Column(
                "image_id",
                _ascii(36),
                sa.ForeignKey("images.id", ondelete="CASCADE"),
                primary_key=True,
            ),
            sa.Column("audience", _ascii(257), primary_key=True),
            sa.Column("state", sa.SmallInteger, nullable=False),
            sa.Column("created_at", _MicroTime, nullable=False),
        )

    op.create_table(
        "image_audiences",
        *columns(),
        sa.Column("changed_at", _MicroTime, nullable=False),
    )
    image_id, *others = columns()
    op.create_table(
        "search_entries",
        image_id,
        sa.Column("digest", _Digest, primary_key=True),
        *others,
    )
    for name, table, indexed in (
        ("image_audiences_created", _NEW[1], _ORDER),
        ("image_audiences_changed", _NEW[1], (*_ORDER[:2], "changed_at")),
        ("search_entries_created", _NEW[0], ("digest", *_ORDER)),
    ):
        op.create_index(f"ix_{name}", table, indexed)


def _fill(db: sa.Connection) -> None:
    mysql_like = db.dialect.name in ("mysql", "mariadb")
    concat = "CONCAT('{}', {})" if mysql_like else "'{}' || {}"
    statements = [
        _AUDIENCES.format(concat.format(prefix, project), images)
        for prefix, project, images in _FOUND
    ]
    given: dict[str, Any] = {"after": "", "count": _BATCH}
    while ids := db.execute(sa.text(_BATCHES), given).scalars().all():
        given["last"] = ids[-1]
        for statement in (*statements, _ENTRIES):
            db.execute(sa.text(statement), given)
        given["after"] = ids[-1]
        if mysql_like:
            # A node of Galera refuses large transactions.
            db.exec_driver_sql("COMMIT")
