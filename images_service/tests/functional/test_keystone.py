# SPDX-License-Identifier: Apache-2.0
"""The keystone strategy, in front of a stub that validates tokens."""

import datetime
import threading
import time
import typing
from unittest import mock

from keystonemiddleware import auth_token
from keystonemiddleware.auth_token import _request
from oslo_config import cfg
import webob

from images_service import app
from images_service.middleware import keystone as filters
from images_service.tests import base
from images_service.tests import keystone


class KeystoneTestCase(base.RequestTestCase):
    options: dict[str, str] = {}
    without: tuple[str, ...] = ()

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
            keystone_authtoken={
                name: value
                for name, value in (
                    self.keystone.options() | self.options
                ).items()
                if name not in self.without
            },
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


class TestKeystone(KeystoneTestCase):
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
        with (
            mock.patch.object(self.keystone, "catalog", dict),
            self.assertLogs("images_service", "ERROR") as logs,
        ):
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


class TestKnownIdentities(KeystoneTestCase):
    """A token that was validated a moment ago is not validated again."""

    # keystonemiddleware asks Keystone about each token that it validates.
    options = {"token_cache_time": "-1", "service_type": "compute"}

    def setUp(self):
        super().setUp()
        self.asked = 0

        def misbehave(method, handler):
            self.asked += handler.path.startswith("/v3/auth/tokens")
            return False

        counted = mock.patch.object(self.keystone, "misbehave", misbehave)
        counted.start()
        self.addCleanup(counted.stop)

    def later(self, seconds):
        now = time.monotonic() + seconds
        later = mock.patch.object(time, "monotonic", lambda: now)
        later.start()
        self.addCleanup(later.stop)

    def images(self, token, **headers):
        """Return how many images a token lists, and how often that asks."""
        self.asked = 0
        response = self.get("/images", token, **headers)
        self.assertEqual(200, response.status_int, response.text)
        return len(response.json["images"]), self.asked

    def test_keystone_is_asked_once(self):
        self.images("member")
        self.assertEqual((7, 0), self.images("member"))
        self.assertEqual((8, 1), self.images("admin"))
        self.assertEqual((7, 0), self.images("member"))
        # Another of the same user.
        self.keystone.tokens["second"] = self.keystone.tokens["member"]
        self.assertEqual((7, 1), self.images("second"))

    def test_a_revoked_token(self):
        self.images("member")
        del self.keystone.tokens["member"]
        self.assertEqual((7, 0), self.images("member"))
        self.later(5.1)
        self.assertFault(self.get("/images", "member"), 401, "unauthorized")

    def test_roles_that_change(self):
        self.images("member")
        self.keystone.tokens["member"] = self.keystone.tokens["admin"]
        self.assertEqual((7, 0), self.images("member"))
        self.later(5.1)
        self.assertEqual((8, 1), self.images("member"))

    def test_a_token_that_expires_first(self):
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
            seconds=2
        )
        self.keystone.tokens["member"]["token"]["expires_at"] = soon.strftime(
            "%Y-%m-%dT%H:%M:%S.%fZ"
        )
        self.images("member")
        self.assertEqual((7, 0), self.images("member"))
        self.later(2.1)
        self.assertEqual((7, 1), self.images("member"))

    def test_service_tokens(self):
        service = {"X_Service_Token": "service"}
        self.images("member")
        self.assertEqual((7, 2), self.images("member", **service))
        self.assertEqual((7, 0), self.images("member", **service))
        response = self.get("/images", "member", X_Service_Token="bad")
        self.assertFault(response, 401, "unauthorized")
        del self.keystone.tokens["service"]
        self.later(5.1)
        response = self.get("/images", "member", **service)
        self.assertFault(response, 401, "unauthorized")

    def test_refusals_are_not_kept(self):
        self.assertFault(self.get("/images", "new"), 401, "unauthorized")
        self.keystone.tokens["new"] = self.keystone.tokens["member"]
        self.assertEqual((7, 1), self.images("new"))

    def test_forged_headers_with_a_known_token(self):
        self.images("member")
        forged = {
            name.removeprefix("HTTP_"): "admin" for name in filters.HEADERS
        }
        self.assertEqual((7, 0), self.images("member", **forged))

    def test_a_token_whose_rights_depend_on_the_request(self):
        rule = {"path": "/v2.1/images", "method": "GET", "service": "compute"}
        for number, (rules, asked) in enumerate((([], 0), ([rule], 1))):
            document = keystone.token_document(
                "alice", base.OWNER, ["member"], compute="http://nova"
            )
            credential: dict[str, typing.Any] = {"id": "x"}
            if rules:
                credential["access_rules"] = rules
            document["token"]["application_credential"] = credential
            self.keystone.tokens[str(number)] = document
            self.images(str(number))
            self.assertEqual((7, asked), self.images(str(number)))
        # The rule is for no other request.
        response = self.get("/images/detail", "1")
        self.assertFault(response, 401, "unauthorized")

    def test_off(self):
        self.conf.set_override("identity_cache_time", 0, "api")
        self.app = app.create(self.conf, self.store)
        self.images("member")
        self.assertEqual((7, 1), self.images("member"))

    def test_the_bound(self):
        known = filters.Identities(5, most=2)
        for number in range(5):
            known.add(bytes([number]), {"a": str(number)}, 9)
        found = [known.get(bytes([number])) for number in range(5)]
        self.assertEqual([None] * 3 + [{"a": "3"}, {"a": "4"}], found)

    def test_the_headers_are_the_library_s(self):
        made = _request._AuthTokenRequest.blank("/")
        names = {*made._all_auth_headers(), "OpenStack-System-Scope"}
        self.assertEqual(
            {f"HTTP_{n.upper().replace('-', '_')}" for n in names},
            set(filters.HEADERS),
        )


