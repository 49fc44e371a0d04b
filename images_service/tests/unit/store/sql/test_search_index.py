# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service import model
from images_service.glance import records
from images_service.store.sql import search_index
from images_service.store.sql.schema import State
from images_service.tests import base


def new_image(**record):
    return records.new_image(
        {"id": base.UNKNOWN, "owner": "p", **record}, base.NOW
    )


def of(**record):
    new = new_image(**record)
    return search_index.digests(new.image, new.metadata)


def wanted(**query):
    return set(search_index.digests_of(model.ListQuery(limit=1, **query)))


class TestSearchIndex(unittest.TestCase):
    def test_properties_are_told_apart(self):
        pairs = [("a", "b"), ("A", "b"), ("a ", "b"), ("a", "b "), ("ab", "")]
        found = [
            search_index.metadata_digests([(key, value)])
            for key, value in pairs
        ]
        self.assertEqual(len(pairs), len(set.union(*found)))
        for digest in set.union(*found):
            self.assertEqual(16, len(digest))

    def test_a_query_names_what_an_image_has(self):
        image = of(
            name="n", status="queued", min_ram=5, min_disk=6, os="linux"
        )
        found: tuple[dict, ...] = (
            {"name": "n"},
            {"min_ram": 5},
            {"min_disk": 6},
            {"status": "queued"},
            {"status": "saving"},
            {"properties": (("os", "linux"),)},
            {"name": "n", "min_ram": 5, "properties": (("os", "linux"),)},
        )
        for query in found:
            with self.subTest(**query):
                self.assertLessEqual(wanted(**query), image)
        missed: tuple[dict, ...] = (
            {"name": "N"},
            {"min_ram": 6},
            {"min_disk": 5},
            {"status": "active"},
            {"status": ""},
            {"properties": (("os", "Linux"),)},
            {"properties": (("name", "n"),)},
        )
        for query in missed:
            with self.subTest(**query):
                self.assertFalse(wanted(**query) <= image)

    def test_no_name_is_no_term(self):
        self.assertFalse(wanted(name="") <= of())
        self.assertLessEqual(wanted(name=""), of(name=""))

    def test_the_same_filter_twice_is_one_term(self):
        twice = (("a", "b"), ("a", "b"))
        self.assertEqual(1, len(wanted(properties=twice)))

    def test_states(self):
        for record, state in (
            ({}, State.LISTED),
            ({"status": "killed"}, State.KILLED),
            ({"os_hidden": True}, State.HIDDEN),
            ({"os_hidden": True, "status": "killed"}, State.HIDDEN),
            ({"status": "deleted"}, State.DELETED),
            ({"status": "deleted", "os_hidden": True}, State.DELETED_HIDDEN),
            ({"status": "pending_delete"}, State.LISTED),
        ):
            with self.subTest(record=record):
                image = new_image(**record).image
                self.assertEqual(state, search_index.state_of(image))
