# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service.api import versions


class TestVersions(unittest.TestCase):
    def test_the_maximum_is_announced(self):
        documents = versions.document("", "http://h", "2.99")
        legacy, current = documents["versions"]
        self.assertEqual(("v2.0", ""), (legacy["id"], legacy["version"]))
        self.assertEqual(("v2.1", "2.99"), (current["id"], current["version"]))
        document = versions.document("v2.1", "http://h", "2.99")["version"]
        self.assertEqual("2.99", document["version"])
        self.assertEqual("http://h/v2.1/", document["links"][0]["href"])

    def test_of_path(self):
        self.assertIn("versions", versions.document("", "http://h", "2.38"))
        for path, version in (("v2", "v2.0"), ("v2.1", "v2.1")):
            document = versions.document(path, "http://h", "2.38")
            self.assertEqual(version, document["version"]["id"])
