# SPDX-License-Identifier: Apache-2.0
"""Processes that upgrade one database at the same time."""

import multiprocessing
import os

from images_service import config
from images_service.store.sql import engine
from images_service.store.sql.migrations import revisions
from images_service.store.sql.migrations import run
from images_service.tests import backends
from images_service.tests import base


def _database(connection):
    conf = config.load(["--config-file", os.devnull])
    conf.set_override("connection", connection, group="database")
    return engine.Database(conf)


def _sync(connection):
    database = _database(connection)
    run.sync(database)
    database.dispose()


class Upgrades(backends.OnBackend):
    def test_four_processes_at_once(self):
        start = multiprocessing.get_context("spawn")
        processes = [
            start.Process(target=_sync, args=(self.connection,))
            for _ in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        self.assertEqual([0] * 4, [p.exitcode for p in processes])
        database = _database(self.connection)
        self.addCleanup(database.dispose)
        self.assertEqual(revisions.HEAD, revisions.version(database))


class TestSqlite(Upgrades, base.TestCase):
    backend = "sqlite"


class TestMysql(Upgrades, base.TestCase):
    backend = "mysql"


class TestPostgresql(Upgrades, base.TestCase):
    backend = "postgresql"
