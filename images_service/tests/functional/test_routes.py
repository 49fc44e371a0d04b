# SPDX-License-Identifier: Apache-2.0
"""Tests that walk ROUTES: what holds for every action.

One long module, since all of it walks one table with the same helpers.
"""

import json
from unittest import mock

from images_service import app
from images_service import model
from images_service.api import dispatch
from images_service.api import routes
from images_service.tests import base

BODIES = {
    "image-metadata:create": {"metadata": {"a": "b"}},
    "image-metadata:update_all": {"metadata": {"a": "b"}},
    "image-metadata:update": {"meta": {"foo": "b"}},
}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO")


def path_of(route, image="own"):
    return route.path.format(image_id=base.IDS.get(image, image), key="foo")


class RoutesTestCase(base.ApiTestCase):
    def send(self, route, image="own", token="member", **kwargs):
        return self.request(
            route.method,
            path_of(route, image),
            token,
            kwargs.pop("body", BODIES.get(route.action)),
            **kwargs,
        )

    def each_route(self):
        for route in routes.ROUTES:
            with self.subTest(action=route.action):
                yield route

    def everything(self):
        """Return all that is stored of the images of IDS."""
        viewer = model.Viewer("", is_admin=True)
        return {
            image_id: self.store.get(image_id, viewer)
            for name, image_id in base.IDS.items()
            if name != "gone"
        }


class TestTable(RoutesTestCase):
    def test_rows_are_complete(self):
        for route in self.each_route():
            controller, _, action = route.action.partition(":")
            application = dispatch.Application(
                self.conf, self.store, mock.Mock(), app.CONTROLLERS
            )
            self.assertTrue(
                callable(getattr(application._controllers[controller], action))
            )
            reads_a_body = route.method in ("POST", "PUT")
            self.assertEqual(reads_a_body, route.body is not None)
            self.assertEqual(reads_a_body, route.legacy_body is not None)
            lists = route.action in ("images:index", "images:detail")
            self.assertEqual(lists, route.query is not None)
            self.assertEqual(
                204 if route.method == "DELETE" else 200, route.success
            )
            self.assertEqual(35 if controller == "images" else 38, route.until)

    def test_rows_are_distinct(self):
        self.assertEqual(10, len(routes.ROUTES))
        for key in ("action", "rule"):
            self.assertEqual(
                10, len({getattr(route, key) for route in routes.ROUTES})
            )


class TestSuccess(RoutesTestCase):
    def test_every_row_answers_on_both_endpoints(self):
        for prefix in (
            "/v2.1",
            f"/v2.1/{base.OWNER}",
            "/v2",
            f"/v2/{base.OWNER}",
        ):
            # Those that delete come last of those of their path.
            for route in sorted(
                routes.ROUTES, key=lambda route: route.method == "DELETE"
            ):
                image = "own" if prefix == "/v2.1" else "snapshot"
                with self.subTest(prefix=prefix, action=route.action):
                    self.setUp()
                    if "{key}" in route.path:
                        self.request(
                            "PUT",
                            f"/images/{base.IDS[image]}/metadata/foo",
                            body={"meta": {"foo": "x"}},
                        )
                    response = self.request(
                        route.method,
                        prefix + path_of(route, image),
                        body=BODIES.get(route.action),
                    )
                    self.assertEqual(route.success, response.status_int)
                    self.assertEqual(route.etag, "ETag" in response.headers)
                    if route.success == 204:
                        self.assertEqual(b"", response.body)
                        self.assertNotIn("Content-Type", response.headers)
                    else:
                        self.assertEqual(
                            "application/json", response.content_type
                        )

    def test_head_answers_as_get_without_a_body(self):
        for route in self.each_route():
            if route.method != "GET":
                continue
            get = self.send(route)
            head = self.request("HEAD", path_of(route))
            self.assertEqual(get.status, head.status)
            self.assertEqual(b"", head.body)
            ignored = ("x-openstack-request-id", "x-compute-request-id")
            self.assertEqual(
                [h for h in get.headerlist if h[0] not in ignored],
                [h for h in head.headerlist if h[0] not in ignored],
            )


