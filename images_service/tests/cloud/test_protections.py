# SPDX-License-Identifier: Apache-2.0
"""Properties that Glance protects, and tokens that it must not get."""

from images_service.tests.cloud import cloud


class TestProtections(cloud.CloudTestCase):
    is_recorded = True
    is_protected = True

    def setUp(self):
        super().setUp()
        self.image_id = self.at_glance("amber").create(name="image", free="1")
        for key in ("fixed_key", "secret_key"):
            response = self.at_glance().set_property(self.image_id, key, "x")
            self.assertEqual(200, response.status_code, response.text)
        self.path = f"/v2.1/images/{self.image_id}"
        self.api = self.at_api("amber")

    def metadata(self, user="amber"):
        found = self.at_api(user).done("GET", f"{self.path}/metadata")
        return found["metadata"]

    def in_glance(self):
        image = self.at_glance().done("GET", f"/v2/images/{self.image_id}")
        return {
            key: value
            for key, value in image.items()
            if key.startswith(("free", "fixed_", "secret_"))
        }

    def test_a_member_reads_what_it_may(self):
        seen = {"free": "1", "fixed_key": "x"}
        for user in ("amber", "reader"):
            self.assertEqual(seen, self.metadata(user))
            api = self.at_api(user)
            image = api.done("GET", self.path)["image"]
            self.assertEqual(seen, image["metadata"])
            (image,) = api.done("GET", "/v2.1/images/detail")["images"]
            self.assertEqual(seen, image["metadata"])
            response = api.request("GET", f"{self.path}/metadata/secret_key")
            self.assertEqual(404, response.status_code)
            # A filter tells nothing either.
            for value in ("x", "y"):
                response = api.done(
                    "GET", f"/v2.1/images?property-secret_key={value}"
                )
                self.assertEqual([], response["images"])
        self.assertEqual({**seen, "secret_key": "x"}, self.metadata("admin"))

    def test_a_member_does_not_write_what_it_may_not(self):
        before = self.in_glance()
        for method, path, body in (
            ("PUT", "/fixed_key", {"meta": {"fixed_key": "y"}}),
            ("PUT", "/fixed_new", {"meta": {"fixed_new": "y"}}),
            ("PUT", "/secret_new", {"meta": {"secret_new": "y"}}),
            ("PUT", "/secret_key", {"meta": {"secret_key": "y"}}),
            ("POST", "", {"metadata": {"fixed_key": "y", "free": "2"}}),
            ("DELETE", "/fixed_key", None),
            # This would remove what it reads and may not delete.
            ("PUT", "", {"metadata": {"free": "2"}}),
        ):
            with self.subTest(method=method, path=path):
                response = self.api.request(
                    method, f"{self.path}/metadata{path}", body
                )
                self.assertEqual(403, response.status_code, response.text)
                self.assertEqual(before, self.in_glance())
        # It can't delete what it can't see.
        response = self.api.request(
            "DELETE", f"{self.path}/metadata/secret_key"
        )
        self.assertIn(response.status_code, (403, 404))
        self.assertEqual(before, self.in_glance())

    def test_the_store_has_what_a_members_change_leaves(self):
        body = {"metadata": {"free": "2", "fixed_key": "x"}}
        self.api.done("PUT", f"{self.path}/metadata", body)
        self.assertEqual(body["metadata"], self.metadata())
        # Glance 33 loses what a member doesn't see when the member changes
        # anything; so the store doesn't have it either.
        self.assertEqual(self.in_glance(), self.metadata("admin"))
        self.assertEqualToGlance()

    def test_no_service_token_arrives_at_writes(self):
        service = self.cloud.session("images").get_token()
        reader = self.at_api("reader")
        for api, expected in ((reader, 403), (self.api, 200)):
            response = api.request(
                "PUT",
                f"{self.path}/metadata/free",
                {"meta": {"free": "3"}},
                X_Service_Token=service,
            )
            self.assertEqual(expected, response.status_code, response.text)
        for api, expected in ((reader, 403), (self.api, 204)):
            response = api.request(
                "DELETE", self.path, X_Service_Token=service
            )
            self.assertEqual(expected, response.status_code, response.text)
        writes = self.recorder.writes()
        self.assertIn("DELETE", [request.method for request in writes])
        self.assertIn("PATCH", [request.method for request in writes])
        callers = {
            self.cloud.session(user).get_token()
            for user in ("amber", "reader")
        }
        for request in writes:
            self.assertNotIn("X-Service-Token", request.headers)
            self.assertIn(request.headers["X-Auth-Token"], callers)
