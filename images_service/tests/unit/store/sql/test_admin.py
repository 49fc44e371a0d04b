# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import dataclasses
import json

from images_service import model
from images_service.store.sql import admin
from images_service.store.sql import engine
from images_service.tests import backends
from images_service.tests import base

OWN = base.IDS["own"]


class Edit(backends.OnBackend):
    def test_no_change_is_lost_beside_others(self):
        conf = self.make_conf(connection=self.connection)
        store = self.make_store(conf)
        database = engine.Database(conf)
        self.addCleanup(database.dispose)

        def by_operator(number):
            admin.edit(
                database,
                OWN,
                lambda old: dataclasses.replace(
                    old,
                    metadata={**old.metadata, f"operator{number}": "x"},
                ),
            )

        def by_caller(number):
            base.change_metadata(store, OWN, {f"caller{number}": "x"})

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            tasks = [
                pool.submit(act, number)
                for number in range(10)
                for act in (by_operator, by_caller)
            ]
            for task in tasks:
                task.result()
        image = store.get(OWN, model.Viewer(base.OWNER))
        self.assertEqual(21, len(json.loads(image.metadata)))
        self.assertEqual(21, image.generation)


class TestSqlite(Edit, base.TestCase):
    backend = "sqlite"


class TestMysql(Edit, base.TestCase):
    backend = "mysql"


class TestPostgresql(Edit, base.TestCase):
    backend = "postgresql"