class TestMethods(RoutesTestCase):
    def test_405_with_allow(self):
        for path in {route.path for route in routes.ROUTES}:
            known = {r.method for r in routes.ROUTES if r.path == path}
            concrete = path.format(image_id=base.IDS["own"], key="foo")
            for method in set(METHODS) - known:
                with self.subTest(path=path, method=method):
                    response = self.request(method, concrete)
                    self.assertFault(response, 405, "badMethod")
                    allowed = set(response.headers["Allow"].split(", "))
                    implied = {"HEAD"} if "GET" in known else set()
                    self.assertEqual(known | implied | {"OPTIONS"}, allowed)

    def test_options(self):
        for route in self.each_route():
            response = self.request("OPTIONS", path_of(route))
            self.assertEqual(200, response.status_int)
            self.assertEqual(b"", response.body)
            self.assertIn(route.method, response.headers["Allow"])


class TestIdentity(RoutesTestCase):
    def test_no_token(self):
        before = self.everything()
        for route in self.each_route():
            response = self.send(route, token=None)
            self.assertFault(response, 401, "unauthorized")
            self.assertIn("WWW-Authenticate", response.headers)
        self.assertEqual(before, self.everything())

    def test_forged_identity(self):
        for route in self.each_route():
            response = self.send(
                route,
                token=None,
                X_Identity_Status="Confirmed",
                X_Project_Id=base.OWNER,
                X_User_Id="alice",
                X_Roles="admin",
            )
            self.assertFault(response, 401, "unauthorized")

    def test_another_project_in_the_url(self):
        before = self.everything()
        for route in self.each_route():
            for token in ("member", "admin"):
                response = self.request(
                    route.method,
                    f"/{base.OTHER}{path_of(route)}",
                    token,
                    BODIES.get(route.action),
                )
                mine = base.OWNER if token == "member" else base.ADMIN
                self.assertFault(
                    response,
                    400,
                    "badRequest",
                    f"Malformed request URL: URL's project_id '{base.OTHER}' "
                    f"doesn't match Context's project_id '{mine}'",
                )
        self.assertEqual(before, self.everything())

    def test_a_token_without_a_project(self):
        for route in self.each_route():
            for prefix, status, name in (
                ("", 403, "forbidden"),
                (f"/{base.OWNER}", 400, "badRequest"),
            ):
                req = self.request(
                    route.method,
                    prefix + path_of(route),
                    None,
                    BODIES.get(route.action),
                    X_Auth_Token="alice:",
                )
                self.assertFault(req, status, name)


class TestVisibility(RoutesTestCase):
    def test_what_is_not_visible_is_as_what_never_existed(self):
        before = self.everything()
        for route in self.each_route():
            if "{image_id}" not in route.path:
                continue
            answers = {
                (response.status_int, response.body)
                for image in (base.UNKNOWN, "others-private", "gone", "odd")
                for response in [self.send(route, image)]
            }
            self.assertEqual(1, len(answers))
            response = self.send(route, "others-private")
            self.assertFault(response, 404, "itemNotFound", "Image not found.")
        self.assertEqual(before, self.everything())

    def test_what_is_visible_but_not_ones_own_is_not_written(self):
        before = self.everything()
        for route in self.each_route():
            if route.method == "GET":
                continue
            for image in (
                "public",
                "community",
                "shared-accepted",
                "shared-pending",
            ):
                self.assertFault(self.send(route, image), 403, "forbidden")
        self.assertEqual(before, self.everything())

    def test_readers_read(self):
        before = self.everything()
        for route in self.each_route():
            response = self.send(route, token="reader")
            if route.method == "GET":
                self.assertEqual(200, response.status_int)
            else:
                self.assertFault(response, 403, "forbidden")
        self.assertEqual(before, self.everything())

    def test_admins_do_everything_but_delete_what_is_protected(self):
        for route in self.each_route():
            self.setUp()
            response = self.send(route, token="admin")
            self.assertEqual(route.success, response.status_int)
        response = self.request(
            "DELETE", f"/images/{base.IDS['protected']}", "admin"
        )
        self.assertFault(
            response,
            403,
            "forbidden",
            "You are not allowed to delete the image.",
        )


