# SPDX-License-Identifier: Apache-2.0
"""DevStack's plugin: its commands run, with stubs of DevStack's functions."""

import configparser
import getpass
import json
import os
import re
import subprocess

from images_service.tests import base
from images_service.tests import glance
from images_service.tests.package import test_package
from images_service.tests.servers import guide

ROOT = os.path.abspath(guide.ROOT)
STUBS = os.path.join(os.path.dirname(__file__), "devstack_stubs.sh")
PAGE = "doc/source/install/inside-nova.rst"


def nova_lines():
    """Return the section of Nova's file, as the page about it shows it."""
    with open(f"{ROOT}/{PAGE}", encoding="utf-8") as file:
        (lines,) = re.findall(
            r"(   \[composite:osapi_compute\]\n   use = .+\n)"
            r"   filter-with = ",
            file.read(),
        )
    return lines.replace("   ", "")


class TestDevStack(test_package.PackageTestCase):
    def setUp(self):
        super().setUp()
        self.glance = glance.Glance()
        self.addCleanup(self.glance.stop)
        self.glance.start()
        self.glance.add(
            glance.image(base.IDS["own"], base.OWNER, visibility="public")
        )
        self.keystone = glance.Keystone({}, self.glance)
        self.addCleanup(self.keystone.stop)
        self.keystone.start()
        self.calls = f"{self.folder}/calls"
        self.paste = f"{self.folder}/nova-api-paste.ini"
        with open(self.paste, "w", encoding="utf-8") as file:
            file.write(nova_lines())
        self.conf_folder = f"{self.folder}/etc"
        self.conf = f"{self.conf_folder}/images_service.conf"

    def phase(self, mode, phase=""):
        """Source the plugin as DevStack does; return the calls of stubs."""
        with open(self.calls, "w", encoding="utf-8"):
            pass
        script = (
            f"source {STUBS}; source {ROOT}/devstack/settings; "
            f"source {ROOT}/devstack/plugin.sh {mode} {phase}"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                "PATH": "/usr/sbin:/usr/bin:/bin",
                "HOME": self.folder,
                "BIN": f"{test_package.ENVIRONMENT}/bin",
                "CALLS": self.calls,
                "DEST": os.path.dirname(ROOT),
                "IMAGES_SERVICE_DIR": ROOT,
                "IMAGES_SERVICE_CONF_DIR": self.conf_folder,
                "BASE_SQL_CONN": f"sqlite:///{self.folder}/images.sqlite",
                "KEYSTONE_SERVICE_URI": self.keystone.url,
                "NOVA_API_PASTE_INI": self.paste,
                "STACK_USER": getpass.getuser(),
            },
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        with open(self.calls, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual("define_plugin images_service", lines[0])
        return lines[1:]

    def test_from_stack_to_clean(self):
        self.assertEqual([], self.phase("stack", "pre-install"))
        self.assertEqual(
            [f"setup_develop {ROOT} mysql,postgresql,memcached,mirror"],
            self.phase("stack", "install"),
        )
        self.assertEqual(
            [
                "create_service_user images admin",
                "recreate_database images_service",
            ],
            self.phase("stack", "post-config"),
        )
        paste = configparser.ConfigParser(interpolation=None)
        paste.read(self.paste)
        self.assertEqual(
            "egg:images_service#front",
            paste["composite:osapi_compute"]["filter-with"],
        )
        self.assertEqual(0o640, os.stat(self.conf).st_mode & 0o777)
        self.assertIn("policy.json", os.listdir(self.conf_folder))

        program = f"{test_package.ENVIRONMENT}/bin/images-service-mirror"
        self.assertEqual(
            [
                "run_process images-service "
                f"{program} --config-file {self.conf}"
            ],
            self.phase("stack", "extra"),
        )
        done = self.run_program(
            "images-service-manage",
            *("--config-file", self.conf, "image", "list", "-f", "json"),
        )
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(
            [base.IDS["own"]], [row["id"] for row in json.loads(done.stdout)]
        )
        done = self.run_program(
            *("images-service-status", "--config-file", self.conf),
            *("upgrade", "check"),
        )
        self.assertLess(done.returncode, 2, done.stdout + done.stderr)

        self.assertEqual(
            ["stop_process images-service"], self.phase("unstack")
        )
        self.assertEqual([], self.phase("clean"))
        self.assertFalse(os.path.exists(self.conf_folder))
