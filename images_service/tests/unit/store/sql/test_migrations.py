# SPDX-License-Identifier: Apache-2.0
from alembic import autogenerate
from alembic.migration import MigrationContext
import sqlalchemy as sa

from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql.migrations import run
from images_service.tests import base


class TestMigrations(base.TestCase):
    def setUp(self):
        super().setUp()
        self.database = engine.Database(self.make_conf())
        self.addCleanup(self.database.dispose)

    def test_versions(self):
        self.assertIsNone(run.version(self.database))
        run.sync(self.database)
        self.assertEqual(run.head(), run.version(self.database))

    def test_twice_is_harmless(self):
        run.sync(self.database)
        run.sync(self.database)
        self.assertEqual(run.head(), run.version(self.database))

    def test_migrations_make_what_the_tables_say(self):
        run.sync(self.database)
        with self.database.writer.connect() as db:
            context = MigrationContext.configure(
                db, opts={"compare_type": True}
            )
            self.assertEqual(
                [], autogenerate.compare_metadata(context, schema.metadata)
            )

    def test_rows_are_images(self):
        self.assertEqual(
            schema.images.c.keys()[:15],
            [
                "id",
                "name",
                "status",
                "visibility",
                "owner",
                "size",
                "min_ram",
                "min_disk",
                "protected",
                "os_hidden",
                "created_at",
                "updated_at",
                "deleted_at",
                "generation",
                "metadata",
            ],
        )

    def test_other_databases_take_the_schema(self):
        for name in ("mysql", "mariadb", "postgresql"):
            dialect = sa.make_url(f"{name}://").get_dialect()()
            for table in schema.metadata.sorted_tables:
                with self.subTest(dialect=name, table=table.name):
                    ddl = str(
                        sa.schema.CreateTable(table).compile(dialect=dialect)
                    )
                    for part in {
                        "mysql": ("ascii_bin",),
                        "mariadb": ("ascii_bin",),
                        "postgresql": ('COLLATE "C"',),
                    }[name]:
                        self.assertIn(part, ddl)
        images = schema.images
        mysql = sa.make_url("mysql://").get_dialect()()
        ddl = str(sa.schema.CreateTable(images).compile(dialect=mysql))
        self.assertIn("utf8mb4_0900_bin", ddl)
        self.assertIn("DATETIME(6)", ddl)
        mariadb = sa.make_url("mariadb://").get_dialect()()
        ddl = str(sa.schema.CreateTable(images).compile(dialect=mariadb))
        self.assertIn("utf8mb4_nopad_bin", ddl)
