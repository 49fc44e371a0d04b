# SPDX-License-Identifier: Apache-2.0
"""Clients from the package index, as they are, through Keystone's catalog."""

import importlib
import json
import os
import subprocess
import unittest

from images_service.tests import base
from images_service.tests.identity import cloud

# What alice's lists have, newest first.
LISTED = [
    *("snapshot", "shared-accepted", "protected", "own-community"),
    *("own-shared", "own", "public"),
]
OWN = base.IDS["own"]


class TestOpenStackSDK(cloud.CloudTestCase):
    def setUp(self):
        super().setUp()
        # Where the tests are only listed, it need not be installed.
        openstack = importlib.import_module("openstack")
        connection = openstack.connection.Connection(
            session=self.session("alice"), region_name=cloud.REGION
        )
        self.addCleanup(connection.close)
        self.compute = connection.compute
        self.errors = openstack.exceptions

    def test_images(self):
        found = list(self.compute.images())
        self.assertEqual(LISTED, [image.name for image in found])
        self.assertEqual(
            [base.IDS[name] for name in LISTED], [image.id for image in found]
        )
        image = next(image for image in found if image.name == "own")
        self.assertEqual(
            ("ACTIVE", 512, 10, 1024, 100, {"foo": "bar"}),
            (
                image.status,
                image.min_ram,
                image.min_disk,
                image.size,
                image.progress,
                image.metadata,
            ),
        )
        self.assertEqual("2026-01-02T00:00:00Z", image.created_at)
        self.assertEqual(
            f"{self.api.url}/v2.1/{self.projects['owners']}/images/{OWN}",
            image.links[0]["href"],
        )

    def test_images_without_details(self):
        found = list(self.compute.images(details=False))
        self.assertEqual(LISTED, [image.name for image in found])
        self.assertEqual({None}, {image.status for image in found})

    def test_pages(self):
        for limit in (1, 2, 3, 7, 8):
            for details in (False, True):
                found = self.compute.images(details=details, limit=limit)
                self.assertEqual(LISTED, [image.name for image in found])
        first = list(self.compute.images(limit=2, paginated=False))
        self.assertEqual(LISTED[:2], [image.name for image in first])
        rest = list(self.compute.images(marker=first[-1].id))
        self.assertEqual(LISTED[2:], [image.name for image in rest])

    def test_filters(self):
        for expected, query in (
            (["own"], {"name": "own"}),
            (["own"], {"min_ram": 512, "min_disk": 10}),
            (["snapshot"], {"type": "snapshot"}),
            ([], {"status": "SAVING"}),
            (LISTED, {"status": "ACTIVE"}),
        ):
            found = self.compute.images(**query)
            self.assertEqual(expected, [image.name for image in found])

    def test_find_and_get(self):
        for image in (
            self.compute.find_image("own"),
            self.compute.find_image(OWN),
            self.compute.get_image(OWN),
        ):
            self.assertEqual(("own", OWN), (image.name, image.id))
        self.assertEqual(1024, image.size)
        self.assertIsNone(self.compute.find_image("others-private"))
        with self.assertRaises(self.errors.NotFoundException):
            self.compute.get_image(base.IDS["others-private"])

    def test_metadata(self):
        self.compute.set_image_metadata(OWN, foo="new", more="ä 🐧")
        found = self.compute.fetch_image_metadata(OWN)
        self.assertEqual({"foo": "new", "more": "ä 🐧"}, found.metadata)
        self.compute.delete_image_metadata(OWN, ["foo"])
        found = self.compute.fetch_image_metadata(OWN)
        self.assertEqual({"more": "ä 🐧"}, found.metadata)
        with self.assertRaises(self.errors.ForbiddenException):
            self.compute.set_image_metadata(base.IDS["public"], a="b")

    def test_delete(self):
        for _ in range(2):
            self.compute.delete_image(OWN)
        with self.assertRaises(self.errors.NotFoundException):
            self.compute.get_image(OWN)
        with self.assertRaises(self.errors.NotFoundException):
            self.compute.delete_image(OWN, ignore_missing=False)
        with self.assertRaises(self.errors.ForbiddenException):
            self.compute.delete_image(base.IDS["protected"])
        found = [image.name for image in self.compute.images()]
        self.assertEqual([name for name in LISTED if name != "own"], found)


