# SPDX-License-Identifier: Apache-2.0
"""What a service finds out when it starts, in processes of their own."""

import os
import socket
import subprocess
import sys
import time

from images_service import app
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.tests import base
from images_service.tests import keystone

ENTRANCES = {
    "images-service-api": (
        "import sys; from images_service.cmd import api; "
        "sys.exit(api.main(['--port', '1']))"
    ),
    "another server": "import images_service.wsgi.api",
}


class TestStart(base.TestCase):
    def output(self, code, home, status):
        """Return the output of a process whose configuration is in HOME."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "HOME": home},
            # Logging, which tells of an error that nothing catches, has one or
            # the other.
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(status, done.returncode, done.stdout)
        return done.stdout

    def test_what_was_found_at_the_first_request(self):
        for options, text in (
            ({}, "Run images-service-manage db sync."),
            ({"api": {"max_limt": 1}}, "max_limt is unknown. Did you mean"),
            (
                {"connection": "mysql+nosuch://h/n"},
                "[database] connection: mysql+nosuch is unknown.",
            ),
        ):
            home = self.make_folder()
            base.configuration(home, **options)
            for entrance, code in ENTRANCES.items():
                with self.subTest(text, entrance=entrance):
                    self.assertIn(text, self.output(code, home, 1))

    def test_a_worker_kept_the_memory_of_what_it_does_not_use(self):
        home = self.make_folder()
        conf = base.configuration(
            home,
            api={"auth_strategy": "keystone"},
            keystone_authtoken={
                **keystone.options("http://127.0.0.1:9"),
                "memcached_servers": "127.0.0.1:9",
            },
        )
        run.sync(engine.Database(conf))
        code = (
            "import sys; import images_service.wsgi.api; "
            "print({'alembic', 'eventlet', 'oslo_cache._memcache_pool'}"
            ".intersection(sys.modules))"
        )
        self.assertEqual(
            "{'oslo_cache._memcache_pool'}",
            self.output(code, home, 0).splitlines()[-1],
        )

    def test_a_database_that_hangs_keeps_nothing_from_starting(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        server = f"images:s3cret@127.0.0.1:{silent.getsockname()[1]}/images"
        for driver in ("mysql+pymysql", "postgresql+psycopg"):
            with self.subTest(driver):
                conf = self.make_conf(connection=f"{driver}://{server}")
                start = time.monotonic()
                with self.assertLogs("images_service", "WARNING") as log:
                    app.create(conf)
                self.assertLess(time.monotonic() - start, 10)
                said = "\n".join(log.output)
                levels = {line.levelname for line in log.records}
                self.assertIn("ERROR", levels)
                self.assertRegex(
                    said,
                    "The database does not answer: "
                    r"(no answer in time|connection timeout expired)\. Check",
                )
