# SPDX-License-Identifier: Apache-2.0
"""The store's tests, on each database server."""

import inspect
import unittest

import sqlalchemy as sa

from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.tests import backends
from images_service.tests.unit.store.sql import test_migrations
from images_service.tests.unit.store.sql import test_store

# These look at SQLite's own plans and files.
_OF_SQLITE = (
    "test_no_table_is_scanned_or_sorted",
    "test_the_rarest_of_two_filters_bounds_the_cost",
)


class OnServer(backends.OnBackend):
    """Empties the class's database for each test."""

    keeps_tables = True

    def setUp(self):
        self.addCleanup(self.empty)
        super().setUp()

    def empty(self):
        conf = self.make_conf(connection=self.connection)
        database = engine.Database(conf)
        with database.writer.begin() as db:
            if self.keeps_tables:
                for table in reversed(schema.metadata.sorted_tables):
                    db.execute(sa.delete(table))
            else:
                everything = sa.MetaData()
                everything.reflect(db)
                everything.drop_all(db)
        database.dispose()


def load_tests(loader, tests, pattern):
    suite = unittest.TestSuite()
    kinds = [
        kind
        for _, kind in inspect.getmembers(test_store, inspect.isclass)
        if issubclass(kind, test_store.StoreTestCase)
    ]
    for kind in [*kinds, test_migrations.TestMigrations]:
        for backend in backends.SERVERS:
            on_server = type(
                f"{kind.__name__}_{backend}",
                (OnServer, kind),
                {
                    "backend": backend,
                    "keeps_tables": kind in kinds,
                    "__module__": __name__,
                }
                | dict.fromkeys(_OF_SQLITE),
            )
            suite.addTests(loader.loadTestsFromTestCase(on_server))
    suite.addTests(tests)
    return suite
