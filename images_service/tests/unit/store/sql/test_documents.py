# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service import errors
from images_service import model
from images_service.store.sql import documents


class TestDocuments(unittest.TestCase):
    def test_round_trip(self):
        items = {"a": "1", "A": "", " a ": '"\\\n', "é": "\U0001f600"}
        self.assertEqual(items, documents.load(documents.dump(items)))


class TestChanged(unittest.TestCase):
    before = {"a": "1", "b": "2"}

    def changed(self, quota=3, **change):
        return documents.changed(
            self.before, model.MetadataChange(**change), quota
        )

    def test_merge(self):
        self.assertEqual(
            {"a": "1", "b": "3", "c": "4"},
            self.changed(items={"b": "3", "c": "4"}),
        )

    def test_replace(self):
        self.assertEqual(
            {"c": "4"}, self.changed(items={"c": "4"}, replace=True)
        )
        self.assertEqual({}, self.changed(replace=True))

    def test_remove(self):
        self.assertEqual({"b": "2"}, self.changed(remove="a"))
        with self.assertRaises(errors.MetadataKeyNotFound):
            self.changed(remove="A")

    def test_quota(self):
        self.changed(items={"b": "", "c": ""}, quota=3)
        for change in (
            {"items": {"c": "", "d": ""}},
            {"items": dict.fromkeys("wxyz", ""), "replace": True},
        ):
            with self.assertRaises(errors.QuotaExceeded):
                self.changed(**change)
        # What is there already counts, too, unless it shrinks.
        with self.assertRaises(errors.QuotaExceeded):
            self.changed(quota=1)
        self.assertEqual({"b": "2"}, self.changed(remove="a", quota=0))
