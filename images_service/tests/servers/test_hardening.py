# SPDX-License-Identifier: Apache-2.0
"""Files that others can't read, and the unit for systemd."""

import glob
import os
import re
import subprocess
import sys

from images_service.tests import base
from images_service.tests.servers import processes

UNITS = os.path.join(
    os.path.dirname(__file__), *("..", "..", "..", "etc", "systemd")
)
UNIT = os.path.join(UNITS, "images-service@.service")
MIRROR = os.path.join(UNITS, "images-service-mirror.service")
MANAGE = processes.START.replace("api", "manage")


class TestFiles(base.TestCase):
    def setUp(self):
        super().setUp()
        # The umask of many shells and init systems.
        self.addCleanup(os.umask, os.umask(0o022))
        self.folder = self.make_folder()

    def start(self, server):
        self.addCleanup(server.stop)
        server.start()
        server.wait()

    def mode(self, path):
        return oct(os.stat(path).st_mode & 0o777)

    def test_others_cannot_read_the_log(self):
        api = processes.Api(self.folder)
        path = os.path.join(self.folder, "api.log")
        self.make_store(
            base.configuration(api.folder, DEFAULT={"log_file": path})
        )
        self.start(api)
        self.assertEqual("0o640", self.mode(path))

    def test_others_cannot_read_what_manage_makes(self):
        base.configuration(self.folder)
        path = f"{self.folder}/images_service.conf"
        subprocess.run(
            [
                *(sys.executable, "-c", MANAGE),
                *("--config-file", path, "db", "sync"),
            ],
            check=True,
            capture_output=True,
        )
        (database,) = glob.glob(f"{self.folder}/*.sqlite")
        self.assertEqual(0, os.stat(database).st_mode & 0o007)

    def test_a_stricter_umask_stays(self):
        os.umask(0o077)
        api = processes.Api(self.folder)
        path = os.path.join(self.folder, "api.log")
        self.make_store(
            base.configuration(api.folder, DEFAULT={"log_file": path})
        )
        self.start(api)
        self.assertEqual("0o600", self.mode(path))

    def test_others_cannot_enter_temporary_folders(self):
        api = processes.Api(self.folder)
        api.environ = {"TMPDIR": self.folder}
        port = processes.free_port()
        self.make_store(base.configuration(api.folder, metrics={"port": port}))
        demo = processes.Demonstration(self.folder, "demo")
        demo.environ = {"TMPDIR": self.folder}
        for server in (api, demo):
            self.start(server)
        for name in ("metrics", "demo"):
            (path,) = glob.glob(f"{self.folder}/images-service-{name}-*")
            self.assertEqual("0o700", self.mode(path))


class TestUnit(base.TestCase):
    def test_systemd_rates_it_as_safe(self):
        analyze = processes.find("systemd-analyze")
        if analyze is None:
            self.skipTest("systemd is not installed")
        done = subprocess.run(
            [
                *(analyze, "security", "--offline=yes", "--threshold=25"),
                *("--no-pager", UNIT, MIRROR),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_it_may_write_where_the_documentation_says(self):
        with open(UNIT, encoding="utf-8") as file:
            text = file.read()
        folders = {
            "StateDirectory": "/var/lib/",
            "LogsDirectory": "/var/log/",
        }
        written = {
            f"{folders[key]}{name}"
            for key, name in re.findall(
                r"^(StateDirectory|LogsDirectory)=(.+)$", text, re.M
            )
        }
        root = os.path.join(os.path.dirname(UNIT), "..", "..")
        named = set()
        for path in (
            "README.rst",
            "doc/source/admin/database.rst",
            "doc/source/install/index.rst",
        ):
            with open(os.path.join(root, path), encoding="utf-8") as file:
                named.update(
                    re.findall(r"/var/(?:lib|log)/[a-z_]+", file.read())
                )
        self.assertEqual(written, named)
