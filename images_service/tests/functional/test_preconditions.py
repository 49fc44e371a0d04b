# SPDX-License-Identifier: Apache-2.0
from images_service.tests import base


class TestPreconditions(base.ApiTestCase):
    def setUp(self):
        super().setUp()
        self.image = f"/images/{base.IDS['own']}"
        self.items = f"{self.image}/metadata"
        self.etag = self.request("GET", self.image).headers["ETag"]

    def change(self):
        body = {"metadata": {"changed": "yes"}}
        response = self.request("POST", self.items, body=body)
        self.assertEqual(200, response.status_int)

    def test_one_tag_for_one_state(self):
        for path in (self.items, f"{self.items}/foo"):
            self.assertEqual(
                self.etag, self.request("GET", path).headers["ETag"]
            )
        self.change()
        self.assertNotEqual(
            self.etag, self.request("GET", self.image).headers["ETag"]
        )

    def test_not_modified(self):
        for value in (self.etag, f'"x", {self.etag}', f"W/{self.etag}", "*"):
            for path in (self.image, self.items, f"{self.items}/foo"):
                with self.subTest(value=value, path=path):
                    response = self.request("GET", path, If_None_Match=value)
                    self.assertEqual(304, response.status_int)
                    self.assertEqual(b"", response.body)
                    self.assertEqual(self.etag, response.headers["ETag"])
                    self.assertNotIn("Content-Type", response.headers)
        self.change()
        response = self.request("GET", self.image, If_None_Match=self.etag)
        self.assertEqual(200, response.status_int)

    def test_writes_of_what_has_changed_since(self):
        self.change()
        for method, path, body in (
            ("POST", self.items, {"metadata": {"a": "b"}}),
            ("PUT", self.items, {"metadata": {"a": "b"}}),
            ("PUT", f"{self.items}/foo", {"meta": {"foo": "b"}}),
            ("DELETE", f"{self.items}/foo", None),
            ("DELETE", self.image, None),
        ):
            for value in (self.etag, '"x"', 'W/"2"', "garbage"):
                with self.subTest(method=method, path=path, value=value):
                    response = self.request(
                        method, path, body=body, If_Match=value
                    )
                    self.assertFault(response, 412, "computeFault")
        self.assertEqual(
            {"foo": "bar", "changed": "yes"},
            self.request("GET", self.items).json["metadata"],
        )

    def test_writes_of_what_has_not(self):
        for value in (self.etag, f'"x", {self.etag}', "*"):
            self.setUp()
            with self.subTest(value=value):
                response = self.request(
                    "PUT",
                    f"{self.items}/foo",
                    body={"meta": {"foo": "b"}},
                    If_Match=value,
                )
                self.assertEqual(200, response.status_int)

    def test_who_may_not_write_is_told_that_first(self):
        path = f"/images/{base.IDS['public']}"
        self.assertFault(
            self.request("DELETE", path, If_Match='"x"'), 403, "forbidden"
        )
        path = f"/images/{base.UNKNOWN}"
        self.assertFault(
            self.request("DELETE", path, If_Match='"x"'), 404, "itemNotFound"
        )
