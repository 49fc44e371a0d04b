# SPDX-License-Identifier: Apache-2.0
"""Clients from the package index, with this service inside Nova.

They find Nova in Keystone's catalog.
"""

import importlib
import json
import os
import subprocess
import unittest

from images_service.tests.cloud import cloud
from images_service.tests.cloud import novas
from images_service.tests.identity import test_clients

NOVACLIENT_CALLS = os.path.join(
    os.path.dirname(test_clients.__file__), "novaclient_calls.py"
)
FLAVORS = ["large", "small"]


class TestClients(novas.NovaTestCase):
    kinds = ("front",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        novas.in_the_catalog()

    def setUp(self):
        super().setUp()
        glance = self.at_glance("amber")
        self.ids = {
            name: glance.create(name=name, key=name)
            for name in ("first", "second")
        }
        for image_id in self.ids.values():
            # It is fetched from Glance.
            self.at_nova("front", "amber").done(
                "GET", f"/v2.1/images/{image_id}"
            )

    def run_program(self, environment, program, *args):
        """Run a client in an environment; return its output."""
        folder = os.environ.get(environment)
        if folder is None:
            raise unittest.SkipTest("tox -e functional-cloud names one")
        login = {
            f"OS_{name.upper()}": value
            for name, value in self.cloud.login("amber").items()
        }
        done = subprocess.run(
            [f"{folder}/bin/{program}", *args],
            capture_output=True,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONWARNINGS": "ignore",
                "OS_REGION_NAME": cloud.REGION,
                **login,
            },
            text=True,
            timeout=60,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def test_openstacksdk(self):
        # Where the tests are only listed, it need not be installed.
        openstack = importlib.import_module("openstack")
        connection = openstack.connection.Connection(
            session=self.cloud.session("amber"), region_name=cloud.REGION
        )
        self.addCleanup(connection.close)
        compute = connection.compute
        self.assertEqual(
            set(self.ids), {image.name for image in compute.images()}
        )
        for limit in (1, 2):
            found = compute.images(details=False, limit=limit)
            self.assertEqual(set(self.ids), {image.name for image in found})
        first = compute.find_image("first")
        self.assertEqual(self.ids["first"], first.id)
        compute.set_image_metadata(first, more="ä")
        found = compute.fetch_image_metadata(first)
        self.assertEqual({"key": "first", "more": "ä"}, found.metadata)
        compute.delete_image_metadata(first, ["key"])
        compute.delete_image(self.ids["second"])
        with self.assertRaises(openstack.exceptions.NotFoundException):
            compute.get_image(self.ids["second"])
        in_glance = self.at_glance("amber").done(
            "GET", f"/v2/images/{first.id}"
        )
        self.assertEqual("ä", in_glance["more"])
        self.assertNotIn("key", in_glance)
        self.assertEqual(FLAVORS, sorted(f.name for f in compute.flavors()))
        self.assertEqual([], list(compute.servers()))
        self.assertEqual([], list(compute.keypairs()))

    def test_an_old_novaclient(self):
        first = self.ids["first"]
        calls = (
            ["list", [], {}],
            ["get", [first], {}],
            ["find", [], {"name": "second"}],
            ["set_meta", [first, {"more": "ж"}], {}],
            ["delete_meta", [first, ["key"]], {}],
            ["get", [first], {}],
            ["delete", [first], {}],
            ["get", [first], {}],
        )
        out = self.run_program(
            "NOVACLIENT_ENVIRONMENT",
            "python",
            NOVACLIENT_CALLS,
            json.dumps(self.cloud.login("amber")),
            json.dumps(calls),
        )
        listed, got, found, _, _, changed, deleted, gone = json.loads(out)
        self.assertEqual(set(self.ids), {image["name"] for image in listed})
        self.assertEqual({"key": "first"}, got["metadata"])
        self.assertEqual(self.ids["second"], found["id"])
        self.assertEqual({"more": "ж"}, changed["metadata"])
        self.assertEqual([None, "NotFound"], [deleted, gone])

    def test_a_new_novaclient(self):
        out = self.run_program("CLOUD_ENVIRONMENT", "nova", "flavor-list")
        for name in FLAVORS:
            self.assertIn(f" {name} ", out)

    def test_openstackclient(self):
        for kind, names in (
            ("flavor", FLAVORS),
            ("server", []),
            ("keypair", []),
            # These come from Glance, whose endpoint is beside ours.
            ("image", list(self.ids)),
        ):
            out = self.run_program(
                "OPENSTACKCLIENT_ENVIRONMENT",
                *("openstack", kind, "list", "-f", "json"),
            )
            self.assertEqual(
                sorted(names), sorted(each["Name"] for each in json.loads(out))
            )