class TestNovaclient(cloud.CloudTestCase):
    """The last release with all of these calls, in its own environment."""

    def setUp(self):
        super().setUp()
        environment = os.environ.get("NOVACLIENT_ENVIRONMENT")
        if environment is None:
            raise unittest.SkipTest("tox -e functional-keystone names one")
        self.programs = os.path.join(environment, "bin")

    def run_program(self, *args, **environ):
        done = subprocess.run(
            args,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], **environ},
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def calls(self, *calls):
        """Call ``client.images``, each a method's name and arguments."""
        auth = {
            "auth_url": self.keystone.auth_url,
            "username": "alice",
            "password": cloud.PASSWORD,
            "user_domain_id": "default",
            "project_name": "owners",
            "project_domain_id": "default",
        }
        script = os.path.join(os.path.dirname(__file__), "novaclient_calls.py")
        out = self.run_program(
            f"{self.programs}/python",
            script,
            json.dumps(auth),
            json.dumps([[name, args, named] for name, args, named in calls]),
        )
        return json.loads(out)

    def test_lists_and_pages(self):
        everything, names, first, rest = self.calls(
            ["list", [], {}],
            ["list", [], {"detailed": False}],
            ["list", [], {"limit": 3}],
            ["list", [], {"marker": base.IDS[LISTED[2]]}],
        )
        self.assertEqual(LISTED, [image["name"] for image in everything])
        self.assertEqual(LISTED, [image["name"] for image in names])
        self.assertEqual(LISTED[:3], [image["name"] for image in first])
        self.assertEqual(LISTED[3:], [image["name"] for image in rest])
        self.assertNotIn("status", names[0])
        own = everything[LISTED.index("own")]
        self.assertEqual(
            (OWN, "ACTIVE", 512, 10, 1024, {"foo": "bar"}),
            (
                own["id"],
                own["status"],
                own["minRam"],
                own["minDisk"],
                own["OS-EXT-IMG-SIZE:size"],
                own["metadata"],
            ),
        )

    def test_get_and_find(self):
        got, found, missing, hidden = self.calls(
            ["get", [OWN], {}],
            ["find", [], {"name": "own"}],
            ["find", [], {"name": "none"}],
            ["get", [base.IDS["others-private"]], {}],
        )
        self.assertEqual("own", got["name"])
        self.assertEqual(OWN, found["id"])
        self.assertEqual(["NotFound"] * 2, [missing, hidden])

    def test_metadata_and_delete(self):
        _, after, _, kept, refused, deleted, gone, protected = self.calls(
            ["set_meta", [OWN, {"a": "b", "key two": "ж"}], {}],
            ["get", [OWN], {}],
            ["delete_meta", [OWN, ["foo"]], {}],
            ["get", [OWN], {}],
            ["set_meta", [base.IDS["public"], {"a": "b"}], {}],
            ["delete", [OWN], {}],
            ["get", [OWN], {}],
            ["delete", [base.IDS["protected"]], {}],
        )
        added = {"a": "b", "key two": "ж"}
        self.assertEqual({"foo": "bar", **added}, after["metadata"])
        self.assertEqual(added, kept["metadata"])
        self.assertIsNone(deleted)
        self.assertEqual(
            ["Forbidden", "NotFound", "Forbidden"], [refused, gone, protected]
        )

    def test_the_command(self):
        login = {
            "OS_AUTH_URL": self.keystone.auth_url,
            "OS_USERNAME": "alice",
            "OS_PASSWORD": cloud.PASSWORD,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_NAME": "owners",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_COMPUTE_API_VERSION": "2",
            "PYTHONWARNINGS": "ignore",
        }
        # Its other commands look images up in Glance first.
        nova = f"{self.programs}/nova"
        out = self.run_program(nova, "image-list", "--limit", "2", **login)
        for name in LISTED[:2]:
            self.assertIn(base.IDS[name], out)
        self.assertNotIn(base.IDS[LISTED[2]], out)
