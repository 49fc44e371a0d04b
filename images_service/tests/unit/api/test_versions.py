# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service.api import versions


class TestVersions(unittest.TestCase):
    def test_the_maximum_is_announced(self):
        documents = versions.Versions("2.99")
        legacy, current = documents.root("http://h")["versions"]
        self.assertEqual(("v2.0", ""), (legacy["id"], legacy["version"]))
        self.assertEqual(("v2.1", "2.99"), (current["id"], current["version"]))
        document = documents.current("http://h")["version"]
        self.assertEqual("2.99", document["version"])
        self.assertEqual("http://h/v2.1/", document["links"][0]["href"])

    def test_of_path(self):
        documents = versions.Versions("2.38")
        self.assertIn("versions", documents.of_path("")("http://h"))
        for path, version in (("v2", "v2.0"), ("v2.1", "v2.1")):
            document = documents.of_path(path)("http://h")
            self.assertEqual(version, document["version"]["id"])
