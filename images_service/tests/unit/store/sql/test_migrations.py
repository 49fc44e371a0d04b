# SPDX-License-Identifier: Apache-2.0
import importlib
import json
import os
import shutil
from unittest import mock

from alembic import autogenerate
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
import sqlalchemy as sa

from images_service import exception
from images_service import model
from images_service.glance import records
from images_service.store.sql import admin
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql import search_index
from images_service.store.sql.migrations import revisions
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base


def fill(db, new_images, digests_of):
    """Store images in the tables of revisions before 0004."""
    tables = sa.MetaData()
    tables.reflect(db)
    for new in new_images:
        image = new.image
        state = search_index.state_of(image)
        copies = {
            "image_id": image.id,
            "state": state,
            "created_at": image.created_at,
        }
        db.execute(
            sa.insert(tables.tables["images"]),
            {
                **image._asdict(),
                "metadata": schema.document(new.metadata),
                "generation": 1,
                "state": state,
                "changed_at": search_index.changed_at(new),
            },
        )
        for digest in digests_of(new):
            db.execute(
                sa.insert(tables.tables["image_terms"]),
                {
                    **copies,
                    "digest": digest,
                    "owner": image.owner,
                    "visibility": image.visibility,
                },
            )
        for member, status in (new.members or {}).items():
            db.execute(
                sa.insert(tables.tables["image_members"]),
                {**copies, "member": member, "status": status},
            )


def digests(new):
    return search_index.digests(new.image, new.metadata)


