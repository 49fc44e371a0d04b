# SPDX-License-Identifier: Apache-2.0
"""Connections with the other driver, which has to be built."""

from images_service.tests import backends
from images_service.tests import base
from images_service.tests.unit.store.sql import test_cursor
from images_service.tests.unit.store.sql import test_engine


class Mysqlclient(backends.OnBackend):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.connection = cls.connection.replace("pymysql", "mysqldb")


class TestMysqlclient(Mysqlclient, test_engine.TestMysql):
    pass


class TestCursor(Mysqlclient, test_cursor.CursorTests, base.TestCase):
    backend = "mysql"
