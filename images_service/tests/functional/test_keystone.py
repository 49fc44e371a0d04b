# SPDX-License-Identifier: Apache-2.0
"""The keystone strategy, in front of a stub that validates tokens."""

from images_service import app
from images_service.tests import base
from images_service.tests import keystone


class TestKeystone(base.TestCase):
    request = base.ApiTestCase.request
    assertFault = base.ApiTestCase.assertFault

    def setUp(self):
        super().setUp()
        self.keystone = keystone.Keystone(
            {
                "member": keystone.token_document(
                    "alice", base.OWNER, ["member"], image="http://glance/v2/"
                ),
                "admin": keystone.token_document(
                    "root", base.ADMIN, ["admin"]
                ),
                "unscoped": keystone.token_document("alice", None, []),
                "service": keystone.token_document(
                    "nova", "services", ["service"]
                ),
            }
        )
        self.keystone.start()
        self.stopped = False
        self.addCleanup(self.stop_keystone)
        self.conf = self.make_conf(
            api={"auth_strategy": "keystone"},
            keystone_authtoken=self.keystone.options(),
        )
        self.store = self.make_store(self.conf)
        self.app = app.create(self.conf, self.store)

    def stop_keystone(self):
        if not self.stopped:
            self.stopped = True
            self.keystone.stop()

    def get(self, path, token=None, **headers):
        if token is not None:
            headers["X_Auth_Token"] = token
        return self.request("GET", path, None, **headers)

    def test_a_good_token(self):
        response = self.get("/images", "member")
        self.assertEqual(200, response.status_int)
        self.assertEqual(7, len(response.json["images"]))
        response = self.get("/images", "admin")
        self.assertEqual(8, len(response.json["images"]))

    def test_the_image_endpoint_of_its_catalog(self):
        image_id = base.IDS["own"]
        response = self.get(f"/images/{image_id}", "member")
        self.assertEqual(
            f"http://glance/images/{image_id}",
            response.json["image"]["links"][2]["href"],
        )
        response = self.get(f"/images/{image_id}", "admin")
        self.assertEqual(
            f"http://localhost/images/{image_id}",
            response.json["image"]["links"][2]["href"],
        )

    def test_no_token_and_bad_ones(self):
        for token in (None, "bad", "\xfc", "x" * 300):
            with self.subTest(token=token):
                response = self.get("/images", token)
                self.assertFault(response, 401, "unauthorized")
                self.assertEqual(
                    f'Keystone uri="{self.keystone.url}"',
                    response.headers["WWW-Authenticate"],
                )

    def test_forged_identity_headers(self):
        forged = {
            "X_Identity_Status": "Confirmed",
            "X_Project_Id": base.OTHER,
            "X_User_Id": "mallory",
            "X_Roles": "admin",
        }
        self.assertFault(self.get("/images", **forged), 401, "unauthorized")
        response = self.get("/images", "member", **forged)
        self.assertEqual(7, len(response.json["images"]))

    def test_service_tokens(self):
        response = self.get("/images", "member", X_Service_Token="service")
        self.assertEqual(200, response.status_int)
        for token in ("bad", "member"):
            response = self.get("/images", "member", X_Service_Token=token)
            self.assertFault(response, 401, "unauthorized")

    def test_a_token_without_a_project(self):
        response = self.get("/images", "unscoped")
        self.assertFault(response, 403, "forbidden")
        response = self.get(f"/{base.OWNER}/images", "unscoped")
        self.assertFault(response, 400, "badRequest")

    def test_what_wants_no_token(self):
        self.assertEqual(200, self.get("/").status_int)
        self.assertFault(self.get("/v9/x"), 404, "itemNotFound")

    def test_a_catalog_that_lacks_keystone_itself(self):
        self.keystone.catalog = dict
        with self.assertLogs("images_service", "ERROR") as logs:
            response = self.get("/images", "member")
        self.assertFault(response, 503, "serviceUnavailable")
        self.assertIn("Retry-After", response.headers)
        self.assertIn("The service catalog is empty", logs.output[0])

    def test_keystone_is_not_there(self):
        self.stop_keystone()
        response = self.get("/images", "member")
        self.assertFault(response, 503, "serviceUnavailable")
        self.assertIn("Retry-After", response.headers)
        self.assertEqual(200, self.get("/").status_int)
