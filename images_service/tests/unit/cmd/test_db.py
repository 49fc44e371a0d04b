# SPDX-License-Identifier: Apache-2.0
import datetime
import json

from oslo_utils import timeutils
import sqlalchemy as sa

from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.tests import base


class DbTestCase(base.ManageTestCase):
    def setUp(self):
        super().setUp()
        self.manage("db", "sync")
        self.database = engine.Database(self.conf)
        self.addCleanup(self.database.dispose)

    def imports(self, *records, update=False):
        text = "\n".join(json.dumps(record) for record in records)
        more = ["--update"] if update else []
        return self.manage("image", "import", "-", *more, stdin=text)

    def rows(self, table):
        with self.database.writer.connect() as db:
            return db.execute(sa.select(table)).all()


class TestPurge(DbTestCase):
    def setUp(self):
        super().setUp()
        self.deleted = []
        for days in range(1, 11):
            time = timeutils.utcnow() - datetime.timedelta(days=days, hours=1)
            self.deleted.append(
                {
                    "id": f"{days:08d}{base.UNKNOWN[8:]}",
                    "owner": "p",
                    "visibility": "shared",
                    "deleted_at": time.isoformat(),
                    "a": "b",
                    "members": [{"member_id": "q", "status": "accepted"}],
                }
            )
        self.live = {"id": base.UNKNOWN, "owner": "p", "a": "b"}
        self.imports(*self.deleted, self.live)

    def left(self):
        return {row.id for row in self.rows(schema.images)}

    def test_what_was_deleted_long_ago(self):
        status, out, _ = self.manage("db", "purge", "--older-than", "5d")
        self.assertEqual((0, "6 purged\n"), (status, out))
        kept = {record["id"] for record in self.deleted[:4]}
        self.assertEqual(kept | {base.UNKNOWN}, self.left())
        for table in (
            schema.image_members,
            schema.image_audiences,
            schema.search_entries,
        ):
            self.assertLessEqual(
                {row.image_id for row in self.rows(table)}, self.left()
            )
        status, out, _ = self.manage("db", "purge", "--older-than", "5d")
        self.assertEqual((0, "0 purged\n"), (status, out))

    def test_a_dry_run_changes_nothing(self):
        before = self.left()
        status, out, _ = self.manage(
            "db", "purge", "--older-than", "1h", "--dry-run"
        )
        self.assertEqual((0, "10 would be purged\n"), (status, out))
        self.assertEqual(before, self.left())

    def test_in_parts_the_oldest_first(self):
        for number in (1, 2, 3):
            status, out, _ = self.manage(
                "db", "purge", "--older-than", "1d", "--max-rows", "3"
            )
            self.assertEqual((0, "3 purged\n"), (status, out))
            kept = {r["id"] for r in self.deleted[: 10 - 3 * number]}
            self.assertEqual(kept | {base.UNKNOWN}, self.left())

    def test_ids_never_come_back(self):
        self.manage("db", "purge", "--older-than", "0d")
        gone = self.deleted[0]["id"]
        for update in (False, True):
            status, _, err = self.imports(
                {"id": gone, "owner": "p"}, update=update
            )
            self.assertEqual(1, status)
            self.assertIn("was purged; ids are never used again", err)
        self.assertEqual({base.UNKNOWN}, self.left())

    def test_ages(self):
        for age in ("5", "d", "-5d", "5y", "5 d", "²d", ""):
            with self.subTest(age=age):
                status, _, err = self.manage(
                    "db", "purge", f"--older-than={age}"
                )
                self.assertEqual(2, status)
                self.assertIn("argument --older-than: ", err)


class TestCheck(DbTestCase):
    def setUp(self):
        super().setUp()
        self.imports(*base.samples())

    def test_all_is_well(self):
        status, out, _ = self.manage("db", "check")
        self.assertEqual(
            (0, "0 images had wrong index entries\n"), (status, out)
        )

    def index(self):
        return [
            sorted(map(tuple, self.rows(table)))
            for table in (schema.image_audiences, schema.search_entries)
        ]

    def test_what_is_wrong_is_named_and_repaired(self):
        before = self.index()
        audiences, entries = schema.image_audiences, schema.search_entries
        with self.database.writer.begin() as db:
            db.execute(
                sa.delete(entries).where(entries.c.image_id == base.IDS["own"])
            )
            db.execute(
                sa.update(entries)
                .where(entries.c.image_id == base.IDS["public"])
                .values(audience="somebody else")
            )
            db.execute(
                sa.delete(audiences).where(
                    audiences.c.image_id == base.IDS["shared-accepted"],
                    audiences.c.audience == f"M:{base.OWNER}",
                )
            )
            db.execute(
                sa.update(audiences)
                .where(audiences.c.image_id == base.IDS["gone"])
                .values(changed_at=base.NOW)
            )
        names = ("own", "public", "shared-accepted", "gone")
        wrong = {base.IDS[name] for name in names}
        status, out, _ = self.manage("db", "check")
        self.assertEqual(1, status)
        self.assertEqual(
            {f"{image_id}: wrong index entries" for image_id in wrong}
            | {"4 images had wrong index entries"},
            set(out.splitlines()),
        )
        status, out, _ = self.manage("db", "check", "--repair")
        self.assertEqual(0, status)
        self.assertIn("4 images had wrong index entries", out)
        self.assertEqual(0, self.manage("db", "check")[0])
        self.assertEqual(before, self.index())
