# SPDX-License-Identifier: Apache-2.0
"""Imports in a process of their own, ended by Ctrl+C."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
import uuid

import sqlalchemy as sa

from images_service.store.sql import admin
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base

# A job in the background starts its processes with SIGINT ignored.
MANAGE = (
    "import signal, sys; from images_service.cmd import manage; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.exit(manage.main())"
)
COUNT = 20_000


class Interrupts(backends.OnBackend):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        conf = base.configuration(self.folder, connection=self.connection)
        self.database = engine.Database(conf)
        self.addCleanup(self.database.dispose)
        run.sync(self.database)
        self.store = SqlStore(self.database)

    def start(self, *args):
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", MANAGE),
                *("--config-file", f"{self.folder}/images_service.conf"),
                *("image", "import", *args),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def stored(self):
        # The writer's transactions would wait for SQLite's lock, and make the
        # import wait for it.
        count = sa.select(sa.func.count()).select_from(schema.images)
        [[found]] = self.database.primary.read(lambda db: db.rows(count))
        return found

    def wait_for_some(self, process):
        deadline = time.monotonic() + 60
        while not self.stored():
            self.assertIsNone(process.poll(), "the import has ended")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_ctrl_c_ended_in_an_error_of_sqlalchemy(self):
        path = os.path.join(self.folder, "images.json")
        images = [
            {"id": str(uuid.uuid4()), "owner": "p", "name": str(number)}
            for number in range(COUNT)
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"images": images}, file, indent=1)
        process = self.start(path)
        self.wait_for_some(process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(130, process.returncode, err)
        count = self.stored()
        self.assertLess(count, COUNT)
        self.assertEqual(f"{count} imported, 0 refused\n", out)
        self.assertEqual(
            "Interrupted. --skip-existing imports the rest.\n", err
        )
        # Nothing is half done, and the import goes on where it has ended.
        self.assertEqual([], list(admin.check(self.database, repair=False)))
        out, err = self.start("--skip-existing", path).communicate(timeout=200)
        self.assertEqual(
            (f"{COUNT - count} imported, {count} existed, 0 refused\n", ""),
            (out, err),
        )
        self.assertEqual(COUNT, self.stored())

    def test_ctrl_c_while_nothing_comes(self):
        process = self.start("-")
        process.stdin.write(f'{{"owner": "p", "id": "{base.UNKNOWN}"}}\n')
        process.stdin.flush()
        # Until it has read that, and waits for more.
        deadline = time.monotonic() + 60
        while fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0" * 4).strip(
            b"\0"
        ):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
        self.assertEqual(
            (130, "0 imported, 0 refused\n"), (process.returncode, out)
        )


class TestSQLite(Interrupts, base.TestCase):
    backend = "sqlite"


class TestMySQL(Interrupts, base.TestCase):
    backend = "mysql"


class TestPostgreSQL(Interrupts, base.TestCase):
    backend = "postgresql"
