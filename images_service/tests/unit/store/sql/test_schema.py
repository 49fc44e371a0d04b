# SPDX-License-Identifier: Apache-2.0
import json
import unittest

from images_service.store.sql import schema


class TestDocument(unittest.TestCase):
    def test_round_trip(self):
        items = {"a": "1", "A": "", " a ": '"\\\n', "é": "\U0001f600"}
        self.assertEqual(items, json.loads(schema.document(items)))
