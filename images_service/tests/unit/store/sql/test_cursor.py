# SPDX-License-Identifier: Apache-2.0
"""Statements on the driver's cursor have SQLAlchemy's values and errors."""

import datetime

import sqlalchemy as sa

from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.tests import backends
from images_service.tests import base

TABLE = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("made_at", sa.DateTime),
    sa.Column("changed_at", sa.DateTime),
    sa.Column("flag", sa.Boolean),
    sa.Column("digest", sa.LargeBinary(16)),
    sa.Column("text", sa.String(40)),
)
NOON = datetime.datetime(2026, 3, 1, 12)
LATER = NOON + datetime.timedelta(hours=1)
ROW = {
    "id": 1,
    "made_at": NOON,
    "changed_at": NOON,
    "flag": True,
    "digest": b"\xff" * 16,
    "text": "100% of :it",
}


class CursorTests(backends.OnBackend):
    def setUp(self):
        super().setUp()
        database = engine.Database(self.make_conf(connection=self.connection))
        self.addCleanup(database.dispose)
        TABLE.create(database.writer)
        self.addCleanup(TABLE.drop, database.writer)
        with database.writer.begin() as db:
            db.execute(sa.insert(TABLE), ROW)
        self.server = database.primary

    def rows(self, clause, **values):
        return self.server.read(lambda db: db.rows(clause, values))

    def test_values_have_the_types_of_their_columns(self):
        self.assertEqual([tuple(ROW.values())], self.rows(sa.select(TABLE)))

    def test_values_that_a_clause_holds_itself(self):
        for clause in (
            sa.select(TABLE.c.id).where(TABLE.c.made_at < LATER),
            sa.select(TABLE.c.id).where(
                TABLE.c.made_at == NOON, TABLE.c.text == ROW["text"]
            ),
            sa.select(TABLE.c.id).where(TABLE.c.text.like("100%")),
        ):
            self.assertEqual([(1,)], self.rows(clause))
        late = sa.select(TABLE.c.id).where(TABLE.c.made_at > LATER)
        self.assertEqual([], self.rows(late))

    def test_one_name_for_several_parameters(self):
        clause = (
            sa.update(TABLE)
            .where(TABLE.c.id == sa.bindparam("which"))
            .values(
                made_at=sa.bindparam("now"), changed_at=sa.bindparam("now")
            )
        )
        values = {"which": 1, "now": LATER, "nobody": "asks for this"}
        changed = self.server.write(lambda db: db.change(clause, values))
        self.assertEqual(1, changed)
        self.assertEqual(
            [(LATER, LATER)],
            self.rows(sa.select(TABLE.c.made_at, TABLE.c.changed_at)),
        )
        values["which"] = 2
        changed = self.server.write(lambda db: db.change(clause, values))
        self.assertEqual(0, changed)

    def test_rows_that_stay_as_they_are_match_all_the_same(self):
        clause = sa.update(TABLE).values(text=ROW["text"])
        self.assertEqual(1, self.server.write(lambda db: db.change(clause)))

    def test_errors_are_sqlalchemys(self):
        with self.assertRaises(sa.exc.IntegrityError):
            self.server.write(
                lambda db: db.change(sa.insert(TABLE).values(id=1))
            )
        with self.assertRaises(sa.exc.DBAPIError):
            self.rows(sa.text("SELECT nothing"))
        # The connection is not lost, and outside of any transaction.
        self.assertEqual([(1,)], self.rows(sa.select(TABLE.c.id)))

    def test_a_statement_is_compiled_once(self):
        compiled = cursor.compiler(self.server.engine.dialect)
        clause = sa.select(TABLE)
        self.assertIs(compiled(clause), compiled(clause))


class TestSqlite(CursorTests, base.TestCase):
    backend = "sqlite"


class TestMysql(CursorTests, base.TestCase):
    backend = "mysql"


class TestPostgresql(CursorTests, base.TestCase):
    backend = "postgresql"
