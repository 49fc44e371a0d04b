# SPDX-License-Identifier: Apache-2.0
import inspect
import json
import unittest

from images_service import exception


class TestFaults(unittest.TestCase):
    def test_every_error_has_a_fault(self):
        found = [
            kind
            for _, kind in inspect.getmembers(exception, inspect.isclass)
            if issubclass(kind, exception.Error)
            and kind is not exception.Error
        ]
        self.assertGreater(len(found), 15)
        for kind in found:
            with self.subTest(kind=kind.__name__):
                self.assertTrue(
                    any(base in exception.FAULTS for base in kind.__mro__)
                )

    def test_the_nearest_class_decides(self):
        self.assertEqual(404, exception.status_of(exception.ImageNotFound()))
        self.assertEqual(403, exception.status_of(exception.QuotaExceeded()))
        self.assertEqual(500, exception.status_of(exception.Error("x")))

    def test_body(self):
        self.assertEqual(
            {"itemNotFound": {"code": 404, "message": "Image not found."}},
            json.loads(exception.answer(exception.ImageNotFound())[2]),
        )

    def test_lone_surrogates_of_a_url_do_not_break_the_body(self):
        _, _, body = exception.answer(exception.Invalid("no project '\udcff'"))
        self.assertEqual(
            "no project '?'", json.loads(body)["badRequest"]["message"]
        )

    def test_usual_headers(self):
        status, headers, body = exception.answer(exception.StoreUnavailable())
        self.assertEqual(503, status)
        self.assertEqual(
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Retry-After", "5"),
            ],
            headers,
        )
        _, headers, _ = exception.answer(exception.NotFound())
        self.assertNotIn("Retry-After", dict(headers))

    def test_headers_of_the_error_win(self):
        error = exception.StoreUnavailable(headers=[("retry-after", "60")])
        _, headers, _ = exception.answer(error)
        found = [value for k, value in headers if k.lower() == "retry-after"]
        self.assertEqual(["60"], found)
        _, headers, _ = exception.answer(
            exception.MethodNotAllowed(headers=[("Allow", "GET, HEAD")])
        )
        self.assertEqual("GET, HEAD", dict(headers)["Allow"])

    def test_a_status_that_no_error_has(self):
        _, body = exception.fault(431, "Too long")
        self.assertEqual(
            {"computeFault": {"code": 431, "message": "Too long"}},
            json.loads(body),
        )
