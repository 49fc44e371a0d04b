# SPDX-License-Identifier: Apache-2.0
"""The SQL store: what it returns, stores and refuses, on SQLite.

One long module, as the class that it tests is one, with the same images.
"""

import dataclasses
import datetime
import itertools
import json
import operator
import os
import random
import re
import sqlite3
import threading
from unittest import mock

import pymysql
import sqlalchemy as sa

from images_service import exception
from images_service import model
from images_service.glance import records
from images_service.store import base as store_base
from images_service.store.sql import engine
from images_service.store.sql import failures
from images_service.store.sql import schema
from images_service.store.sql import search_index
from images_service.store.sql.store import SqlStore
from images_service.tests import base

OWNER = model.Viewer(base.OWNER)
OTHER = model.Viewer(base.OTHER)
ADMIN = model.Viewer(base.ADMIN, is_admin=True)
STRANGER = model.Viewer("stranger")
DEADLOCK = sa.exc.DBAPIError(None, None, pymysql.OperationalError(1213, ""))


class StoreTestCase(base.TestCase):
    # The functional tests run these classes on other databases, too.
    connection = None

    def setUp(self):
        super().setUp()
        self.store = self.make_store(
            self.make_conf(connection=self.connection)
        )
        self.database = self.store._database

    def names(self, viewer, **query):
        page = self.store.page(
            model.ListQuery(**{"limit": 1000, **query}), viewer, model.Image
        )
        return [image.name for image in page.images]

    def metadata(self, name, viewer=OWNER):
        return json.loads(self.store.get(base.IDS[name], viewer).metadata)

    def assertIndexed(self):
        """Assert that the search index repeats images and members."""
        expected: dict[sa.Table, set] = {
            schema.image_audiences: set(),
            schema.search_entries: set(),
        }
        with self.database.writer.connect() as db:
            members: dict = {}
            for row in db.execute(sa.select(schema.image_members)):
                members.setdefault(row.image_id, {})[row.member] = row.status
            for image in db.execute(sa.select(schema.images)):
                items = json.loads(image.metadata)
                state = search_index.state_of(image)
                self.assertEqual(state, image.state)
                for audience in search_index.audiences(
                    image, members.get(image.id, {})
                ):
                    row = (audience, state, image.created_at)
                    expected[schema.image_audiences].add(
                        (image.id, *row, image.changed_at)
                    )
                    expected[schema.search_entries] |= {
                        (image.id, digest, *row)
                        for digest in search_index.digests(image, items)
                    }
            for table, truth in expected.items():
                stored = [tuple(row) for row in db.execute(sa.select(table))]
                self.assertEqual(len(truth), len(stored))
                self.assertEqual(truth, set(stored))


