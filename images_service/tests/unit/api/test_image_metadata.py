# SPDX-License-Identifier: Apache-2.0
"""Changes of an image's metadata, and changes that are refused."""

import json

from images_service.glance import records
from images_service.tests import base

PATH = f"/images/{base.IDS['own']}/metadata"


class TestChanges(base.ApiTestCase):
    options = {"quota": {"metadata_items": 3}}

    def setUp(self):
        super().setUp()
        # More than the quota of some tests allows: an import has none.
        self.store.add(
            [
                records.new_image(
                    {"id": base.UNKNOWN, "owner": base.OWNER, **items},
                    base.NOW,
                )
                for items in [{"a": "1", "b": "2", "c": "3", "d": "4"}]
            ]
        )
        self.full = f"/images/{base.UNKNOWN}/metadata"
        self.change("PUT", PATH, {"metadata": {"a": "1", "b": "2"}})

    def change(self, method, path, body=None, status=200):
        response = self.request(method, path, body=body)
        self.assertEqual(status, response.status_int, response.body)
        return response

    def items(self, path=PATH):
        return json.loads(self.request("GET", path).body)["metadata"]

    def test_merge(self):
        self.change("POST", PATH, {"metadata": {"b": "3", "c": "4"}})
        self.assertEqual({"a": "1", "b": "3", "c": "4"}, self.items())

    def test_replace(self):
        for items in ({"c": "4"}, {}):
            self.change("PUT", PATH, {"metadata": items})
            self.assertEqual(items, self.items())

    def test_remove(self):
        self.change("DELETE", f"{PATH}/A", status=404)
        self.change("DELETE", f"{PATH}/a", status=204)
        self.assertEqual({"b": "2"}, self.items())

    def test_quota(self):
        self.change("POST", PATH, {"metadata": {"b": "", "c": ""}})
        for method, path, body in (
            ("POST", PATH, {"metadata": {"d": "", "e": ""}}),
            ("PUT", PATH, {"metadata": dict.fromkeys("wxyz", "")}),
            ("PUT", f"{PATH}/z", {"meta": {"z": ""}}),
        ):
            before = self.items()
            response = self.change(method, path, body, 403)
            self.assertFault(
                response, 403, "forbidden", "Image metadata limit exceeded"
            )
            self.assertEqual(before, self.items())

    def test_an_image_with_more_than_the_quota_may_only_shrink(self):
        self.change("POST", self.full, {"metadata": {"a": "5"}}, 403)
        self.change("DELETE", f"{self.full}/a", status=204)
        self.assertEqual({"b": "2", "c": "3", "d": "4"}, self.items(self.full))
