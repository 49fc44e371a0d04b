# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL with a streaming replica that serves the lists."""

import time

from images_service import exception
from images_service import model
from images_service.glance import records
from images_service.tests import base
from images_service.tests.servers import processes

OWNER = model.Viewer(base.OWNER)


class Replica(processes.PostgreSQL):
    """A streaming replica of another server."""

    def __init__(self, folder, primary):
        super().__init__(folder, "replica", initialise=False)
        self.run(
            "pg_basebackup",
            "-D",
            self.folder,
            "-h",
            "127.0.0.1",
            "-p",
            str(primary.port),
            "-U",
            "images",
            "-R",
            # Else it waits for the next checkpoint.
            "--checkpoint=fast",
        )


class TestReplica(base.TestCase):
    def setUp(self):
        super().setUp()
        if not processes.PostgreSQL.installed():
            self.skipTest("PostgreSQL is not installed")
        folder = self.make_folder()
        self.primary = processes.PostgreSQL(folder)
        self.addCleanup(self.primary.stop)
        self.primary.start()
        self.primary.wait()
        url = self.primary.create()
        self.replica = Replica(folder, self.primary)
        self.addCleanup(self.replica.stop)
        self.replica.start()
        self.replica.wait()
        conf = self.make_conf(
            connection=url, database={"slave_connection": self.replica.url()}
        )
        self.store = self.make_store(conf)

    def names(self, **query):
        page = self.store.page(
            model.ListQuery(limit=20, **query), OWNER, model.Image
        )
        return [image.name for image in page.images]

    def add(self, name, image_id=None):
        record = {"name": name, "owner": base.OWNER, "id": image_id}
        self.store.add([records.new_image(record, base.NOW)])

    def catch_up(self):
        wanted = self.primary.sql("SELECT pg_current_wal_lsn()").strip()
        deadline = time.monotonic() + 30
        while self.replica.sql(
            f"SELECT pg_last_wal_replay_lsn() < '{wanted}'"
        ).startswith("t"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_the_replica_serves_lists_and_the_primary_the_rest(self):
        self.catch_up()
        self.assertIn("own", self.names())
        self.replica.sql("SELECT pg_wal_replay_pause()")
        self.add("new", base.UNKNOWN)
        # A list may lag behind; one image, and what is written, does not.
        self.assertNotIn("new", self.names())
        self.assertEqual("new", self.store.get(base.UNKNOWN, OWNER).name)
        # A marker that the replica lacks is looked up on the primary.
        self.assertEqual(self.names(), self.names(marker=base.UNKNOWN))
        with self.assertRaises(exception.MarkerNotFound):
            self.names(marker=base.UNKNOWN.replace("9", "8"))
        self.replica.sql("SELECT pg_wal_replay_resume()")
        self.catch_up()
        self.assertEqual("new", self.names()[0])
