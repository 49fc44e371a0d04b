# SPDX-License-Identifier: Apache-2.0
"""Requests to a database that answers each statement slowly."""

import time

import sqlalchemy as sa

from images_service import app
from images_service import model
from images_service.glance import records
from images_service.store.sql import engine
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base
from images_service.tests.servers import tcp_proxy

ANYBODY = model.Viewer("", is_admin=True)
# Seconds: the limit, and some for a loaded machine.
AT_MOST = 4.6
ITEM = f"/images/{base.IDS['own']}/metadata/k"


class SlowDatabases(backends.OnBackend):
    """Each answer of the database takes one or two seconds."""

    port: int

    def setUp(self):
        super().setUp()
        self.store = self.make_store(
            self.make_conf(connection=self.connection), []
        )
        images = [records.new_image(r, base.NOW) for r in base.samples()]
        self.store.add(images, replace=True)
        url = sa.make_url(self.connection)
        self.proxy = tcp_proxy.Proxy(self.port)
        self.addCleanup(self.proxy.close)
        url = url.set(port=self.proxy.port)
        conf = self.make_conf(
            connection=url.render_as_string(hide_password=False)
        )
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        self.app = app.create(conf, SqlStore(database))
        self.assertEqual(200, self.request("GET", "/images").status_int)

    def put(self, value):
        start = time.monotonic()
        response = self.request("PUT", ITEM, body={"meta": {"k": value}})
        self.assertLess(time.monotonic() - start, AT_MOST)
        return response

    def test_a_change_of_six_slow_statements(self):
        """It took twelve seconds, and was 200."""
        image = self.store.get(base.IDS["own"], ANYBODY)
        for delay in (1.5, 2):
            self.proxy.delay = delay
            with self.assertLogs("images_service", "ERROR"):
                response = self.put("late")
            self.assertEqual(503, response.status_int)
            self.assertIn("Retry-After", response.headers)
            self.assertEqual(image, self.store.get(base.IDS["own"], ANYBODY))
            self.proxy.delay = 0
            self.assertEqual(200, self.put("in time").status_int)
            image = self.store.get(base.IDS["own"], ANYBODY)

    def test_a_page_that_trickles(self):
        start = time.monotonic()
        with (
            self.proxy.trickling(),
            self.assertLogs("images_service", "ERROR"),
        ):
            response = self.request("GET", "/images/detail")
        self.assertLess(time.monotonic() - start, AT_MOST)
        self.assertEqual(503, response.status_int)
        self.assertIn("Retry-After", response.headers)
        self.assertEqual(200, self.request("GET", "/images").status_int)


class TestMysql(SlowDatabases, base.RequestTestCase):
    backend = "mysql"
    port = 3306


class TestPostgresql(SlowDatabases, base.RequestTestCase):
    backend = "postgresql"
    port = 5432
