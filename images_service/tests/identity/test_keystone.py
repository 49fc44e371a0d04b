# SPDX-License-Identifier: Apache-2.0
"""Real tokens: issued, used, revoked, expired; and Keystone killed."""

import time

from images_service.tests import base
from images_service.tests.identity import cloud
from images_service.tests.servers import processes

LISTED = {
    "owners": [
        *("snapshot", "shared-accepted", "protected", "own-community"),
        *("own-shared", "own", "public"),
    ],
    "others": [
        *("others-private", "community", "shared-pending"),
        *("shared-accepted", "own-shared", "public"),
    ],
}


class TestTokens(cloud.CloudTestCase):
    def names(self, token, path="/images"):
        response = self.get(path, token)
        self.assertEqual(200, response.status_code, response.text)
        return [image["name"] for image in response.json()["images"]]

    def test_each_sees_its_project(self):
        for user in ("alice", "rob", "bob"):
            project, _ = cloud.USERS[user]
            for path in ("/images", f"/{self.projects[project]}/images"):
                found = self.names(self.token(user), path)
                self.assertEqual(LISTED[project], found)

    def test_an_administrator_sees_all_but_what_lists_leave_out(self):
        found = self.names(self.root.get_token())
        left_out = {"community", "own-community", "hidden", "killed", "gone"}
        self.assertEqual(set(base.IDS) - left_out, set(found))

    def test_roles(self):
        image_id = base.IDS["own"]
        url = f"{self.api.url}/v2.1/images/{image_id}/metadata"
        body = {"metadata": {"a": "b"}}
        for user, status in (("rob", 403), ("bob", 404), ("alice", 200)):
            response = self.session(user).request(
                url, "POST", json=body, raise_exc=False
            )
            self.assertEqual(status, response.status_code, response.text)
        self.assertEqual(
            {"metadata": {"foo": "bar", "a": "b"}}, response.json()
        )

    def test_the_image_endpoint_of_the_catalog(self):
        image_id = base.IDS["own"]
        response = self.get(f"/images/{image_id}", self.token("alice"))
        *_, alternate = response.json()["image"]["links"]
        self.assertEqual(
            f"{cloud.GLANCE}/images/{image_id}", alternate["href"]
        )

    def test_tokens_for_no_project(self):
        for scope in ({"unscoped": True}, {"system_scope": "all"}):
            token = self.token(
                "admin", password=processes.Keystone.PASSWORD, **scope
            )
            self.assertFault(self.get("/images", token), 403, "forbidden")
            project = self.projects["owners"]
            response = self.get(f"/{project}/images", token)
            self.assertFault(response, 400, "badRequest")

    def test_another_project_in_the_url(self):
        response = self.get(
            f"/{self.projects['others']}/images", self.token("alice")
        )
        self.assertFault(response, 400, "badRequest")

    def test_nothing_that_is_no_token(self):
        good = self.token("alice")
        for token in (
            None,
            "",
            "x",
            good[:-1],
            good + "x",
            "gAAAAA" + "x" * 90,
        ):
            with self.subTest(token=token):
                response = self.get("/images", token)
                self.assertFault(response, 401, "unauthorized")
                self.assertEqual(
                    f'Keystone uri="{self.keystone.auth_url}"',
                    response.headers["WWW-Authenticate"],
                )

    def test_forged_identity_headers(self):
        forged = {
            "X_Identity_Status": "Confirmed",
            "X_Service_Identity_Status": "Confirmed",
            "X_Project_Id": self.projects["others"],
            "X_Tenant_Id": self.projects["others"],
            "X_User_Id": "bob",
            "X_Roles": "admin",
            "X_Role": "admin",
            "X_Is_Admin_Project": "True",
        }
        self.assertFault(self.get("/images", **forged), 401, "unauthorized")
        response = self.get("/images", "bad", **forged)
        self.assertFault(response, 401, "unauthorized")
        response = self.get("/images", self.token("alice"), **forged)
        self.assertEqual(
            LISTED["owners"], [i["name"] for i in response.json()["images"]]
        )

    def revoke(self, token):
        self.identity(
            "DELETE", "/auth/tokens", headers={"X-Subject-Token": token}
        )

    def test_revoked(self):
        token = self.token("alice")
        self.revoke(token)
        self.assertFault(self.get("/images", token), 401, "unauthorized")

    def test_revoked_after_it_was_used(self):
        token = self.token("alice")
        self.assertEqual(200, self.get("/images", token).status_code)
        self.revoke(token)
        # What Keystone has said of it is believed for a while.
        time.sleep(cloud.CACHE_SECONDS + 1.5)
        self.assertFault(self.get("/images", token), 401, "unauthorized")

    def test_a_user_who_is_disabled(self):
        user_id = self.session("rob").get_user_id()
        token = self.token("rob")
        for enabled, status in ((False, 401), (True, 200)):
            self.identity(
                "PATCH",
                f"/users/{user_id}",
                json={"user": {"enabled": enabled}},
            )
            if enabled:
                # Keystone has revoked all tokens of the second in which the
                # user was disabled.
                time.sleep(2)
                token = self.token("rob")
            response = self.get("/images", token)
            self.assertEqual(status, response.status_code)

    def test_service_tokens(self):
        user, service = self.token("alice"), self.token("nova")
        response = self.get("/images", user, X_Service_Token=service)
        self.assertEqual(200, response.status_code)
        # A good token whose user is no service.
        for bad in ("x", self.token("bob")):
            response = self.get("/images", user, X_Service_Token=bad)
            self.assertFault(response, 401, "unauthorized")
        response = self.get("/images", X_Service_Token=service)
        self.assertFault(response, 401, "unauthorized")


