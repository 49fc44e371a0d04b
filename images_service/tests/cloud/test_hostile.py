# SPDX-License-Identifier: Apache-2.0
"""What tenants may store in Glance hides no image."""

import datetime
import json
import uuid

from images_service.tests.cloud import cloud

# Names that mean something elsewhere: in files of images, and in Glance.
NAMES = ("members", "properties", "is_public")
# Glance refuses these today, and shows those of old.
OLD_NAMES = ("deleted_at", "stores")
# What no column of MariaDB's TEXT holds.
LONG = 70_000


class TestHostileTenants(cloud.CloudTestCase):
    def setUp(self):
        super().setUp()
        self.tenant = self.at_glance("amber")

    def hostile(self):
        """Create images; return the id of each, by what it is about."""
        found = {
            name: self.tenant.create(name=name, **{name: "x"}, usual="1")
            for name in NAMES
        }
        now = datetime.datetime(2026, 1, 1)
        for name in OLD_NAMES:
            found[name] = self.tenant.create(name=name)
            row = {
                "image_id": found[name],
                "name": name,
                "value": "x",
                "created_at": now,
                "updated_at": now,
                "deleted": 0,
            }
            self.glance.insert("image_properties", [row])
            response = self.tenant.set_property(found[name], "usual", "1")
            self.assertEqual(200, response.status_code, response.text)
        found["U+0000"] = self.tenant.create(nul="a\0b", usual="1")
        found["long"] = self.tenant.create(long="x" * LONG, usual="1")
        found["upper case"] = self.tenant.create(
            id=str(uuid.uuid4()).upper(), usual="1"
        )
        # The store holds all of the first, and what fits of the second.
        for what, length in (("many", 30_000), ("too many", 65_535)):
            full = {
                f"{number:03d}".ljust(255, "k"): "v" * length
                for number in range(127)
            }
            found[what] = self.tenant.create(usual="1", **full)
        return found

    def assertShown(self, found):
        api = self.at_api("amber")
        for what, image_id in found.items():
            with self.subTest(what=what):
                image = api.done("GET", f"/v2.1/images/{image_id}")["image"]
                self.assertEqual("1", image["metadata"]["usual"])
                if what in (*NAMES, *OLD_NAMES):
                    self.assertEqual("x", image["metadata"][what])
        self.assertEqual(
            128,
            len(json.loads(self.rows()[found["many"].lower()].metadata)),
        )

    def test_in_a_sweep(self):
        found = self.hostile()
        printed = self.sync()
        self.assertIn(f"{len(found)} created", printed)
        self.assertEqual(
            {image_id.lower() for image_id in found.values()},
            set(self.rows()),
        )
        self.assertShown(found)
        printed = self.sync()
        self.assertIn(f"0 changed, {len(found)} same", printed)

    def test_when_they_are_asked_for(self):
        self.assertShown(self.hostile())

    def test_by_notifications(self):
        self.start_mirror(mirror={"poll_interval": 60, "sweep_interval": 900})
        first = self.tenant.create(name="first")
        self.assertTrue(self.wait_for(lambda: first in self.rows(), 30))
        found = self.hostile()
        expected = {image_id.lower() for image_id in found.values()}
        self.assertTrue(
            self.wait_for(lambda: expected <= self.rows().keys(), 10),
            expected - self.rows().keys(),
        )
        self.assertShown(found)