class TestGet(StoreTestCase):
    def seen(self, viewer):
        found = set()
        for name, image_id in base.IDS.items():
            try:
                image = self.store.get(image_id, viewer)
            except exception.ImageNotFound:
                continue
            self.assertEqual(name, image.name)
            found.add(name)
        return found

    def test_who_sees_what(self):
        everything = set(base.IDS) - {"gone"}
        self.assertEqual(everything - {"others-private"}, self.seen(OWNER))
        self.assertEqual(
            {
                "public",
                "own-shared",
                "own-community",
                "shared-accepted",
                "shared-pending",
                "community",
                "others-private",
            },
            self.seen(OTHER),
        )
        self.assertEqual(
            {"public", "own-community", "community"}, self.seen(STRANGER)
        )
        self.assertEqual(everything, self.seen(ADMIN))

    def test_a_share_counts_only_while_the_image_is_shared(self):
        for visibility in ("private", "shared"):
            image_id = base.IDS["own-shared"]
            record = {
                "id": image_id,
                "owner": base.OWNER,
                "visibility": visibility,
            }
            self.store.add([records.new_image(record, base.NOW)], replace=True)
            if visibility == "shared":
                self.store.get(image_id, OTHER)
            else:
                with self.assertRaises(exception.ImageNotFound):
                    self.store.get(image_id, OTHER)

    def test_ids(self):
        image_id = "aaaaaaaa-0000-4000-8000-00000000000a"
        self.store.add(
            [
                records.new_image(
                    {"id": image_id, "owner": base.OWNER}, base.NOW
                )
            ]
        )
        self.assertEqual(image_id, self.store.get(image_id.upper(), OWNER).id)
        for odd in (
            "",
            "x",
            image_id.replace("-", ""),
            f"{{{image_id}}}",
            f"{image_id}\n",
            f" {image_id}",
            f"urn:uuid:{image_id}",
            "\udcff",
            "a\0b",
            image_id.replace("0", "\N{FULLWIDTH DIGIT ZERO}"),
            base.UNKNOWN,
        ):
            with (
                self.subTest(id=odd),
                self.assertRaises(exception.ImageNotFound),
            ):
                self.store.get(odd, ADMIN)

    def test_everything_comes_back(self):
        record = {
            "id": base.UNKNOWN,
            "name": "ünï \U0001f600 ",
            "owner": base.OWNER,
            "status": "importing",
            "visibility": "community",
            "size": 2**62,
            "min_ram": 2**40,
            "min_disk": 7,
            "protected": True,
            "os_hidden": True,
            "created_at": "2026-01-01T00:00:00.000001Z",
            "updated_at": "2026-01-02T00:00:00.999999Z",
            "k\U0001f600": "v" * 5000,
        }
        new = records.new_image(record, base.NOW)
        self.store.add([new])
        image = self.store.get(base.UNKNOWN, OWNER)
        self.assertEqual(
            new.image._replace(metadata=""), image._replace(metadata="")
        )
        self.assertEqual(
            {"k\U0001f600": "v" * 5000}, json.loads(image.metadata)
        )


