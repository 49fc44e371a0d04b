# SPDX-License-Identifier: Apache-2.0
"""The page "Backup and restore": its commands, on each database."""

import os
import re
import shutil
import subprocess
import sys

import sqlalchemy as sa

from images_service.tests import backends
from images_service.tests import base
from images_service.tests import pages

PAGE = "doc/source/admin/backup.rst"
# Commands of the page that need root, systemd or a deployment.
SHIMS = {
    "chown": "exit 0",
    "runuser": 'shift 3; exec "$@"',
    "su": 'exec bash -c "$3"',
    "systemctl": "exit 0",
    "images-service-manage": (
        f'exec {sys.executable} -c "import sys; '
        "from images_service.cmd import manage; "
        'sys.exit(manage.main(sys.argv[1:]))" '
        '--config-file "$FOLDER/images_service.conf" "$@"'
    ),
}


class Backups(backends.OnBackend):
    section: str
    # A command that the page takes from the database's package.
    program = "bash"

    def setUp(self):
        super().setUp()
        if shutil.which(self.program) is None:
            self.skipTest(f"{self.program} is not installed")
        self.folder = self.make_folder()
        self.shims = self.make_folder()
        for name, line in SHIMS.items():
            path = os.path.join(self.shims, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/bash\n{line}\n")
            os.chmod(path, 0o755)
        self.url = sa.make_url(self.connection)

    def adapted(self, commands):
        """Return commands with the names of this test, not of the page."""
        return commands.replace("/var/backups", self.folder)

    def environ(self):
        """Return how the database's own commands reach it."""
        return {}

    def run_block(self, commands):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(commands)],
            env={
                **os.environ,
                **self.environ(),
                "FOLDER": self.folder,
                "PATH": f"{self.shims}:{os.environ['PATH']}",
            },
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout

    def rows(self):
        """Return all rows of all tables, by table."""
        server = sa.create_engine(self.connection, poolclass=sa.pool.NullPool)
        tables = sa.MetaData()
        with server.connect() as db:
            tables.reflect(db)
            return {
                table.name: sorted(map(repr, db.execute(sa.select(table))))
                for table in tables.sorted_tables
            }

    def test_commands(self):
        conf = base.configuration(self.folder, connection=self.connection)
        store = self.make_store(conf)
        backup, restore = [
            commands
            for commands, _ in pages.examples(
                pages.section(PAGE, self.section)
            )
        ]
        before = self.rows()
        self.assertGreater(len(before["images"]), 10)
        self.run_block(backup)
        base.change_metadata(store, base.IDS["own"], {"later": "x"})
        base.delete(store, base.IDS["snapshot"])
        self.assertNotEqual(before, self.rows())
        # The service has ended.
        store._database.dispose()
        output = self.run_block(restore)
        self.assertIn("0 images had wrong index entries", output)
        self.assertEqual(before, self.rows())


class TestSqlite(Backups, base.TestCase):
    backend = "sqlite"
    section = "SQLite"

    def adapted(self, commands):
        for known, own in {
            "/opt/images_service/bin/python": sys.executable,
            "/var/lib/images_service/images.sqlite": self.url.database,
            "/var/lib/images_service": self.folder,
        }.items():
            commands = commands.replace(known, own)
        return commands


class TestMysql(Backups, base.TestCase):
    backend = "mysql"
    section = "MariaDB and MySQL"
    program = "mariadb-dump"

    def adapted(self, commands):
        options = f"{self.folder}/my.cnf"
        with open(options, "w", encoding="utf-8") as file:
            file.write(
                f"[client]\nhost={self.url.host}\nuser={self.url.username}\n"
                f"password={self.url.password}\n"
            )
        commands = re.sub(
            r"\bimages\b(?=[ ;\"])", str(self.url.database), commands
        )
        commands = re.sub(
            r"^(mariadb\S*)",
            rf"\1 --defaults-extra-file={options}",
            commands,
            flags=re.MULTILINE,
        )
        return super().adapted(commands)


class TestPostgresql(Backups, base.TestCase):
    backend = "postgresql"
    section = "PostgreSQL"
    program = "pg_dump"

    def environ(self):
        return {
            "PGHOST": self.url.host,
            "PGUSER": self.url.username,
            "PGPASSWORD": self.url.password,
        }

    def adapted(self, commands):
        commands = commands.replace(
            "--owner images", f"--owner {self.url.username}"
        )
        commands = re.sub(
            r"\bimages\b(?=\")", str(self.url.database), commands
        )
        return super().adapted(commands)
