# SPDX-License-Identifier: Apache-2.0
"""What the drivers' errors mean, below SQLAlchemy's."""

import sqlite3
import unittest

import psycopg
import pymysql
import sqlalchemy as sa

from images_service import exception
from images_service.store.sql import failures

MYSQL = pymysql.err.OperationalError


def with_state(number, state):
    """Return an error as PyMySQL makes it of what a server says."""
    error = MYSQL(number, "said so")
    error.sqlstate = state
    return error


def sqlite(code, text):
    """Return an error as the module makes it of SQLite's result code."""
    kind = sqlite3.DatabaseError if code == 26 else sqlite3.OperationalError
    error = kind(text)
    error.sqlite_errorcode = code
    return error


PASSING = (
    sqlite(5, "database is locked"),
    sqlite(261, "database is locked"),
    sqlite(14, "unable to open database file"),
    sqlite(13, "database or disk is full"),
    sqlite(8, "attempt to write a readonly database"),
    sqlite(26, "file is not a database"),
    MYSQL(2003, "Can't connect"),
    MYSQL(1969, "Query execution was interrupted (max_statement_time)"),
    MYSQL(3024, "Query execution was interrupted"),
    MYSQL(1021, "Disk full"),
    MYSQL(1045, "Access denied"),
    with_state(1205, "HY000"),
    with_state(1040, "08004"),
    with_state(1047, "08S01"),
    with_state(1213, "40001"),
    # A node of Galera that loses the others during COMMIT.
    with_state(1180, "HY000"),
    psycopg.OperationalError("connection refused"),
    psycopg.errors.ConnectionTimeout("connection timeout expired"),
    psycopg.errors.LockNotAvailable("x"),
    psycopg.errors.QueryCanceled("x"),
    psycopg.errors.AdminShutdown("x"),
    psycopg.errors.DiskFull("x"),
    # A standby, or a primary after a failover.
    psycopg.errors.ReadOnlySqlTransaction("x"),
    psycopg.errors.DeadlockDetected("x"),
    psycopg.errors.SerializationFailure("x"),
)
NO_TABLES = (
    sqlite(1, "no such table: images"),
    with_state(1146, "42S02"),
    psycopg.errors.UndefinedTable("x"),
)
LASTING = (
    sqlite(1, "no such column: nonsense"),
    MYSQL(1054, "Unknown column"),
    psycopg.errors.UndefinedColumn("x"),
    psycopg.errors.UniqueViolation("x"),
    # Mistakes that psycopg finds itself; there is no SQLSTATE.
    psycopg.ProgrammingError("cannot adapt type 'object'"),
    psycopg.DataError("PostgreSQL text fields cannot contain NUL"),
    psycopg.InterfaceError("x"),
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
                self.assertRaises(exception.StoreUnavailable),
                failures.unavailability(),
            ):
                raise wrapped(error)

    def test_missing_tables_name_the_command_that_makes_them(self):
        for error in NO_TABLES:
            with (
                self.subTest(error=error),
                self.assertLogs("images_service", "ERROR") as logged,
                self.assertRaises(exception.StoreUnavailable),
                failures.unavailability(),
            ):
                raise wrapped(error)
            self.assertIn("images-service-manage db sync", logged.output[0])

    def test_what_lasts(self):
        for error in LASTING:
            with (
                self.subTest(error=error),
                self.assertRaises(sa.exc.DBAPIError),
                failures.unavailability(),
            ):
                raise wrapped(error)


class TestDeadlocks(unittest.TestCase):
    def test_one_of_two_transactions_is_tried_again(self):
        for error in DEADLOCKS:
            self.assertTrue(failures.is_deadlock(wrapped(error)), error)

    def test_a_lock_that_was_waited_for_is_not(self):
        self.assertFalse(
            failures.is_deadlock(wrapped(with_state(1205, "HY000")))
        )
        for error in LASTING:
            self.assertFalse(failures.is_deadlock(wrapped(error)), error)