class TestMigrations(base.TestCase):
    # The functional tests run this class on other databases, too.
    backend = "sqlite"
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
        self.assertIsNone(revisions.version(self.database))
        run.sync(self.database)
        self.assertEqual(revisions.HEAD, revisions.version(self.database))

    def test_revisions_are_those_of_alembic(self):
        folder = os.path.dirname(revisions.__file__)
        found = ScriptDirectory(folder).walk_revisions()
        known = tuple(reversed([each.revision for each in found]))
        self.assertEqual(known, revisions.REVISIONS)

    def test_a_path_with_a_percent_sign(self):
        """alembic took it for the name of a variable."""
        folder = self.make_folder()
        path = os.path.join(folder, "50%", "migrations")
        shutil.copytree(os.path.dirname(revisions.__file__), path)
        with mock.patch.object(run, "__file__", os.path.join(path, "run.py")):
            run.sync(self.database)
        self.assertEqual(revisions.HEAD, revisions.version(self.database))

    def test_twice_is_harmless(self):
        run.sync(self.database)
        run.sync(self.database)
        self.assertEqual(revisions.HEAD, revisions.version(self.database))

    def test_a_filled_database_keeps_what_it_has(self):
        run.sync(self.database, "0001")
        new = [
            records.new_image(record, base.NOW) for record in base.samples()
        ]
        with self.database.writer.begin() as db:
            fill(db, new, digests)
        run.sync(self.database)
        self.assertEqual(revisions.HEAD, revisions.version(self.database))
        store = SqlStore(self.database)
        for one in new:
            if one.image.deleted_at is None:
                viewer = model.Viewer(one.image.owner)
                image = store.get(one.image.id, viewer)
                self.assertEqual(one.image.name, image.name)
                self.assertEqual(one.metadata, json.loads(image.metadata))
        self.assertEqual([], list(admin.check(self.database, repair=False)))

    def test_images_of_an_older_release_are_found_by_their_status(self):
        revision = importlib.import_module(
            f"{run.__package__}.versions.0003_status_words"
        )
        run.sync(self.database, "0002")
        new = [
            records.new_image(record, base.NOW) for record in base.samples()
        ]

        def old_digests(one):
            status = one.image.status
            old = set(map(revision._digest, revision._SETS[status]))
            return digests(one) - search_index.status_digests(status) | old

        with self.database.writer.begin() as db:
            fill(db, new, old_digests)
        run.sync(self.database)
        self.assertEqual([], list(admin.check(self.database, repair=False)))
        store = SqlStore(self.database)
        for word, names in (("killed", ["killed"]), ("nonsense", [])):
            page = store.page(
                model.ListQuery(limit=99, status=word),
                model.Viewer(base.OWNER),
                model.Summary,
            )
            self.assertEqual(names, [image.name for image in page.images])

    def revision(self, number):
        """Return the module of a revision, as alembic will run it."""
        scripts = ScriptDirectory.from_config(run._config())
        module = scripts.get_revision(number).module
        patch = mock.patch.object(
            ScriptDirectory, "from_config", return_value=scripts
        )
        patch.start()
        self.addCleanup(patch.stop)
        return module

    def listed(self, store):
        """Return the names that lists of everybody show, and changes of."""
        queries: tuple[dict, ...] = (
            {},
            {"changes_since": base.NOW.replace(year=2020)},
            {"properties": (("foo", "bar"),)},
            {"name": "own-community"},
        )
        viewers = (
            *map(model.Viewer, (base.OWNER, base.OTHER, "stranger")),
            model.Viewer(base.OWNER, is_admin=True),
            model.Viewer("", is_admin=True, is_operator=True),
        )
        return [
            [
                image.name
                for image in store.iterate(
                    model.ListQuery(limit=2, **query), viewer
                )
            ]
            for query in queries
            for viewer in viewers
        ]

    def fill_at_0003(self):
        """Store the records in the tables of revision 0003."""
        run.sync(self.database, "0003")
        new = [
            records.new_image(record, base.NOW) for record in base.samples()
        ]
        with self.database.writer.begin() as db:
            fill(db, new, digests)

    def test_lists_are_the_same_after_the_upgrade_of_0003(self):
        expected = self.listed(self.make_store(self.make_conf()))
        self.fill_at_0003()
        revision = self.revision("0004")
        with mock.patch.object(revision, "_BATCH", 4):
            run.sync(self.database)
        self.assertEqual([], list(admin.check(self.database, repair=False)))
        self.assertEqual(expected, self.listed(SqlStore(self.database)))

    def test_an_upgrade_that_was_ended_can_be_repeated(self):
        expected = self.listed(self.make_store(self.make_conf()))
        self.fill_at_0003()
        revision = self.revision("0004")
        for break_off in (
            mock.patch.object(revision, "_ENTRIES", "SELECT nothing"),
            mock.patch.object(revision.op, "drop_index", side_effect=OSError),
        ):
            with (
                break_off,
                mock.patch.object(revision, "_BATCH", 4),
                self.assertRaises((sa.exc.DBAPIError, OSError)),
            ):
                run.sync(self.database)
            self.assertEqual("0003", revisions.version(self.database))
        run.sync(self.database)
        self.assertEqual([], list(admin.check(self.database, repair=False)))
        self.assertEqual(expected, self.listed(SqlStore(self.database)))

    def test_revisions_hold_their_own_types(self):
        """What the tables are later must not change what a revision makes."""
        folder = os.path.join(os.path.dirname(run.__file__), "versions")
        names = [n for n in os.listdir(folder) if n[:4].isdigit()]
        self.assertGreaterEqual(len(names), 3)
        for name in names:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                self.assertNotIn("images_service", file.read(), name)

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
                self.assertRaises(exception.StoreUnavailable),
            ):
                run.sync(self.database)
        run.sync(self.database)

    def test_the_migration_of_another_database_was_waited_for(self):
        with backends.database(self.backend) as url:
            other = engine.Database(self.make_conf(connection=url))
            self.addCleanup(other.dispose)
            with (
                mock.patch.object(run, "LOCK_TIMEOUT", 1),
                other.writer.begin() as db,
            ):
                run.lock(db)
                run.sync(self.database)
            other.dispose()
        self.assertEqual(revisions.HEAD, revisions.version(self.database))

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
