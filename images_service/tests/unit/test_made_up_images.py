# SPDX-License-Identifier: Apache-2.0
"""The tool that fills a database with made-up images."""

import contextlib
import importlib.util
import io
import json
import os

import sqlalchemy as sa

from images_service import model
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.tests import base

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")


def tool():
    """Return the module, which is in no package."""
    spec = importlib.util.spec_from_file_location(
        "made_up_images", f"{ROOT}/tools/made_up_images.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestMadeUpImages(base.ManageTestCase):
    def setUp(self):
        super().setUp()
        self.tool = tool()
        self.manage("db", "sync")
        self.database = engine.Database(self.conf)
        self.addCleanup(self.database.dispose)

    def rows(self, table):
        with self.database.writer.connect() as db:
            return db.execute(sa.select(table)).all()

    def test_so_many(self):
        out = io.StringIO()
        path = os.path.join(self.folder, "images_service.conf")
        with contextlib.redirect_stdout(out):
            self.tool.main(
                [
                    *("--config-file", path),
                    *("--count", "300", "--projects", "7"),
                ]
            )
        self.assertEqual("300 generated\n", out.getvalue())
        rows = self.rows(schema.images)
        self.assertEqual(300, len(rows))
        self.assertEqual(7, len({row.owner for row in rows}))
        self.assertEqual(
            set(model.VISIBILITIES), {row.visibility for row in rows}
        )
        for row in rows:
            self.assertEqual(4, len(json.loads(row.metadata)))
        self.assertTrue(self.rows(schema.image_members))
        self.assertEqual(0, self.manage("db", "check")[0])

    def test_times_grow_over_catalogues_of_any_size(self):
        made = self.tool.generate(10**9, 5, 1)
        first = [next(made).image.created_at for _ in range(100)]
        self.assertEqual(sorted(first), first)

    def test_a_seed_makes_the_same(self):
        def made(seed):
            return list(self.tool.generate(50, 5, seed))

        self.assertEqual(made(3), made(3))
        self.assertNotEqual(made(3), made(4))
