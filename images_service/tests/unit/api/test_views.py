# SPDX-License-Identifier: Apache-2.0
import datetime
import json
import unittest

from images_service import model
from images_service.api import views

LINKS = views.Links("http://h/v2.1/p", "http://h/p", "http://glance")


def image(metadata=None, **attributes):
    values = {
        "id": "i",
        "name": "n",
        "status": "active",
        "visibility": "private",
        "owner": "p",
        "size": 5,
        "min_ram": 1,
        "min_disk": 2,
        "protected": False,
        "os_hidden": False,
        "created_at": datetime.datetime(2026, 3, 1, 10, 0, 0, 999999),
        "updated_at": datetime.datetime(2026, 3, 2),
        "deleted_at": None,
        "generation": 1,
        "metadata": json.dumps(metadata or {}),
    }
    return model.Image(**{**values, **attributes})


def detail(*args, with_size=True, **attributes):
    shown = [model.Detail.of(image(*args, **attributes))]
    (view,) = views.details(shown, LINKS, with_size=with_size)
    return json.loads(views.dump(view))


class TestDetail(unittest.TestCase):
    maxDiff = None

    def test_members_and_their_order(self):
        view = detail(
            {"a": "b", "instance_uuid": "s", "auto_disk_config": "yes"}
        )
        self.assertEqual(
            [
                "id",
                "name",
                "minRam",
                "minDisk",
                "metadata",
                "created",
                "updated",
                "status",
                "progress",
                "OS-EXT-IMG-SIZE:size",
                "links",
                "server",
                "OS-DCF:diskConfig",
            ],
            list(view),
        )

    def test_values(self):
        self.assertEqual(
            {
                "id": "i",
                "name": "n",
                "minRam": 1,
                "minDisk": 2,
                "metadata": {"a": "b"},
                "created": "2026-03-01T10:00:00Z",
                "updated": "2026-03-02T00:00:00Z",
                "status": "ACTIVE",
                "progress": 100,
                "OS-EXT-IMG-SIZE:size": 5,
                "links": [
                    {"rel": "self", "href": "http://h/v2.1/p/images/i"},
                    {"rel": "bookmark", "href": "http://h/p/images/i"},
                    {
                        "rel": "alternate",
                        "type": "application/vnd.openstack.image",
                        "href": "http://glance/images/i",
                    },
                ],
            },
            detail({"a": "b"}),
        )

    def test_statuses(self):
        for stored, shown in {
            "active": ("ACTIVE", 100),
            "queued": ("SAVING", 25),
            "saving": ("SAVING", 50),
            "deleted": ("DELETED", 0),
            "pending_delete": ("DELETED", 0),
            "killed": ("ERROR", 0),
            "importing": ("UNKNOWN", 0),
            "uploading": ("UNKNOWN", 0),
            "deactivated": ("UNKNOWN", 0),
            "whatever": ("UNKNOWN", 0),
        }.items():
            with self.subTest(status=stored):
                view = detail(status=stored)
                self.assertEqual(shown, (view["status"], view["progress"]))

    def test_size(self):
        self.assertEqual(0, detail(size=None)["OS-EXT-IMG-SIZE:size"])
        self.assertNotIn("OS-EXT-IMG-SIZE:size", detail(with_size=False))

    def test_disk_config(self):
        self.assertNotIn("OS-DCF:diskConfig", detail({"a": "b"}))
        for value, shown in {
            "True": "AUTO",
            "1": "AUTO",
            "on": "AUTO",
            "false": "MANUAL",
            "": "MANUAL",
            "frob": "MANUAL",
        }.items():
            with self.subTest(value=value):
                view = detail({"auto_disk_config": value})
                self.assertEqual(shown, view["OS-DCF:diskConfig"])

    def test_server(self):
        view = detail({"instance_uuid": "s"})
        self.assertEqual(
            {
                "id": "s",
                "links": [
                    {"rel": "self", "href": "http://h/v2.1/p/servers/s"},
                    {"rel": "bookmark", "href": "http://h/p/servers/s"},
                ],
            },
            view["server"],
        )

    def test_a_value_that_looks_like_a_key_means_nothing(self):
        view = detail({"a": 'the "instance_uuid"', "b": '"mappings"'})
        self.assertNotIn("server", view)
        self.assertEqual(
            {"a": 'the "instance_uuid"', "b": '"mappings"'}, view["metadata"]
        )


class TestItem(unittest.TestCase):
    def test_decoded(self):
        for value, shown in {
            '[{"device_name": "vda"}]': [{"device_name": "vda"}],
            "5": 5,
            "null": None,
            '"x"': "x",
            "1.10": 1.1,
            "123456789012345678901234567890": 123456789012345678901234567890,
            "not json": "not json",
            "": "",
            "NaN": "NaN",
            "[1,": "[1,",
            "[" * 5000: "[" * 5000,
        }.items():
            for key in ("block_device_mapping", "mappings"):
                with self.subTest(key=key, value=value[:30]):
                    item = views.dump(views.item(key, value))
                    self.assertEqual(shown, json.loads(item))
            self.assertEqual(value, views.item("other", value))

    def test_metadata(self):
        items = {"mappings": "[1]", "a": "[1]"}
        self.assertEqual(
            {"mappings": [1], "a": "[1]"},
            json.loads(views.dump(views.metadata(json.dumps(items)))),
        )