class TestMicroversions(RoutesTestCase):
    options = {"api": {"max_microversion": "2.104"}}

    def test_past_the_last_one(self):
        before = self.everything()
        for route in self.each_route():
            for past in (route.until + 1, 104):
                response = self.send(
                    route, OpenStack_API_Version=f"compute 2.{past}"
                )
                self.assertFault(
                    response,
                    404,
                    "itemNotFound",
                    "The resource could not be found.",
                )
        self.assertEqual(before, self.everything())

    def test_the_last_one(self):
        for route in self.each_route():
            self.setUp()
            response = self.send(
                route, OpenStack_API_Version=f"compute 2.{route.until}"
            )
            self.assertEqual(route.success, response.status_int)
            self.assertEqual(
                f"compute 2.{route.until}",
                response.headers["OpenStack-API-Version"],
            )
            self.assertEqual(
                f"2.{route.until}",
                response.headers["X-OpenStack-Nova-API-Version"],
            )
            self.assertIn("OpenStack-API-Version", response.headers["Vary"])

    def test_the_legacy_endpoint_knows_none(self):
        for route in self.each_route():
            self.setUp()
            response = self.request(
                route.method,
                "/v2" + path_of(route),
                body=BODIES.get(route.action),
                OpenStack_API_Version="compute 9.9",
            )
            self.assertEqual(route.success, response.status_int)
            self.assertNotIn("OpenStack-API-Version", response.headers)


class TestBodies(RoutesTestCase):
    def with_bodies(self):
        return [route for route in self.each_route() if route.body]

    def test_malformed(self):
        before = self.everything()
        for route in self.each_route():
            if not route.body:
                continue
            for body in (
                b"{",
                b" ",
                b"\xff",
                b'{"a": "\xff"}',
                b"[" * 60000,
                '{"metadata": {}}'.encode("utf-16"),
            ):
                response = self.send(
                    route, body=body, Content_Type="application/json"
                )
                self.assertFault(
                    response, 400, "badRequest", "Malformed request body"
                )
        self.assertEqual(before, self.everything())

    def test_none(self):
        for route in self.each_route():
            if route.body:
                response = self.request(route.method, path_of(route))
                self.assertFault(
                    response,
                    400,
                    "badRequest",
                    "None is not of type 'object'",
                )

    def test_too_large(self):
        before = self.everything()
        for route in self.each_route():
            if not route.body:
                continue
            body = json.dumps(BODIES[route.action]).encode()
            for size, status in ((114688, 200), (114689, 413)):
                self.setUp()
                response = self.send(
                    route,
                    body=body.ljust(size),
                    Content_Type="application/json",
                )
                self.assertEqual(status, response.status_int)
        self.assertFault(response, 413, "overLimit")
        self.assertEqual(before, self.everything())

    def test_types(self):
        before = self.everything()
        for route in self.each_route():
            for media_type in ("application/xml", "garbage", "text/html"):
                response = self.send(
                    route, body=b"{}", Content_Type=media_type
                )
                self.assertFault(
                    response, 415, "badMediaType", "Unsupported Content-Type"
                )
        self.assertEqual(before, self.everything())


class TestDenied(RoutesTestCase):
    """Each rule denied: 403, and nothing is written."""

    def setUp(self):
        rules = {route.rule: "!" for route in routes.ROUTES}
        self.options = {"policy": rules}
        super().setUp()

    def test_denied(self):
        before = self.everything()
        for route in self.each_route():
            for token in ("member", "reader", "admin"):
                self.assertFault(
                    self.send(route, token=token), 403, "forbidden"
                )
        self.assertEqual(before, self.everything())

    def test_what_is_not_visible_is_404_all_the_same(self):
        for route in self.each_route():
            if "{image_id}" in route.path:
                response = self.send(route, "others-private")
                self.assertFault(response, 404, "itemNotFound")


class TestOneRuleDenied(RoutesTestCase):
    def test_only_its_action_is(self):
        for denied in routes.ROUTES:
            self.options = {"policy": {denied.rule: "!"}}
            self.setUp()
            for route in routes.ROUTES:
                if route.method != "GET" and route is not denied:
                    continue
                with self.subTest(denied=denied.action, asked=route.action):
                    status = 403 if route is denied else 200
                    response = self.send(route)
                    self.assertEqual(status, response.status_int)


class TestSize(RoutesTestCase):
    options = {"policy": {"os_compute_api:image-size": "role:admin"}}

    def test_only_admins_see_it(self):
        for token, seen in (("member", False), ("admin", True)):
            show = self.request("GET", f"/images/{base.IDS['own']}", token)
            detail = self.request("GET", "/images/detail", token)
            for image in (show.json["image"], *detail.json["images"]):
                self.assertEqual(seen, "OS-EXT-IMG-SIZE:size" in image)
