# SPDX-License-Identifier: Apache-2.0
import datetime
import os
import sqlite3
import threading
from unittest import mock

import sqlalchemy as sa

from images_service.store.sql import connections
from images_service.tests import base

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("made_at", sa.DateTime),
    sa.Column("good", sa.Boolean),
)
ALL = sa.select(THINGS).order_by(THINGS.c.id)
ADD = sa.insert(THINGS)
NOON = datetime.datetime(2026, 3, 1, 12, 0, 0, 5)


class LostError(sqlite3.OperationalError):
    pass


class Cursor(sqlite3.Cursor):
    loses_commits = False

    def execute(self, text, *values):
        if self.loses_commits and text == "COMMIT":
            raise LostError("nobody knows")
        return super().execute(text, *values)


class Connection(sqlite3.Connection):
    def cursor(self, factory=Cursor):
        return super().cursor(factory)


class ConnectionsTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        url = f"sqlite:///{self.make_folder()}/db?check_same_thread=false"
        self.engine = sa.create_engine(
            url,
            poolclass=sa.pool.NullPool,
            connect_args={"factory": Connection},
        )
        METADATA.create_all(self.engine)
        lost = mock.patch.object(
            self.engine.dialect,
            "is_disconnect",
            lambda error, *_: isinstance(error, LostError),
        )
        lost.start()
        self.addCleanup(lost.stop)
        sizes = {"pool_size": 2, "max_overflow": 1, "timeout": 0.2}
        self.connections = connections.Connections(self.engine, sizes)
        self.addCleanup(self.connections.dispose)

    def add(self, *numbers):
        rows = [{"id": n, "made_at": NOON, "good": n > 1} for n in numbers]
        return lambda db: db.insert(ADD, rows)

    def stored(self):
        rows = self.connections.read(lambda db: db.rows(ALL, {}))
        return [row[0] for row in rows]

    def failing(self, *errors):
        """Return a change that fails so often, and what it counts."""
        left = list(errors)
        calls = []

        def act(db):
            calls.append(db)
            if db._cursor.connection.in_transaction:
                self.add(len(calls))(db)
            if left:
                raise left.pop(0)
            return "done"

        return act, calls


class TestStatements(ConnectionsTestCase):
    def test_values_are_what_their_columns_say(self):
        self.connections.write(self.add(1, 2))
        rows = self.connections.read(lambda db: db.rows(ALL, {}))
        self.assertEqual(
            [[1, NOON, False], [2, NOON, True]], [list(row) for row in rows]
        )

    def test_values_that_are_part_of_a_statement_and_repeated_ones(self):
        self.connections.write(self.add(1, 2, 3))
        when = sa.bindparam("when", type_=THINGS.c.made_at.type)
        clause = (
            sa.select(THINGS.c.id)
            .where(THINGS.c.good == sa.true(), THINGS.c.made_at >= when)
            .where(THINGS.c.made_at <= when, THINGS.c.id != 2)
            .limit(sa.bindparam("rows", type_=sa.Integer))
        )
        values = {"when": NOON, "rows": 5}
        rows = self.connections.read(lambda db: db.rows(clause, values))
        self.assertEqual([3], [row[0] for row in rows])

    def test_each_clause_is_written_once(self):
        with mock.patch.object(
            connections, "Statement", wraps=connections.Statement
        ) as written:
            for number in range(5):
                self.connections.write(self.add(number))
                self.stored()
        self.assertEqual(2, written.call_count)

    def test_how_many_rows_were_found(self):
        self.connections.write(self.add(1, 2))
        clause = sa.delete(THINGS).where(THINGS.c.id < sa.bindparam("below"))
        for below, count in ((3, 2), (3, 0)):
            found = self.connections.write(
                lambda db, n=below: db.execute(clause, {"below": n})
            )
            self.assertEqual(count, found)


class TestTransactions(ConnectionsTestCase):
    def test_all_or_nothing(self):
        for error in (ValueError, sqlite3.IntegrityError, KeyboardInterrupt):
            act, _ = self.failing(error("x"))
            expected = error
            if issubclass(error, sqlite3.Error):
                expected = sa.exc.DBAPIError
            with self.assertRaises(expected):
                self.connections.write(act)
            self.assertEqual([], self.stored())

    def test_the_drivers_error_is_the_cause(self):
        act, calls = self.failing(sqlite3.OperationalError("locked"))
        with self.assertRaises(sa.exc.DBAPIError) as caught:
            self.connections.write(act)
        self.assertEqual("locked", str(caught.exception.orig))
        self.assertEqual(1, len(calls))

    def test_reads_are_no_transactions(self):
        def read(db):
            db.rows(ALL, {})
            return db._cursor.connection.in_transaction

        self.assertFalse(self.connections.read(read))


class TestLost(ConnectionsTestCase):
    def test_a_lost_connection_is_replaced(self):
        for method in (self.connections.read, self.connections.write):
            act, calls = self.failing(LostError("gone"))
            self.assertEqual("done", method(act))
            first, second = calls
            self.assertIsNot(
                first._cursor.connection, second._cursor.connection
            )

    def test_what_was_changed_before_is_undone(self):
        act, _ = self.failing(LostError("gone"))
        self.connections.write(act)
        self.assertEqual([2], self.stored())

    def test_a_second_loss_is_told(self):
        for method in (self.connections.read, self.connections.write):
            act, calls = self.failing(LostError("a"), LostError("b"))
            with self.assertRaises(sa.exc.DBAPIError) as caught:
                method(act)
            self.assertEqual("b", str(caught.exception.orig))
            self.assertEqual(2, len(calls))

    def test_a_commit_that_was_lost_is_not_tried_again(self):
        act, calls = self.failing()
        with (
            mock.patch.object(Cursor, "loses_commits", True),
            self.assertRaises(sa.exc.DBAPIError),
        ):
            self.connections.write(act)
        self.assertEqual(1, len(calls))
        self.assertEqual([], self.stored())

    def test_a_server_that_is_not_there(self):
        self.connections.dispose()
        error = sqlite3.OperationalError("unable to open")
        with (
            mock.patch.object(
                self.engine, "raw_connection", side_effect=error
            ),
            self.assertRaises(sa.exc.DBAPIError) as caught,
        ):
            self.stored()
        self.assertIs(error, caught.exception.orig)

    def test_a_forked_process_opens_its_own(self):
        self.stored()
        before = self.connections._pool
        with mock.patch.object(os, "getpid", return_value=-1):
            self.stored()
        self.assertIsNot(before, self.connections._pool)


class TestPool(ConnectionsTestCase):
    def test_connections_are_used_again(self):
        with mock.patch.object(
            self.engine, "raw_connection", wraps=self.engine.raw_connection
        ) as opened:
            for number in range(5):
                self.connections.write(self.add(number))
                self.stored()
        self.assertEqual(1, opened.call_count)

    def test_there_are_no_more_than_allowed(self):
        entered, leave = threading.Semaphore(0), threading.Event()

        def hold(db):
            entered.release()
            leave.wait(10)

        threads = [
            threading.Thread(target=self.connections.read, args=(hold,))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            self.assertTrue(entered.acquire(timeout=10))
        with self.assertRaises(sa.exc.TimeoutError):
            self.stored()
        leave.set()
        for thread in threads:
            thread.join(10)
        self.assertEqual([], self.stored())
