# SPDX-License-Identifier: Apache-2.0
"""The commands of the page "Inside Nova"."""

import json
import os
import subprocess

from images_service.store.sql import engine
from images_service.tests.cloud import cloud
from images_service.tests.cloud import page


class TestPage(cloud.CloudTestCase):
    nodes = 0

    def test_commands(self):
        made = self.at_glance().create(name="made before")
        install, *others = page.commands()
        folder = self.make_folder()
        report = os.path.join(folder, "report.json")
        self.run_command(f"{install} --dry-run --quiet --report {report}")
        with open(report, encoding="utf-8") as file:
            packages = json.load(file)["install"]
        # Nothing that Nova needs is replaced; what is added is there already.
        self.assertEqual(
            ["images-service"],
            [package["metadata"]["name"] for package in packages],
        )
        # A database without tables, and then the same with them.
        self.cloud.database.sql("DROP DATABASE images; CREATE DATABASE images")
        # No notification was seen yet, of which the check would warn.
        conf = self.configure(folder, mirror={"transport_url": None})
        for command in others:
            self.run_command(
                command,
                OS_IMAGES_SERVICE_CONFIG_FILES=(
                    f"{folder}/images_service.conf"
                ),
            )
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        self.assertEqual([made], list(self.rows()))

    def run_command(self, command, **environ):
        """Run a command of the page with the test's environment."""
        done = subprocess.run(
            command.replace("/opt/nova", self.cloud.environment),
            shell=True,
            check=False,
            cwd=page.ROOT,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )
        self.assertEqual(0, done.returncode, f"{command}\n{done.stdout}")