class TestGarbage(KeystoneTestCase):
    """Keystone, or a server in its place, sends answers that can't be used."""

    GOOD = keystone.token_document(
        "alice", base.OWNER, ["member"], image="http://glance"
    )

    def answers(self):
        token = self.GOOD["token"]
        documents: tuple[typing.Any, ...] = (
            b"",
            b"<html>garbage</html>",
            b"\xff",
            {},
            [],
            None,
            5,
            {"token": None},
            {"token": []},
            {"token": {}},
            {"token": {**token, "expires_at": "yesterday"}},
            {"token": {**token, "expires_at": None}},
            {"token": {**token, "user": None}},
            {"token": {**token, "roles": [None]}},
            {"token": {**token, "project": "p"}},
            {"token": {"expires_at": keystone.EXPIRES}},
        )
        for document in documents:
            yield 200, document, ()
        yield 302, b"", [("Location", "/v3/auth/tokens")]
        yield 500, b"garbage", ()
        yield 403, {}, ()

    def test_garbage_is_no_500_with_a_traceback(self):
        for method in ("GET", "POST"):
            for answer in self.answers():
                with self.subTest(method=method, answer=answer):
                    self.try_garbage(method, answer)

    def try_garbage(self, method, answer):
        # Another token each time, and a service that has none of its own.
        self.app = app.create(self.conf, self.store)
        document = self.GOOD
        self.keystone.tokens["another"] = document

        def misbehave(asked, handler):
            if method != asked or "auth/tokens" not in handler.path:
                return False
            handler.answer(*answer)
            return True

        with (
            mock.patch.object(self.keystone, "misbehave", misbehave),
            self.assertLogs(level="WARNING") as logs,
        ):
            response = self.get("/images", "another")
        self.assertFault(response, 503, "serviceUnavailable")
        self.assertEqual("5", response.headers["Retry-After"])
        for record in logs.records:
            self.assertIsNone(record.exc_info, record)
            self.assertNotIn("another", record.getMessage())
            self.assertNotIn(keystone.SERVICE, record.getMessage())
        told = [
            record
            for record in logs.records
            if record.levelname in ("ERROR", "CRITICAL")
        ]
        if answer[0] == 200:
            self.assertEqual(1, len(told), logs.output)
        # Nothing of it is remembered.
        self.assertEqual(200, self.get("/images", "another").status_int)


class TestDefaults(KeystoneTestCase):
    without = ("http_request_max_retries",)

    def test_nothing_waits_without_a_limit(self):
        found = self.conf.keystone_authtoken
        self.assertEqual(5, found.http_connect_timeout)
        self.assertEqual(1, found.http_request_max_retries)
        self.assertEqual(1, found.memcache_pool_socket_timeout)

    def test_the_process_wide_defaults_stay_the_library_s(self):
        other = cfg.ConfigOpts()
        for group, options in auth_token.list_opts():
            other.register_opts(options, group)
        other([])
        self.assertIsNone(other.keystone_authtoken.http_connect_timeout)


