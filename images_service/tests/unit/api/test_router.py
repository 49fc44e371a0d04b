# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service import exception
from images_service.api import router
from images_service.api import routes


class TestRouter(unittest.TestCase):
    router = router.Router()

    def match(self, path):
        return self.router.match(path.encode().decode("latin-1"))

    def test_every_row_with_and_without_a_project(self):
        arguments = {"image_id": "i", "key": "k"}
        for route in routes.ROUTES:
            path = route.path.format(**arguments)
            wanted = {k: v for k, v in arguments.items() if k in route.path}
            for version in ("v2", "v2.1"):
                with self.subTest(route=route.action, version=version):
                    match = self.match(f"/{version}{path}")
                    self.assertEqual(version, match.version)
                    self.assertIs(route, match.methods[route.method])
                    self.assertEqual(wanted, match.arguments)
                    match = self.match(f"/{version}/p{path}")
                    self.assertIs(route, match.methods[route.method])
                    self.assertEqual(
                        {**wanted, "project_id": "p"}, match.arguments
                    )

    def test_a_path_that_is_asked_for_again(self):
        path = "/v2.1/p/images/i"
        first = self.match(path)
        self.assertIs(first, self.match(path))
        self.assertIsNot(first, self.match("/v2.1/p/images/j"))
        # Long ones would fill the memory.
        path += "x" * 1024
        self.assertEqual(self.match(path), self.match(path))
        self.assertIsNot(self.match(path), self.match(path))

    def test_version_documents(self):
        for path, version in {
            "": "",
            "/": "",
            "//": "",
            "/v2": "v2",
            "/v2/": "v2",
            "/v2.1": "v2.1",
            "/v2.1//": "v2.1",
            "/v2.1/project/": "v2.1",
            "/v2//project//": "v2",
        }.items():
            with self.subTest(path=path):
                match = self.match(path)
                self.assertEqual(version, match.version)
                self.assertIsNone(match.methods)
                self.assertTrue(self.router.is_document(path))
                self.assertEqual("GET, HEAD, OPTIONS", match.allowed)

    def test_paths_of_actions_are_no_documents(self):
        for route in routes.ROUTES:
            path = route.path.format(image_id="i", key="k")
            self.assertFalse(self.router.is_document(f"/v2.1/p{path}"))

    def test_slashes_in_a_row_count_as_one(self):
        match = self.match("//v2.1///p//images///i////metadata//a b")
        self.assertEqual(
            {"project_id": "p", "image_id": "i", "key": "a b"},
            match.arguments,
        )

    def test_unknown_paths(self):
        for path in (
            "/v2.1/p",
            "/v2.1/images/",
            "/v2.1/p/images/",
            "/v2.1/p/images/detail/",
            "/v2.1/p/images/i/",
            "/v2.1/p/images/i/metadata/",
            "/v2.1/p/images/i/metadata/k/",
            "/v2.1/p/images/i/metadata/k/more",
            "/v2.1/p/images/i/edit",
            "/v2.1/p/images\n",
            "/v2.1/p/images/detail/x",
            "/v2.1\n",
            "\n",
            "/v2.10/",
            "/V2.1/",
            "/v3",
            "/healthcheck/",
            "images",
        ):
            with self.subTest(path=path):
                self.assertFalse(self.router.is_document(path))
                with self.assertRaises(exception.NotFound):
                    self.match(path)

    def test_segments_may_hold_anything(self):
        for key in ("a\n", "a\nb", "{}", "a{b", "%2F", "é", "\0", "..", "+"):
            with self.subTest(key=key):
                match = self.match(f"/v2.1/p/images/i/metadata/{key}")
                self.assertEqual(key, match.arguments["key"])
        match = self.router.match("/v2.1/images/\xff")
        self.assertEqual({"image_id": "\udcff"}, match.arguments)

    def test_allowed(self):
        for path, allowed in {
            "/v2.1/images": "GET, HEAD, OPTIONS",
            "/v2.1/images/i": "DELETE, GET, HEAD, OPTIONS",
            "/v2.1/images/i/metadata": "GET, HEAD, OPTIONS, POST, PUT",
            "/v2.1/images/i/metadata/k": "DELETE, GET, HEAD, OPTIONS, PUT",
        }.items():
            with self.subTest(path=path):
                self.assertEqual(allowed, self.match(path).allowed)
