# SPDX-License-Identifier: Apache-2.0
"""Concurrent changes of one image lose nothing, on every database."""

import collections
import contextlib
import dataclasses
import random
import threading
import time
from unittest import mock

import sqlalchemy as sa

from images_service import app
from images_service import exception
from images_service import model
from images_service.glance import records
from images_service.store.sql import admin
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base

THREADS = 20
QUOTA = 128
SECONDS_AT_MOST = 60


class Races(backends.OnBackend):
    def setUp(self):
        super().setUp()
        self.conf = self.make_conf(
            connection=self.connection,
            database={"max_pool_size": THREADS, "pool_timeout": 30},
        )
        self.store = self.make_store(self.conf, images=[])
        self.app = app.create(self.conf, self.store)
        self.image_id = f"{random.getrandbits(32):08x}" + base.UNKNOWN[8:]
        record = {"id": self.image_id, "owner": base.OWNER}
        self.store.add([records.new_image(record, base.NOW)])
        self.path = f"/images/{self.image_id}"

    def race(self, *actions):
        """Let every thread do its action at once; return what each got."""
        start = threading.Barrier(len(actions))
        answers: list = [None] * len(actions)

        def run(number, action):
            start.wait(SECONDS_AT_MOST)
            answers[number] = action()

        threads = [
            threading.Thread(target=run, args=item)
            for item in enumerate(actions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS_AT_MOST)
            self.assertFalse(thread.is_alive())
        return answers

    def metadata(self):
        response = self.request("GET", f"{self.path}/metadata")
        self.assertEqual(200, response.status_int)
        return response.json["metadata"]

    def post(self, items):
        return lambda: (
            self.request(
                "POST", f"{self.path}/metadata", body={"metadata": items}
            ).status_int
        )

    def put(self, key, value):
        return lambda: (
            self.request(
                "PUT",
                f"{self.path}/metadata/{key}",
                body={"meta": {key: value}},
            ).status_int
        )

    def drop(self, key):
        return lambda: (
            self.request("DELETE", f"{self.path}/metadata/{key}").status_int
        )

    def delete(self):
        return self.request("DELETE", self.path).status_int

    def test_posts_of_different_keys(self):
        for turn in range(3):
            answers = self.race(
                *(self.post({f"k{turn}-{n}": "x"}) for n in range(THREADS))
            )
            self.assertEqual([200] * THREADS, answers)
        self.assertEqual(3 * THREADS, len(self.metadata()))

    def test_the_quota_is_never_exceeded(self):
        full = {f"old{n}": "x" for n in range(QUOTA - 5)}
        self.assertEqual(200, self.post(full)())
        answers = self.race(
            *(self.post({f"new{n}": "x"}) for n in range(THREADS))
        )
        self.assertEqual(
            {200: 5, 403: THREADS - 5}, collections.Counter(answers)
        )
        stored = self.metadata()
        self.assertEqual(QUOTA, len(stored))
        for number, answer in enumerate(answers):
            self.assertEqual(answer == 200, f"new{number}" in stored)

    def test_puts_of_one_key(self):
        answers = self.race(*(self.put("k", str(n)) for n in range(THREADS)))
        self.assertEqual([200] * THREADS, answers)
        self.assertIn(self.metadata()["k"], map(str, range(THREADS)))
        response = self.request("GET", self.path)
        self.assertEqual(f'"{THREADS + 1}"', response.headers["ETag"])

    def test_only_one_drops_a_key(self):
        self.assertEqual(200, self.post({"k": "x", "other": "x"})())
        answers = self.race(*[self.drop("k")] * THREADS)
        self.assertEqual(
            {204: 1, 404: THREADS - 1}, collections.Counter(answers)
        )
        self.assertEqual({"other": "x"}, self.metadata())

    def test_everything_at_once(self):
        self.assertEqual(200, self.post({"drop": "x", "stay": "x"})())
        answers = self.race(
            self.drop("drop"),
            self.put("put", "x"),
            *(self.post({f"k{n}": "x"}) for n in range(THREADS - 2)),
        )
        self.assertEqual([204] + [200] * (THREADS - 1), answers)
        self.assertEqual(
            {"put", "stay"} | {f"k{n}" for n in range(THREADS - 2)},
            set(self.metadata()),
        )

    def test_deleted_stays_deleted(self):
        answers = self.race(
            self.delete,
            self.delete,
            *(self.post({f"k{n}": "x"}) for n in range(THREADS - 2)),
        )
        self.assertEqual([204, 404], sorted(answers[:2]))
        self.assertLessEqual(set(answers[2:]), {200, 404})
        self.assertEqual(404, self.request("GET", self.path).status_int)
        self.assertEqual(404, self.post({"late": "x"})())

    @contextlib.contextmanager
    def between_decision_and_write(self, change):
        """Change the image once, after an action has read it."""
        read = self.store.get
        reads = []

        def get(*args):
            image = read(*args)
            reads.append(image)
            if len(reads) == 1:
                admin.edit(self.store._database, image.id, change)
            return image

        with mock.patch.object(self.store, "get", get):
            yield reads

    def test_an_image_that_is_protected_in_between_is_not_deleted(self):
        def protect(new):
            image = new.image._replace(protected=True)
            return dataclasses.replace(new, image=image)

        with self.between_decision_and_write(protect) as reads:
            self.assertEqual(403, self.delete())
        self.assertEqual(2, len(reads))
        self.assertEqual(200, self.request("GET", self.path).status_int)

    def test_a_former_owner_neither_writes_nor_reads(self):
        def give_away(new):
            image = new.image._replace(owner=base.OTHER)
            return model.NewImage(image, {"secret": "x"}, new.members)

        with self.between_decision_and_write(give_away):
            response = self.request(
                "POST", f"{self.path}/metadata", body={"metadata": {"a": "b"}}
            )
        self.assertEqual(404, response.status_int)
        self.assertNotIn("secret", response.text)
        image = self.store.get(self.image_id, model.Viewer(base.OTHER))
        self.assertEqual('{"secret":"x"}', image.metadata)

    def test_another_change_in_between_is_kept(self):
        def add(new):
            return dataclasses.replace(new, metadata={"other": "x"})

        with self.between_decision_and_write(add):
            self.assertEqual(200, self.post({"a": "b"})())
        self.assertEqual({"other": "x", "a": "b"}, self.metadata())

    def test_if_match_holds_until_the_write(self):
        etag = self.request("GET", self.path).headers["ETag"]
        with self.between_decision_and_write(lambda new: new):
            response = self.request("DELETE", self.path, If_Match=etag)
        self.assertEqual(412, response.status_int)

    def test_an_image_that_always_changes_is_a_503(self):
        read = self.store.get
        start = time.monotonic()
        with (
            mock.patch.object(
                self.store,
                "get",
                lambda *args: read(*args)._replace(generation=0),
            ),
        ):
            response = self.request("DELETE", self.path)
        self.assertEqual(503, response.status_int)
        self.assertIn("Retry-After", response.headers)
        self.assertLess(time.monotonic() - start, 5)

    def test_an_import_loses_no_batch_beside_a_purge(self):
        """A purge removed an image that an import was about to replace."""
        deleted = [
            {
                "id": f"{number:08d}{base.UNKNOWN[8:]}",
                "owner": base.OWNER,
                "deleted_at": "2020-01-01T00:00:00Z",
            }
            for number in range(1500)
        ]
        images = [records.new_image(r, base.NOW) for r in deleted]
        self.store.add(images, replace=True)
        before = base.NOW
        database = engine.Database(self.conf, engine.COMMANDS)
        self.addCleanup(database.dispose)
        purged: list[int] = []

        def purge():
            purged.extend(admin.purge(database, before))

        thread = threading.Thread(target=purge)
        thread.start()
        results = []
        for _ in range(5):
            results += SqlStore(database).add(images, replace=True)
        thread.join(SECONDS_AT_MOST)
        refused = [result for result in results if result is not None]
        self.assertTrue(
            all(isinstance(one, exception.Conflict) for one in refused)
        )
        self.assertEqual([], list(admin.check(database, repair=False)))
        with database.writer.begin() as db:
            for table in (schema.purged_images,):
                db.execute(sa.delete(table))

    def test_a_check_calls_no_busy_database_wrong(self):
        """It read images and what they are found by at two moments."""
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                base.change_metadata(
                    self.store, self.image_id, {"k": str(number)}
                )

        thread = threading.Thread(target=write)
        thread.start()
        try:
            wrong = [
                image
                for _ in range(100)
                for image in admin.check(self.store._database, repair=False)
            ]
        finally:
            stop.set()
            thread.join(SECONDS_AT_MOST)
        self.assertEqual([], wrong)

    def test_a_lock_that_stays_is_a_503(self):
        blocker = engine.Database(self.conf)
        self.addCleanup(blocker.dispose)
        with blocker.writer.begin() as db:
            db.execute(
                sa.update(schema.images)
                .where(schema.images.c.id == self.image_id)
                .values(generation=7)
            )
            start = time.monotonic()
            response = self.request(
                "POST", f"{self.path}/metadata", body={"metadata": {"a": "b"}}
            )
            took = time.monotonic() - start
        self.assertEqual(503, response.status_int)
        self.assertIn("Retry-After", response.headers)
        self.assertLess(took, 5)
        self.assertEqual(200, self.post({"a": "b"})())

    def test_one_of_many_wins_with_if_match(self):
        body = {"metadata": {"a": "b"}}
        etag = self.request("GET", self.path).headers["ETag"]
        answers = self.race(
            *[
                lambda: (
                    self.request(
                        "POST",
                        f"{self.path}/metadata",
                        body=body,
                        If_Match=etag,
                    ).status_int
                )
            ]
            * THREADS
        )
        self.assertEqual(
            {200: 1, 412: THREADS - 1}, collections.Counter(answers)
        )


class TestSqlite(Races, base.RequestTestCase):
    backend = "sqlite"


class TestMysql(Races, base.RequestTestCase):
    backend = "mysql"


class TestPostgresql(Races, base.RequestTestCase):
    backend = "postgresql"