class TestOptionsOfOperators(KeystoneTestCase):
    options = {
        "http_connect_timeout": "2",
        "http_request_max_retries": "3",
        "region_name": "r",
    }

    def test_they_count(self):
        found = self.conf.keystone_authtoken
        self.assertEqual(2, found.http_connect_timeout)
        self.assertEqual(3, found.http_request_max_retries)

    def test_the_image_endpoint_of_the_region(self):
        token = self.keystone.tokens["member"]["token"]
        (service,) = token["catalog"]
        service["endpoints"].insert(
            0,
            {
                "id": "elsewhere",
                "interface": "public",
                "region": "elsewhere",
                "region_id": "elsewhere",
                "url": "http://elsewhere",
            },
        )
        image_id = base.IDS["own"]
        response = self.get(f"/images/{image_id}", "member")
        self.assertEqual(
            f"http://glance/images/{image_id}",
            response.json["image"]["links"][2]["href"],
        )


class TestHangs(KeystoneTestCase):
    """Keystone takes requests and doesn't answer."""

    options = {"http_connect_timeout": "60"}
    without = ("www_authenticate_uri",)

    def setUp(self):
        super().setUp()
        self.thawed = threading.Event()
        self.addCleanup(self.thawed.set)
        self.asked = threading.Semaphore(0)

    def freeze(self, **deadlines):
        def misbehave(asked, handler):
            self.asked.release()
            self.thawed.wait(60)
            return False

        frozen = mock.patch.object(self.keystone, "misbehave", misbehave)
        frozen.start()
        self.addCleanup(frozen.stop)
        for name, value in deadlines.items():
            changed = mock.patch.object(filters, name, value)
            changed.start()
            self.addCleanup(changed.stop)

    def token(self, name):
        self.keystone.tokens[name] = self.keystone.tokens["member"]
        return name

    def threads(self, count, answers):
        """Return threads that each ask with a token of their own."""

        def get(token):
            answers.append(self.get("/images", token))

        return [
            threading.Thread(target=get, args=[self.token(str(number))])
            for number in range(count)
        ]

    def assertUnavailable(self, response):
        self.assertFault(response, 503, "serviceUnavailable")
        self.assertEqual("5", response.headers["Retry-After"])

    def test_no_request_waits_for_ever(self):
        self.assertEqual(200, self.get("/images", "member").status_int)
        self.freeze()
        start = time.monotonic()
        for headers in ({}, {"X_Service_Token": "service"}):
            self.assertUnavailable(
                self.get("/images", self.token("unknown"), **headers)
            )
        self.assertLess(time.monotonic() - start, 2 * 6)
        # Tokens that Keystone has validated before stay valid.
        self.assertEqual(200, self.get("/images", "member").status_int)

    def test_two_threads_wait_for_keystone_and_no_more(self):
        # The first question is for the service's own token, one at a time.
        self.assertEqual(200, self.get("/images", "member").status_int)
        self.freeze(_DEADLINE=30)
        answers: list[webob.Response] = []
        threads = self.threads(2, answers)
        for thread in threads:
            thread.start()
            self.assertTrue(self.asked.acquire(timeout=30))
        start = time.monotonic()
        for number in range(20):
            self.assertUnavailable(
                self.get("/images", self.token(f"more-{number}"))
            )
        # Half a second once, and not 30 each.
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual([], answers)
        self.thawed.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual([200, 200], [each.status_int for each in answers])
        response = self.get("/images", self.token("another"))
        self.assertEqual(200, response.status_int)

    def test_a_burst_while_keystone_answers(self):
        def misbehave(asked, handler):
            time.sleep(0.05)
            return False

        answers: list[webob.Response] = []
        with mock.patch.object(self.keystone, "misbehave", misbehave):
            self.assertEqual(200, self.get("/images", "member").status_int)
            threads = self.threads(4, answers)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        self.assertEqual([200] * 4, [each.status_int for each in answers])

    def test_no_request_without_a_token_waits_for_ever(self):
        """Its answer names Keystone, whose address isn't configured."""
        self.freeze(_DEADLINE=1)
        start = time.monotonic()
        self.assertFault(self.get("/images"), 401, "unauthorized")
        self.assertLess(time.monotonic() - start, 5)
