# SPDX-License-Identifier: Apache-2.0
import inspect
import json
import unittest

from images_service import errors


class TestFaults(unittest.TestCase):
    def test_every_error_has_a_fault(self):
        found = [
            kind
            for _, kind in inspect.getmembers(errors, inspect.isclass)
            if issubclass(kind, errors.Error) and kind is not errors.Error
        ]
        self.assertGreater(len(found), 15)
        for kind in found:
            with self.subTest(kind=kind.__name__):
                self.assertTrue(
                    any(base in errors.FAULTS for base in kind.__mro__)
                )

    def test_the_nearest_class_decides(self):
        self.assertEqual(404, errors.status_of(errors.ImageNotFound()))
        self.assertEqual(403, errors.status_of(errors.QuotaExceeded()))
        self.assertEqual(500, errors.status_of(errors.Error("x")))

    def test_body(self):
        self.assertEqual(
            {"itemNotFound": {"code": 404, "message": "Image not found."}},
            json.loads(errors.body_of(errors.ImageNotFound())),
        )

    def test_lone_surrogates_of_a_url_do_not_break_the_body(self):
        body = errors.body_of(errors.Invalid("no project '\udcff'"))
        self.assertEqual(
            "no project '?'", json.loads(body)["badRequest"]["message"]
        )