class TestExpiry(cloud.CloudTestCase):
    SECONDS = 5

    def restart(self, **options):
        self.keystone.stop()
        self.keystone.configure(**options)
        self.keystone.start()
        self.keystone.wait()

    def test_expired(self):
        service = self.token("nova")
        self.restart(expiration=self.SECONDS)
        self.addCleanup(self.restart, expiration=3600)
        used, unused = self.token("alice"), self.token("alice")
        self.assertEqual(200, self.get("/images", used).status_code)
        time.sleep(self.SECONDS + 1)
        for token in (used, unused):
            response = self.get("/images", token)
            self.assertFault(response, 401, "unauthorized")
        # A service goes on with what it was asked to do in time.
        response = self.get("/images", unused, X_Service_Token=service)
        self.assertEqual(200, response.status_code, response.text)


class TestOutage(cloud.CloudTestCase):
    def test_keystone_is_killed(self):
        known, unknown = self.token("alice"), self.token("alice")
        self.assertEqual(200, self.get("/images", known).status_code)
        self.keystone.kill()
        killed = time.monotonic()
        # Both workers: memcached is theirs together.
        for _ in range(8):
            response = self.get("/images", known)
            self.assertEqual(200, response.status_code, response.text)
        self.assertLess(time.monotonic() - killed, cloud.CACHE_SECONDS - 1)
        start = time.monotonic()
        response = self.get("/images", unknown)
        self.assertFault(response, 503, "serviceUnavailable")
        self.assertIn("Retry-After", response.headers)
        self.assertNotIn(str(self.keystone.port), response.text)
        self.assertLess(time.monotonic() - start, 10)
        # What wants no token goes on.
        response = self.get("/")
        self.assertEqual(200, response.status_code)
        self.keystone.start()
        self.keystone.wait()
        self.assertEqual(200, self.get("/images", unknown).status_code)

    def test_the_service_has_the_wrong_password(self):
        user_id = self.session("images").get_user_id()
        self.change_password(user_id, "another")
        self.addCleanup(self.change_password, user_id, cloud.PASSWORD)
        # Its token went with its password.
        response = self.get("/images", self.token("alice"))
        self.assertFault(response, 503, "serviceUnavailable")
        self.assertNotIn("another", self.api.last_words())
        self.assertNotIn(cloud.PASSWORD, self.api.last_words())

    def change_password(self, user_id, password):
        self.identity(
            "PATCH", f"/users/{user_id}", json={"user": {"password": password}}
        )

    def test_memcached_is_killed(self):
        known = self.token("alice")
        self.assertEqual(200, self.get("/images", known).status_code)
        self.memcached.kill()
        for token in (known, self.token("bob")):
            for _ in range(4):
                response = self.get("/images", token)
                self.assertEqual(200, response.status_code, response.text)
        self.assertFault(self.get("/images", "bad"), 401, "unauthorized")
