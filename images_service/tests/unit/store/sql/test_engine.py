# SPDX-License-Identifier: Apache-2.0
"""What the drivers' errors mean, as they are and below oslo.db's names."""

import sqlite3
import unittest

from oslo_db import exception as db_exc
import psycopg
import pymysql
import sqlalchemy as sa

from images_service import errors
from images_service.store.sql import engine

MYSQL = pymysql.err.OperationalError


def with_state(number, state):
    """Return an error as PyMySQL makes it of what a server says."""
    error = MYSQL(number, "said so")
    error.sqlstate = state
    return error


PASSING = (
    sqlite3.OperationalError("database is locked"),
    sqlite3.OperationalError("unable to open database file"),
    MYSQL(2003, "Can't connect"),
    with_state(1205, "HY000"),
    with_state(1040, "08004"),
    with_state(1047, "08S01"),
    with_state(1213, "40001"),
    psycopg.OperationalError("connection refused"),
    psycopg.errors.LockNotAvailable("x"),
    psycopg.errors.AdminShutdown("x"),
    psycopg.errors.DeadlockDetected("x"),
    psycopg.errors.SerializationFailure("x"),
)
LASTING = (
    sqlite3.OperationalError("no such table: images"),
    with_state(1146, "42S02"),
    MYSQL(1054, "Unknown column"),
    psycopg.errors.UndefinedTable("x"),
    psycopg.errors.UniqueViolation("x"),
)
DEADLOCKS = (
    with_state(1213, "40001"),
    MYSQL(1213, "Deadlock"),
    psycopg.errors.DeadlockDetected("x"),
    psycopg.errors.SerializationFailure("x"),
)


def wrapped(error):
    return sa.exc.DBAPIError(None, None, error)


class TestUnavailability(unittest.TestCase):
    def test_what_passes(self):
        for error in PASSING:
            with (
                self.subTest(error=error),
                self.assertLogs("images_service", "ERROR"),
                self.assertRaises(errors.StoreUnavailable),
                engine.unavailability(),
            ):
                raise wrapped(error)

    def test_what_lasts(self):
        for error in LASTING:
            with (
                self.subTest(error=error),
                self.assertRaises(sa.exc.DBAPIError),
                engine.unavailability(),
            ):
                raise wrapped(error)


class TestDeadlocks(unittest.TestCase):
    def test_one_of_two_transactions_is_tried_again(self):
        for error in DEADLOCKS:
            self.assertTrue(engine._is_deadlock(wrapped(error)), error)
        named = db_exc.DBDeadlock(wrapped(with_state(1213, "40001")))
        self.assertTrue(engine._is_deadlock(named))

    def test_a_lock_that_was_waited_for_is_not(self):
        late = with_state(1205, "HY000")
        for error in (wrapped(late), db_exc.DBDeadlock(wrapped(late))):
            self.assertFalse(engine._is_deadlock(error))
        for error in LASTING:
            self.assertFalse(engine._is_deadlock(wrapped(error)), error)
