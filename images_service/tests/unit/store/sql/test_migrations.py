# SPDX-License-Identifier: Apache-2.0
import json
import multiprocessing
import os
from unittest import mock

from alembic import autogenerate
from alembic.migration import MigrationContext
import sqlalchemy as sa

from images_service import config
from images_service import errors
from images_service import glance
from images_service import model
from images_service.store.sql import bulk
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql import upkeep
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import base


def _sync(connection):
    conf = config.load(["--config-file", os.devnull])
    conf.set_override("connection", connection, group="database")
    database = engine.Database(conf)
    run.sync(database)
    database.dispose()


class TestMigrations(base.TestCase):
    # The functional tests run this class on other databases, too.
    connection = None

    def setUp(self):
        super().setUp()
        self.conf = self.make_conf(connection=self.connection)
        self.database = self.open()

    def open(self):
        database = engine.Database(self.conf)
        self.addCleanup(database.dispose)
        return database

    def test_versions(self):
        self.assertIsNone(run.version(self.database))
        run.sync(self.database)
        self.assertEqual(run.head(), run.version(self.database))

    def test_twice_is_harmless(self):
        run.sync(self.database)
        run.sync(self.database)
        self.assertEqual(run.head(), run.version(self.database))

    def test_a_filled_database_keeps_what_it_has(self):
        run.sync(self.database, "0001")
        new = [glance.new_image(record, base.NOW) for record in base.records()]
        with self.database.writer.begin() as db:
            bulk.insert(db, new)
        run.sync(self.database)
        self.assertEqual(run.head(), run.version(self.database))
        store = SqlStore(self.database)
        for one in new:
            if one.image.deleted_at is None:
                viewer = model.Viewer(one.image.owner)
                image = store.get(one.image.id, viewer)
                self.assertEqual(one.image.name, image.name)
                self.assertEqual(one.metadata, json.loads(image.metadata))
        self.assertEqual([], list(upkeep.check(self.database, repair=False)))

    def test_two_processes_at_once(self):
        connection = self.database.writer.url.render_as_string(
            hide_password=False
        )
        start = multiprocessing.get_context("spawn")
        processes = [
            start.Process(target=_sync, args=(connection,)) for _ in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        self.assertEqual([0] * 4, [p.exitcode for p in processes])
        self.assertEqual(run.head(), run.version(self.database))

    def test_a_lock_that_stays_ends_it(self):
        run.sync(self.database)
        other = self.open()
        with (
            mock.patch.object(run, "LOCK_TIMEOUT", 1),
            other.writer.begin() as db,
        ):
            run.lock(db)
            with (
                self.assertLogs("images_service", "ERROR"),
                self.assertRaises(errors.StoreUnavailable),
            ):
                run.sync(self.database)
        run.sync(self.database)

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
        fields = list(model.Image._fields)
        columns = schema.images.c.keys()
        self.assertEqual(fields, columns[: len(fields)])

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