class TestPage(StoreTestCase):
    def test_who_lists_what(self):
        self.assertEqual(
            [
                "snapshot",
                "shared-accepted",
                "protected",
                "own-community",
                "own-shared",
                "own",
                "public",
            ],
            self.names(OWNER),
        )
        self.assertEqual(
            [
                "others-private",
                "community",
                "shared-pending",
                "shared-accepted",
                "own-shared",
                "public",
            ],
            self.names(OTHER),
        )
        self.assertEqual(["public"], self.names(STRANGER))
        self.assertEqual(
            [
                "snapshot",
                "others-private",
                "shared-pending",
                "shared-accepted",
                "protected",
                "own-shared",
                "own",
                "public",
            ],
            self.names(ADMIN),
        )

    def test_an_owner_that_is_a_member_too_sees_the_image_once(self):
        record = {
            "id": base.UNKNOWN,
            "owner": base.OWNER,
            "name": "mine",
            "visibility": "shared",
            "members": [{"member_id": base.OWNER, "status": "accepted"}],
        }
        self.store.add([records.new_image(record, base.NOW)])
        self.assertEqual(["mine"], self.names(OWNER, name="mine"))

    def test_filters(self):
        for query, names in (
            ({"name": "own"}, ["own"]),
            ({"name": "OWN"}, []),
            ({"name": "own "}, []),
            ({"status": "killed"}, ["killed"]),
            ({"status": "error"}, ["killed"]),
            ({"status": ""}, []),
            ({"min_ram": 512}, ["own"]),
            ({"min_disk": 10, "min_ram": 0}, []),
            ({"properties": (("foo", "bar"),)}, ["own"]),
            ({"properties": (("FOO", "bar"),)}, []),
            ({"properties": (("nothing", ""),)}, ["snapshot"]),
            ({"properties": (("os", "linux"),)}, ["public"]),
            (
                {"properties": (("foo", "bar"), ("os", "linux"))},
                [],
            ),
            (
                {"properties": (("foo", "bar"), ("foo", "baz"))},
                [],
            ),
        ):
            with self.subTest(**query):
                self.assertEqual(names, self.names(OWNER, **query))

    def test_changes_since(self):
        def since(*time):
            return self.names(OWNER, changes_since=datetime.datetime(*time))

        self.assertEqual(["snapshot", "gone"], since(2026, 1, 13))
        self.assertEqual(["gone"], since(2026, 2, 1))
        self.assertEqual([], since(2026, 2, 1, 0, 0, 1))
        base.delete(self.store, base.IDS["own"])
        base.delete(self.store, base.IDS["hidden"])
        base.change_metadata(self.store, base.IDS["snapshot"], {"a": "b"})
        self.assertEqual(["snapshot", "own"], since(2026, 3, 1))
        page = self.store.page(
            model.ListQuery(
                limit=9, changes_since=datetime.datetime(2026, 3, 1)
            ),
            OWNER,
            model.Image,
        )
        deleted = page.images[1]
        self.assertIndexed()
        self.assertEqual("deleted", deleted.status)
        self.assertEqual({"foo": "bar"}, json.loads(deleted.metadata))

    def test_marker(self):
        ids = base.IDS
        self.assertEqual(
            ["own", "public"], self.names(OWNER, marker=ids["own-shared"])
        )
        # One that isn't listed has its place, too.
        self.assertEqual(
            ["own-community", "own-shared", "own", "public"],
            self.names(OWNER, marker=ids["hidden"]),
        )
        self.assertEqual([], self.names(OWNER, marker=ids["public"].upper()))
        base.delete(self.store, ids["own"])
        self.assertEqual(["public"], self.names(OWNER, marker=ids["own"]))
        for marker in (ids["others-private"], base.UNKNOWN, "x"):
            with (
                self.subTest(marker=marker),
                self.assertRaisesRegex(
                    exception.MarkerNotFound,
                    f"^No image found with ID {marker}$",
                ),
            ):
                self.names(OWNER, marker=marker)

    def test_more_says_truly_whether_images_follow(self):
        for limit in range(1, 10):
            page = self.store.page(
                model.ListQuery(limit=limit), OWNER, model.Image
            )
            self.assertEqual(min(limit, 7), len(page.images))
            self.assertEqual(limit < 7, page.more)

    def test_pages_meet_every_image_once_under_equal_times(self):
        chance = random.Random(1)
        listed = [
            {
                "owner": chance.choice((base.OWNER, base.OTHER)),
                "visibility": chance.choice(model.VISIBILITIES),
                "created_at": f"2026-05-01T00:00:0{chance.randrange(3)}Z",
                "members": [{"member_id": base.OWNER, "status": "accepted"}],
            }
            for _ in range(200)
        ]
        self.store.add(
            [records.new_image(r, base.NOW, generate_id=True) for r in listed]
        )
        for viewer, limit in itertools.product(
            (OWNER, OTHER, ADMIN), (1, 7, 50)
        ):
            query = model.ListQuery(limit=1000)
            whole = self.store.page(query, viewer, model.Image).images
            order = [(image.created_at, image.id) for image in whole]
            self.assertEqual(sorted(order, reverse=True), order)
            self.assertEqual(len(order), len(set(order)))
            paged = self.store.iterate(
                dataclasses.replace(query, limit=limit), viewer
            )
            with self.subTest(viewer=viewer, limit=limit):
                self.assertEqual(whole, list(paged))

    def test_metadata_are_bounded(self):
        sizes = [10, 10, 900, 10, 2000, 10, 10, 500, 600, 10]
        self.store.add(
            [
                records.new_image(
                    {
                        "id": f"{number:08d}{base.UNKNOWN[8:]}",
                        "owner": "bounded",
                        # Bytes count: each of these characters is two.
                        "key": "ä" * ((size - len('{"key":""}')) // 2),
                    },
                    base.NOW,
                )
                for number, size in enumerate(reversed(sizes))
            ]
        )
        for kind in (model.Image, model.Detail):
            self.assertEqual(
                [[10, 10], [900], [10], [2000], [10, 10], [500], [600], [10]],
                list(self.sizes_of_metadata(kind)),
            )

    def sizes_of_metadata(self, kind):
        """Yield the bytes of each image of each page of the project."""
        viewer, marker = model.Viewer("bounded"), None
        while True:
            query = model.ListQuery(marker=marker, limit=10, max_metadata=1000)
            page = self.store.page(query, viewer, kind)
            yield [
                len(image.metadata.encode())
                for image in page.images
                if image.id.endswith(base.UNKNOWN[8:])
            ]
            if not page.more:
                break
            marker = page.images[-1].id

    def test_no_more_is_read_than_is_wanted(self):
        query = model.ListQuery(limit=9)
        whole = self.store.page(query, OWNER, model.Image).images
        for kind in (model.Detail, model.Summary):
            with base.recorded_statements() as statements:
                found = self.store.page(query, OWNER, kind).images
            ((text, _),) = statements
            read, *_ = re.split(r"\sFROM\s", text)
            names = re.findall(r"images\.(\w+)", read)
            self.assertEqual(list(kind._fields), names)
            parts = operator.attrgetter(*kind._fields)
            self.assertEqual([parts(image) for image in whole], found)

    def test_one_statement_for_each_shape(self):
        for limit, marker in ((3, None), (4, None), (5, base.IDS["own"])):
            self.names(OWNER, limit=limit, name=str(limit), marker=marker)
        cached = self.store._listing._statement.cache_info()
        self.assertEqual(2, cached.currsize)

    def test_no_table_is_scanned_or_sorted(self):
        queries = [
            model.ListQuery(limit=5),
            model.ListQuery(limit=5, marker=base.IDS["own"]),
            model.ListQuery(limit=5, name="x", properties=(("a", "b"),)),
            model.ListQuery(limit=5, changes_since=base.NOW),
        ]
        with base.recorded_statements() as statements:
            for query, viewer in itertools.product(queries, (OWNER, ADMIN)):
                self.store.page(query, viewer, model.Image)
        plans = []
        with self.database.writer.connect() as db:
            for text, values in statements:
                if "UNION ALL" in text:
                    rows = db.exec_driver_sql(
                        f"EXPLAIN QUERY PLAN {text}", tuple(values)
                    )
                    plans.append("\n".join(row[3] for row in rows))
        # Two filters, and changes-since, have a probe each.
        self.assertEqual((len(queries) + 2) * 2, len(plans))
        for plan in plans:
            self.assertNotIn("SCAN image", plan)
            self.assertNotIn("SCAN search", plan)
            # Only the few rows that ranges have yielded are sorted.
            before = ""
            for line in plan.splitlines():
                if line.startswith("USE TEMP B-TREE"):
                    self.assertRegex(before, "^SCAN anon|^SEARCH images ")
                before = line

    def test_the_rarest_of_two_filters_bounds_the_cost(self):
        """The filters were asked in the order of the URL."""
        self.store.add(
            [
                records.new_image(
                    {
                        "owner": base.OWNER,
                        "created_at": f"2025-01-01T00:00:00.{number:06d}Z",
                        "all": "x",
                        **({"oldest": "x"} if number < 30 else {}),
                    },
                    base.NOW,
                    generate_id=True,
                )
                for number in range(2000)
            ]
        )
        steps = [0]

        def step():
            steps[-1] += 1

        sa.event.listen(
            self.database.primary.engine,
            "connect",
            lambda raw, _: raw.set_progress_handler(step, 1),
        )
        self.database.dispose()
        for order in (("all", "oldest"), ("oldest", "all")):
            query = model.ListQuery(
                limit=5, properties=tuple((name, "x") for name in order)
            )
            self.store.page(query, OWNER, model.Image)
            steps.append(0)
            page = self.store.page(query, OWNER, model.Image)
            self.assertEqual(5, len(page.images))
            steps.append(0)
        self.assertEqual(steps[1], steps[3])
        # To look up both filters of all images takes 100,000.
        self.assertLess(steps[1], 5000)


class TestChangeMetadata(StoreTestCase):
    def change(self, items, name="own", **options):
        return base.change_metadata(
            self.store, base.IDS[name], items, **options
        )

    def test_changes(self):
        image = self.change({"a": "1", "foo": "new"})
        self.assertEqual({"foo": "new", "a": "1"}, json.loads(image.metadata))
        self.assertEqual(2, image.generation)
        self.assertEqual(image, self.store.get(image.id, OWNER))
        self.assertGreater(image.updated_at, base.NOW)
        self.assertIndexed()
        for items in ({"b": "2"}, {}):
            self.change(items, replace=True)
            self.assertEqual(items, self.metadata("own"))
            self.assertIndexed()

    def test_any_change_sets_updated(self):
        before = self.store.get(base.IDS["own"], OWNER)
        after = self.change(items={"foo": "bar"})
        self.assertGreater(after.updated_at, before.updated_at)
        self.assertEqual(before.generation + 1, after.generation)

    def test_an_image_that_has_changed_since_it_was_read(self):
        read = self.store.get(base.IDS["own"], OWNER)
        after = self.change({"a": "1"})
        with self.assertRaises(store_base.Changed):
            self.store.change_metadata(read, {"b": "2"})
        with self.assertRaises(store_base.Changed):
            self.store.delete(read)
        self.assertEqual(after, self.store.get(base.IDS["own"], OWNER))
        self.assertIndexed()

    def test_a_deleted_or_unknown_image(self):
        read = self.store.get(base.IDS["own"], OWNER)
        base.delete(self.store, base.IDS["own"])
        for image in (
            read,
            read._replace(generation=2),
            read._replace(id=base.UNKNOWN),
        ):
            with self.assertRaises(store_base.Changed):
                self.store.change_metadata(image, {"a": "1"})
        with self.assertRaises(exception.ImageNotFound):
            self.change({"a": "1"}, "gone")

    def test_a_handful_of_statements_whatever_the_number_of_keys(self):
        counts = []
        for keys in (1, 10, 100):
            image = self.store.get(base.IDS["own"], OWNER)
            items = {f"k{keys}-{n}": "v" for n in range(keys)}
            with base.recorded_statements() as statements:
                self.store.change_metadata(image, items)
            counts.append(len(statements))
            first, _ = statements[0]
            self.assertTrue(first.startswith("UPDATE images"), statements)
        self.assertLessEqual(max(counts), 4)
        self.assertEqual(counts[1], counts[2])

    def test_concurrent_writers_lose_nothing(self):
        writers = 20
        threads = [
            threading.Thread(target=self.change, args=({f"w{n}": "x"},))
            for n in range(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = self.metadata("own")
        self.assertEqual(
            {"foo"} | {f"w{n}" for n in range(writers)}, set(stored)
        )
        self.assertIndexed()


class TestDelete(StoreTestCase):
    def test_once(self):
        read = self.store.get(base.IDS["own"], OWNER)
        self.store.delete(read)
        with self.assertRaises(store_base.Changed):
            self.store.delete(read)
        with self.assertRaises(exception.ImageNotFound):
            self.store.get(base.IDS["own"], ADMIN)
        self.assertNotIn("own", self.names(OWNER))

    def test_exactly_one_of_many_deletes(self):
        outcomes: list[str] = []

        def delete():
            try:
                base.delete(self.store, base.IDS["own"])
                outcomes.append("deleted")
            except exception.ImageNotFound:
                outcomes.append("gone")

        threads = [threading.Thread(target=delete) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(["deleted"] + ["gone"] * 9, sorted(outcomes))


class TestAdd(StoreTestCase):
    def add(self, *listed, replace=False):
        return self.store.add(
            [
                records.new_image(
                    {"owner": base.OWNER, **r}, base.NOW, generate_id=True
                )
                for r in listed
            ],
            replace=replace,
        )

    def test_what_exists_is_refused(self):
        before = self.store.get(base.IDS["own"], OWNER)
        first, second, third = self.add(
            {"id": base.IDS["own"], "name": "new"},
            {"id": base.UNKNOWN, "name": "new"},
            {"id": base.UNKNOWN, "name": "newer"},
        )
        self.assertIsInstance(first, exception.Conflict)
        self.assertIsNone(second)
        self.assertIsInstance(third, exception.Conflict)
        self.assertEqual(before, self.store.get(base.IDS["own"], OWNER))
        self.assertEqual("new", self.store.get(base.UNKNOWN, OWNER).name)

    def test_replace(self):
        self.assertEqual(
            [None, None],
            self.add(
                {"id": base.IDS["own"], "name": "new", "a": "b"},
                {"id": base.UNKNOWN, "c": "d"},
                replace=True,
            ),
        )
        image = self.store.get(base.IDS["own"], OWNER)
        self.assertEqual(("new", 2), (image.name, image.generation))
        self.assertEqual({"a": "b"}, self.metadata("own"))
        self.assertIndexed()

    def test_an_image_that_is_the_same_keeps_its_generation(self):
        """An import that is repeated made each ETag invalid."""
        record = {
            "id": base.UNKNOWN,
            "name": "same",
            "visibility": "shared",
            "created_at": "2026-02-20T00:00:00Z",
            "updated_at": "2026-02-21T00:00:00.123456Z",
            "protected": True,
            "a": "b",
            "c": "d",
            "members": [{"member_id": base.OTHER, "status": "accepted"}],
        }
        # The properties in another order, and no word of the members.
        again = {k: record[k] for k in reversed(record) if k != "members"}
        generation = 1
        for changed, change in (
            (False, record),
            (False, record),
            (False, again),
            (True, {**record, "a": "x"}),
            (True, {**record, "a": "x", "protected": False}),
            (True, {**record, "members": []}),
            (True, {**again, "deleted_at": "2026-03-01T00:00:00Z"}),
            (True, again),
            (False, again),
        ):
            self.assertEqual([None], self.add(change, replace=True))
            generation += changed
            with self.database.writer.connect() as db:
                clause = sa.select(schema.images.c.generation)
                found = db.execute(
                    clause.where(schema.images.c.id == base.UNKNOWN)
                )
                self.assertEqual(generation, found.scalar_one(), change)
            self.assertIndexed()

    def test_replace_brings_a_deleted_image_back(self):
        self.assertNotIn("back", self.names(OWNER))
        self.add({"id": base.IDS["gone"], "name": "back"}, replace=True)
        self.assertEqual("back", self.store.get(base.IDS["gone"], OWNER).name)
        self.assertIn("back", self.names(OWNER))
        self.assertIndexed()

    def test_replace_keeps_members_it_does_not_name(self):
        shared = {
            "id": base.IDS["own-shared"],
            "visibility": "shared",
            "name": "s",
        }
        self.add(
            {**shared, "created_at": "2026-02-20T00:00:00Z"}, replace=True
        )
        self.assertEqual("s", self.names(OTHER)[0])
        self.add({**shared, "members": []}, replace=True)
        self.assertNotIn("s", self.names(OTHER))

    def test_many(self):
        results = self.add(*({"name": str(n)} for n in range(1200)))
        self.assertEqual([None] * 1200, results)
        self.assertEqual(
            1207,
            len(list(self.store.iterate(model.ListQuery(limit=500), OWNER))),
        )
        self.assertIndexed()


class TestUnavailability(base.TestCase):
    def test_no_database(self):
        folder = self.make_folder()
        conf = base.configuration(
            folder, connection=f"sqlite:///{folder}/no/such/folder.sqlite"
        )
        store = SqlStore(engine.Database(conf))
        with self.assertLogs("images_service", "ERROR"):
            with self.assertRaises(exception.StoreUnavailable):
                store.get(base.UNKNOWN, OWNER)
            with self.assertRaises(exception.StoreUnavailable):
                store.page(model.ListQuery(limit=1), OWNER, model.Detail)
            with self.assertRaises(exception.StoreUnavailable):
                store.page(model.ListQuery(limit=1), OWNER, model.Summary)

    def test_a_lock_that_stays(self):
        folder = self.make_folder()
        conf = base.configuration(
            folder,
            connection=f"sqlite:///{folder}/images.sqlite?timeout=0.1",
        )
        store = self.make_store(conf)
        blocker = sqlite3.connect(os.path.join(folder, "images.sqlite"))
        self.addCleanup(blocker.close)
        blocker.execute("BEGIN IMMEDIATE")
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            base.delete(store, base.IDS["own"])
        # Readers don't wait for the writer.
        store.get(base.IDS["own"], OWNER)
        blocker.execute("ROLLBACK")
        base.delete(store, base.IDS["own"])

    def test_deadlocks_are_tried_again(self):
        calls = []
        deadlock = DEADLOCK

        @failures.retry_deadlocks
        def write():
            calls.append(1)
            if len(calls) < 3:
                raise deadlock
            return "done"

        self.assertEqual("done", write())
        self.assertEqual(3, len(calls))

    def test_deadlocks_without_end(self):
        deadlock = DEADLOCK

        @failures.retry_deadlocks
        def write():
            raise deadlock

        with (
            mock.patch("time.sleep"),
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            write()

    def test_other_errors_stay(self):
        with (
            self.assertRaises(sa.exc.DBAPIError),
            failures.unavailability(),
        ):
            raise sa.exc.DBAPIError(None, None, ValueError("x"))
