# SPDX-License-Identifier: Apache-2.0
"""A real Glance's answer, imported and shown."""

import json
import os

from oslo_utils import strutils

from images_service import app
from images_service import model
from images_service.glance import records
from images_service.tests import base

# 37 images, as a Glance lists them.
ANSWER = os.path.join(os.path.dirname(__file__), "data", "glance-images.json")

_DECODED = ("block_device_mapping", "mappings")


class TestRealImages(base.RequestTestCase, base.ManageTestCase):
    def test_each_show_agrees_with_the_file(self):
        store = self.make_store(self.conf, images=[])
        status, out, _ = self.manage("image", "import", ANSWER)
        with open(ANSWER, encoding="utf-8") as file:
            listed = json.load(file)["images"]
        self.assertEqual(0, status)
        self.assertEqual(f"{len(listed)} imported, 0 refused\n", out)
        self.app = app.create(self.conf, store)
        for record in listed:
            with self.subTest(id=record["id"], name=record["name"]):
                response = self.request(
                    "GET",
                    f"/images/{record['id']}",
                    None,
                    X_Auth_Token=f"u:{record['owner']}",
                )
                self.assertEqual(200, response.status_int)
                self.assertAgrees(record, response.json["image"])

    def assertAgrees(self, record, image):
        metadata = {
            key: "" if value is None else value
            for key, value in record.items()
            if key not in records._ATTRIBUTES and key not in records._NOT_KEPT
        }
        for key in _DECODED:
            if key in metadata:
                metadata[key] = json.loads(metadata[key])
        status, progress = model.STATUSES[record["status"]]
        expected = {
            "id": record["id"],
            "name": record["name"],
            "minRam": record["min_ram"],
            "minDisk": record["min_disk"],
            "metadata": metadata,
            "created": record["created_at"],
            "updated": record["updated_at"],
            "status": status,
            "progress": progress,
            "OS-EXT-IMG-SIZE:size": record["size"] or 0,
        }
        if "auto_disk_config" in record:
            automatic = strutils.bool_from_string(record["auto_disk_config"])
            expected["OS-DCF:diskConfig"] = "AUTO" if automatic else "MANUAL"
        links = image.pop("links")
        server = image.pop("server", None)
        self.assertEqual(expected, image)
        self.assertEqual(record.get("instance_uuid"), server and server["id"])
        self.assertEqual(3, len(links))
