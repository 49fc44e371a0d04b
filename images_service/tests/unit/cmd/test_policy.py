# SPDX-License-Identifier: Apache-2.0
import json
import os

from images_service.tests import base

DELETE = "os_compute_api:images:delete"


class TestPolicy(base.ManageTestCase):
    def write(self, text, name="policy.json"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_check(self):
        self.write(json.dumps({DELETE: "role:janitor"}))
        status, out, _ = self.manage("policy", "check")
        self.assertEqual((0, "The policy is good.\n"), (status, out))
        other = self.write('{\n"images:delete": "!"}', "other.json")
        status, _, err = self.manage("policy", "check", other)
        self.assertEqual(1, status)
        self.assertIn(f"{other}:2: rule images:delete is unknown", err)
        self.write("{")
        status, _, err = self.manage("policy", "check")
        self.assertEqual(1, status)
        self.assertIn("policy.json:1: ", err)

    def test_list(self):
        path = self.write(json.dumps({DELETE: "role:janitor"}))
        status, out, _ = self.manage("policy", "list", "-f", "json")
        self.assertEqual(0, status)
        rows = {row["rule"]: row for row in json.loads(out)}
        self.assertEqual(12, len(rows))
        self.assertEqual(
            ("role:janitor", path),
            (rows[DELETE]["in force"], rows[DELETE]["from"]),
        )
        self.assertIn("project_id", rows[DELETE]["default"])
        admin = rows["context_is_admin"]
        self.assertEqual(
            ("role:admin", "default"), (admin["in force"], admin["from"])
        )
