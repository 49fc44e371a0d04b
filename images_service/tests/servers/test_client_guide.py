# SPDX-License-Identifier: Apache-2.0
"""The client's guide: its commands, run against the demonstration."""

import importlib
import re
import subprocess

from images_service.tests import base
from images_service.tests import pages
from images_service.tests.servers import processes

APPLIANCE = "5a3c1d8e-6f0b-4c6e-9a51-0d2b7c1f4e04"


class DemonstrationTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.demonstration = processes.Demonstration(self.folder, "demo")
        self.demonstration.environ = {"TMPDIR": self.folder}
        self.addCleanup(self.demonstration.stop)
        self.demonstration.start()
        self.demonstration.wait()


class TestClientGuide(DemonstrationTestCase):
    def follow(self, path):
        """Run a page's commands in one shell; compare what they print."""
        text = re.sub(
            r"\b8774\b", str(self.demonstration.port), pages.read(path)
        )
        examples = pages.examples(text)
        self.assertGreater(len(examples), 1)
        script = "".join(
            f"{{\n{commands}\n}} >{self.folder}/{number}\n"
            for number, (commands, _) in enumerate(examples)
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        for number, (commands, printed) in enumerate(examples):
            with self.subTest(commands):
                with open(f"{self.folder}/{number}", encoding="utf-8") as file:
                    output = file.read()
                self.assertTrue(pages.matches(printed or "", output), output)

    def test_requests(self):
        self.follow("doc/source/user/index.rst")

    def test_microversions(self):
        self.follow("doc/source/user/microversions.rst")


class TestLibcloud(DemonstrationTestCase):
    def test_images(self):
        # Where the tests are only listed, it need not be installed.
        openstack = importlib.import_module(
            "libcloud.compute.drivers.openstack"
        )
        driver = openstack.OpenStack_1_1_NodeDriver(
            *("alice", "no password"),
            ex_force_auth_token="alice:demo",
            ex_force_auth_url="http://127.0.0.1:1",
            ex_force_auth_version="3.x_password",
            ex_force_base_url=f"{self.demonstration.url}/v2.1/demo",
            ex_tenant_name="demo",
        )
        # Those that are active.
        self.assertEqual(5, len(driver.list_images()))
        image = driver.get_image(APPLIANCE)
        self.assertEqual("appliance", image.name)
        self.assertTrue(driver.delete_image(image))
        self.assertEqual(4, len(driver.list_images()))
