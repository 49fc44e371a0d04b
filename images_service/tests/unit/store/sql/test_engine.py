# SPDX-License-Identifier: Apache-2.0
"""How requests use connections: how many, how long, and which again."""

from concurrent import futures
import contextlib
import functools
import gc
import os
import socket
import sqlite3
import stat
import threading
import time
import typing
from unittest import mock

from oslo_config import cfg
import sqlalchemy as sa

from images_service import exception
from images_service.store import base as store_base
from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.tests import backends
from images_service.tests import base
from images_service.tests.servers import tcp_proxy

COUNT = sa.select(sa.func.count()).select_from(schema.images)
ID = sa.insert(schema.purged_images)


class ServerTests(backends.OnBackend):
    def setUp(self):
        super().setUp()
        self.conf = self.make_conf(
            connection=self.connection,
            database={"max_pool_size": 2, "max_overflow": 1},
        )
        self.database = engine.Database(self.conf)
        self.addCleanup(self.database.dispose)
        schema.metadata.create_all(self.database.writer)
        self.server = self.database.primary
        self.server.write(
            lambda db: db.change(sa.delete(schema.purged_images))
        )

    def ids(self):
        clause = sa.select(schema.purged_images.c.id)
        return {
            name for (name,) in self.server.read(lambda db: db.rows(clause))
        }

    def add(self, name, *errors_raised):
        """Return a change that stores an id, and fails so often."""
        left = list(errors_raised)

        def act(db):
            db.change(ID, {"id": name})
            if left:
                raise left.pop(0)

        return act

    def sever(self):
        """Close the sockets below the connections of the pool."""
        pool = self.server.engine.pool
        assert isinstance(pool, sa.pool.QueuePool)
        held = [pool.connect() for _ in range(pool.checkedin())]
        for lent in held:
            raw: typing.Any = lent.dbapi_connection
            descriptor = (
                raw.fileno() if hasattr(raw, "fileno") else raw._sock.fileno()
            )
            # A duplicate shuts the one connection that both stand for.
            with socket.socket(fileno=os.dup(descriptor)) as end:
                end.shutdown(socket.SHUT_RDWR)
        for lent in held:
            lent.close()
        return len(held)

    def use_all(self):
        """Open as many connections as the pool keeps."""
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(self.server.engine.connect())

    def test_all_or_nothing(self):
        for error in (ValueError("x"), KeyboardInterrupt()):
            with self.assertRaises(type(error)):
                self.server.write(self.add("a", error))
            self.assertEqual(set(), self.ids())
        self.server.write(self.add("a"))
        self.assertEqual({"a"}, self.ids())

    def test_reads_are_no_transactions(self):
        with base.recorded_statements() as statements:
            self.assertEqual(
                [(0,)], self.server.read(lambda db: db.rows(COUNT))
            )
        self.assertEqual(1, len(statements))

    def test_connections_are_used_again_and_no_more_than_allowed(self):
        entered, leave = threading.Semaphore(0), threading.Event()

        def hold(_db):
            entered.release()
            leave.wait(10)

        threads = [
            threading.Thread(target=self.server.read, args=(hold,))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            self.assertTrue(entered.acquire(timeout=10))
        self.assertEqual(3, self.database.connection_counts()[0])
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            self.ids()
        leave.set()
        for thread in threads:
            thread.join(10)
        self.ids()
        self.assertEqual((0, 2), self.database.connection_counts())

    def test_writes_that_wait_leave_connections_to_reads(self):
        """A backup's lock of all tables stopped reads as well."""
        entered, leave = threading.Semaphore(0), threading.Event()

        def hold(_db):
            entered.release()
            leave.wait(10)

        database = engine.Database(self.make_conf(connection=self.connection))
        self.addCleanup(database.dispose)
        # SQLite has one writer at a time.
        writes = 1 if self.backend == "sqlite" else 3
        threads = [
            threading.Thread(target=database.primary.write, args=(hold,))
            for _ in range(writes)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            self.assertTrue(entered.acquire(timeout=10))
        if self.backend != "sqlite":
            with (
                self.assertLogs("images_service", "ERROR"),
                self.assertRaises(exception.StoreUnavailable),
            ):
                database.primary.write(self.add("late"))
        for _ in range(20):
            database.primary.read(lambda db: db.rows(COUNT))
        leave.set()
        for thread in threads:
            thread.join(10)
        database.primary.write(self.add("then"))


class Remote(ServerTests):
    """Of those backends whose connections can be cut."""

    # A statement that takes too long.
    sleep: str
    port: int

    def test_a_lost_connection_is_replaced(self):
        for name, act in (
            ("read", self.ids),
            ("write", lambda: self.server.write(self.add("a"))),
        ):
            with self.subTest(name):
                self.use_all()
                self.assertEqual(2, self.sever())
                act()
        self.assertEqual({"a"}, self.ids())

    def test_connections_that_are_lost_leave_none_behind(self):
        """Each cut once left a pool behind, and what it held."""
        self.use_all()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            self.use_all()
            self.sever()
            threads = [threading.Thread(target=self.ids) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        self.use_all()
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 1)
        self.assertLessEqual(sum(self.database.connection_counts()), 3)

    def test_a_commit_whose_answer_is_lost_is_not_sent_again(self):
        calls = []

        def change(db):
            calls.append(db)
            self.add(f"{len(calls)}")(db)

        run = cursor.Cursor._run

        def lose(db, result, text, *parameters):
            if text == "COMMIT":
                self.cut(db.db)
            return run(db, result, text, *parameters)

        with (
            mock.patch.object(cursor.Cursor, "_run", lose),
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            self.server.write(change)
        self.assertEqual(1, len(calls))
        self.assertLessEqual(self.ids(), {"1"})

    def cut(self, db):
        raw = db.connection.dbapi_connection
        descriptor = (
            raw.fileno() if hasattr(raw, "fileno") else raw._sock.fileno()
        )
        with socket.socket(fileno=os.dup(descriptor)) as end:
            end.shutdown(socket.SHUT_RDWR)

    def test_a_statement_that_takes_too_long_is_ended(self):
        start = time.monotonic()
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            self.server.read(lambda db: db.rows(sa.text(self.sleep)))
        self.assertLess(time.monotonic() - start, 5)

    def test_a_server_that_says_nothing_is_given_up(self):
        """One that takes connections, but is frozen or behind a black hole."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = sa.make_url(self.connection).set(
                port=silent.getsockname()[1]
            )
            conf = self.make_conf(
                connection=url.render_as_string(hide_password=False)
            )
            database = engine.Database(conf)
            self.addCleanup(database.dispose)
            before = len(os.listdir("/proc/self/fd"))
            # As in a worker, where garbage is rarely collected.
            gc.disable()
            self.addCleanup(gc.enable)
            start = time.monotonic()
            with (
                self.assertLogs("images_service", "ERROR"),
                self.assertRaises(exception.StoreUnavailable),
            ):
                database.primary.read(lambda db: db.rows(COUNT))
            self.assertLess(time.monotonic() - start, 5)
            # The thread that connects ends by the driver's time-out.
            self.assertDescriptors(before)

    def behind_proxy(self, **options):
        """Return a proxy, and a database behind it with open connections."""
        url = sa.make_url(self.connection)
        proxy = tcp_proxy.Proxy(self.port)
        self.addCleanup(proxy.close)
        self.proxied = self.make_conf(
            connection=url.set(port=proxy.port).render_as_string(
                hide_password=False
            ),
            database=options,
        )
        database = engine.Database(self.proxied)
        self.addCleanup(database.dispose)
        database.primary.read(lambda db: db.rows(COUNT))
        return proxy, database

    def assertUnavailable(self, act, at_least=0.0, at_most=4.6):
        start = time.monotonic()
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            act()
        took = time.monotonic() - start
        self.assertLess(took, at_most)
        self.assertGreater(took, at_least)

    def test_an_answer_that_trickles_has_a_limit(self):
        """Drivers count the time-out anew for each byte."""
        proxy, database = self.behind_proxy()
        server = database.primary
        before = len(os.listdir("/proc/self/fd"))
        gc.disable()
        self.addCleanup(gc.enable)
        read = self.many_columns()
        with proxy.trickling():
            self.assertUnavailable(lambda: server.read(read), 3.5)
            # The next one needs a new connection, whose handshake trickles.
            self.assertUnavailable(lambda: server.read(read))
            self.assertUnavailable(lambda: server.write(self.add("trickled")))
        server.read(read)
        server.write(self.add("then"))
        self.assertEqual({"then"}, self.ids())
        self.assertEqual((0, 1), database.connection_counts())
        self.assertDescriptors(before)

    def assertDescriptors(self, at_most):
        """Check how many files are open in a few seconds at the latest."""
        deadline = time.monotonic() + 3
        while (found := len(os.listdir("/proc/self/fd"))) > at_most:
            self.assertLess(time.monotonic(), deadline, found)
            time.sleep(0.1)

    def many_columns(self):
        names = ", ".join(f"'{'x' * 99}' AS c{n}" for n in range(9))
        clause = sa.text(f"SELECT {names}")
        return lambda db: db.rows(clause)

    def test_a_request_whose_statements_are_slow_has_one_limit(self):
        """Each of six answers in time made a request of twelve seconds."""
        proxy, database = self.behind_proxy()
        server = database.primary
        steps = []

        def act():
            for number in range(3):
                steps.append(number)
                server.read(lambda db: db.rows(COUNT))
            server.write(self.add("late"))

        proxy.delay = 1.5
        self.assertUnavailable(lambda: store_base.retried(act), 3.5)
        # The action was not run again.
        self.assertEqual([0, 1, 2], steps)
        proxy.delay = 0
        # A later action has a limit of its own.
        store_base.retried(act)
        self.assertEqual({"late"}, self.ids())

    def test_a_slow_transaction_is_not_stored(self):
        proxy, database = self.behind_proxy()

        def change(db):
            for number in range(3):
                self.add(f"{number}")(db)

        proxy.delay = 1.2
        self.assertUnavailable(lambda: database.primary.write(change), 3.5)
        proxy.delay = 0
        self.assertEqual(set(), self.ids())
        database.primary.write(change)
        self.assertEqual({"0", "1", "2"}, self.ids())

    def test_what_a_request_has_waited_for_before_is_part_of_its_limit(self):
        """Keystone took 4.5 seconds, and a database that hung four more."""
        proxy, database = self.behind_proxy()

        def act():
            return database.primary.read(lambda db: db.rows(COUNT))

        def request(seconds_ago):
            return store_base.retried(act, time.monotonic() - seconds_ago)

        # What waited for less than a second has the whole limit.
        for seconds_ago, left in ((0.5, 4), (3, 2), (6, 0)):
            with self.subTest(seconds_ago), proxy.swallowing(cut=True):
                self.assertUnavailable(
                    lambda ago=seconds_ago: request(ago),
                    left - 0.5,
                    left + 0.6,
                )
        self.assertEqual([(0,)], request(3))

    def test_a_connection_is_opened_within_the_limit(self):
        """Half of the limit was over when a connection was lost."""
        proxy, database = self.behind_proxy()
        database.dispose()

        def act():
            time.sleep(2.5)
            with proxy.swallowing():
                database.primary.read(lambda db: db.rows(COUNT))

        self.assertUnavailable(lambda: store_base.retried(act), 3.5)

    def test_a_first_connection_is_part_of_the_limit(self):
        """Outside of an action its statements had a limit of their own."""
        proxy, _ = self.behind_proxy()
        database = engine.Database(self.proxied)
        self.addCleanup(database.dispose)
        proxy.delay = 0.9
        read = functools.partial(
            database.primary.read, lambda db: db.rows(COUNT)
        )
        self.assertUnavailable(read, 3.5)

    def test_first_connections_do_not_wait_for_each_other(self):
        """SQLAlchemy prepares the first one while others wait for it."""
        proxy, _ = self.behind_proxy()
        database = engine.Database(self.proxied)
        self.addCleanup(database.dispose)
        proxy.delay = 0.9

        def read():
            start = time.monotonic()
            with contextlib.suppress(exception.StoreUnavailable):
                database.primary.read(lambda db: db.rows(COUNT))
            return time.monotonic() - start

        with (
            self.assertLogs("images_service", "ERROR"),
            futures.ThreadPoolExecutor(5) as pool,
        ):
            times = list(pool.map(lambda _: read(), range(5)))
        self.assertLess(max(times), 4.6, times)

    def test_a_wait_for_a_connection_is_part_of_the_limit(self):
        proxy, database = self.behind_proxy(max_pool_size=1)

        def read():
            with contextlib.suppress(exception.StoreUnavailable):
                database.primary.read(lambda db: db.rows(COUNT))

        proxy.delay = 0.8
        threads = [threading.Thread(target=read) for _ in range(8)]
        with self.assertLogs("images_service", "ERROR"):
            for thread in threads:
                thread.start()
            start = time.monotonic()
            for thread in threads:
                thread.join(20)
        self.assertLess(time.monotonic() - start, 5)

    def test_a_child_process_watches_its_own_connections(self):
        """A fork leaves the thread that watches them behind."""
        self.ids()
        self.database.dispose()

        def act():
            self.ids()
            time.sleep(2.5)
            self.server.read(lambda db: db.rows(sa.text(self.sleep)))

        start = time.monotonic()
        child = os.fork()
        if not child:
            status = 1
            try:
                store_base.retried(act)
            except exception.StoreUnavailable:
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(0, os.waitpid(child, 0)[1])
        # The statement alone would have taken until 6.
        self.assertLess(time.monotonic() - start, 5)


class TestMysql(Remote, base.TestCase):
    backend = "mysql"
    port = 3306
    # KILL doesn't end SLEEP() with an error; a slow join ends with one.
    sleep = (
        "SELECT COUNT(*) FROM information_schema.collations a, "
        "information_schema.collations b, information_schema.collations c, "
        "information_schema.collations d"
    )

    def test_an_empty_mode_is_that_of_the_server(self):
        """It ended in a syntax error for each connection."""
        self.conf.set_override("mysql_sql_mode", "", group="database")
        database = engine.Database(self.conf)
        self.addCleanup(database.dispose)
        modes = sa.text("SELECT @@SESSION.sql_mode, @@GLOBAL.sql_mode")
        [(own, of_server)] = database.primary.read(lambda db: db.rows(modes))
        self.assertEqual(of_server, own)
        self.conf.set_override("mysql_sql_mode", "ANSI", group="database")
        database = engine.Database(self.conf)
        self.addCleanup(database.dispose)
        [(own, of_server)] = database.primary.read(lambda db: db.rows(modes))
        self.assertNotEqual(of_server, own)


class TestPostgresql(Remote, base.TestCase):
    backend = "postgresql"
    port = 5432
    sleep = "SELECT pg_sleep(20)"

    def test_statements_were_compiled_for_seconds(self):
        """It made lists 503 where the statistics of a table were wrong."""
        rows = self.server.read(lambda db: db.rows(sa.text("SHOW jit")))
        self.assertEqual([("off",)], rows)


class TestSqlite(ServerTests, base.TestCase):
    backend = "sqlite"

    def test_its_files_are_the_users_alone(self):
        folder = self.make_folder()
        conf = base.configuration(folder)
        self.make_store(conf)
        names = [n for n in os.listdir(folder) if n.startswith("images.sq")]
        self.assertIn("images.sqlite", names)
        for name in names:
            mode = os.stat(os.path.join(folder, name)).st_mode
            self.assertEqual(0o600, stat.S_IMODE(mode), name)

    def test_a_lock_is_waited_for_within_the_limit(self):
        def act():
            time.sleep(2.5)
            self.server.write(self.add("late"))

        blocker = sqlite3.connect(
            str(sa.make_url(self.connection).database),
            check_same_thread=False,
        )
        self.addCleanup(blocker.close)
        blocker.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            store_base.retried(act)
        self.assertLess(time.monotonic() - start, 4.6)
        threading.Timer(1, blocker.rollback).start()
        self.server.write(self.add("then"))

    def test_a_statement_that_takes_too_long_is_ended(self):
        numbers = (
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n)"
        )
        start = time.monotonic()
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            self.server.read(
                lambda db: db.rows(
                    sa.text(f"{numbers} SELECT COUNT(*) FROM n WHERE i < 0")
                )
            )
        self.assertLess(time.monotonic() - start, 5)
        self.ids()

    def test_a_disk_that_is_full_is_a_503(self):
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            self.server.write(self.fill)

    def test_a_commit_that_failed_left_its_transaction_open(self):
        def break_off(db):
            db.send("PRAGMA defer_foreign_keys = ON")
            member = {"image_id": base.UNKNOWN, "member": "m", "status": "s"}
            db.change(sa.insert(schema.image_members).values(member))
            self.add("a")(db)

        with self.assertRaises(sa.exc.IntegrityError):
            self.server.write(break_off)
        self.assertEqual(set(), self.ids())
        self.server.write(self.add("b"))
        self.assertEqual({"b"}, self.ids())

    def fill(self, db):
        db.send("PRAGMA max_page_count = 1")
        for number in range(10_000):
            self.add(f"{number}{'x' * 30}")(db)


class TestConfiguration(base.TestCase):
    def test_a_connection_must_be_named(self):
        conf = self.make_conf()
        conf.set_override("connection", None, group="database")
        with self.assertRaisesRegex(cfg.RequiredOptError, "connection"):
            engine.Database(conf)

    def test_each_driver_is_given_time_outs(self):
        for url, names in (
            ("mysql+pymysql://h/d", ("read_timeout", "write_timeout")),
            ("mysql+mysqldb://h/d", ("read_timeout", "write_timeout")),
            ("postgresql+psycopg://h/d", ("tcp_user_timeout",)),
        ):
            with self.subTest(url):
                conf = self.make_conf(connection=url)
                try:
                    found = engine.Database(conf).primary.engine
                except ImportError as error:
                    # A driver that tests do not need, and its compiler.
                    self.assertIn("MySQLdb", str(error))
                    continue
                _, arguments = found.dialect.create_connect_args(found.url)
                for name in (*names, "connect_timeout"):
                    self.assertLessEqual(
                        int(str(arguments[name]).removesuffix("000")), 4
                    )

    def test_a_replica_has_a_pool_of_its_own(self):
        conf = self.make_conf()
        database = engine.Database(conf)
        self.assertIs(database.primary, database.replica)
        conf.set_override("slave_connection", "sqlite:///x", group="database")
        with mock.patch.object(engine, "_make_private"):
            database = engine.Database(conf)
        self.assertIsNot(database.primary, database.replica)
