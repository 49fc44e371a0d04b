# SPDX-License-Identifier: Apache-2.0
"""The filters in a pipeline that is built as Nova's is."""

import json
import logging
import os
import sys
from unittest import mock

from oslo_context import context
from paste.deploy import loadwsgi
import webob

from images_service import startup
from images_service.tests import base

# Nova's shipped file, with what the edit of an operator adds to either place.
PASTE = """
[composite:osapi_compute]
use = call:images_service.tests.unit.wsgi.test_nova:urlmap
{front}
/v2: compute_v2
/v2.1: compute_v21

[composite:compute_v2]
use = call:images_service.tests.unit.wsgi.test_nova:pipeline
keystone = authtoken {behind} compute

[composite:compute_v21]
use = call:images_service.tests.unit.wsgi.test_nova:pipeline
keystone = authtoken {behind} compute

[filter:authtoken]
paste.filter_factory = images_service.tests.unit.wsgi.test_nova:authtoken

[app:compute]
paste.app_factory = images_service.tests.unit.wsgi.test_nova:compute

[filter:images]
use = egg:images_service#{place}
config_file = {path}
"""
FRONT = {"front": "filter-with = images", "behind": "", "place": "front"}
BEHIND = {"front": "", "behind": "images", "place": "behind"}
PLACES = (FRONT, BEHIND)

IMAGES = "/v2.1/images"


def urlmap(loader, global_conf, **local):
    """Move the version of a path into SCRIPT_NAME, as Nova's urlmap does."""
    apps = {path: loader.get_app(name) for path, name in local.items()}

    def application(environ, start_response):
        version = "/" + environ["PATH_INFO"].split("/")[1]
        if version not in apps:
            return compute({})(environ, start_response)
        environ["SCRIPT_NAME"] += version
        environ["PATH_INFO"] = environ["PATH_INFO"][len(version) :]
        return apps[version](environ, start_response)

    return application


def pipeline(loader, global_conf, keystone):
    """Build a pipeline, as Nova does."""
    *filters, name = keystone.split()
    application = loader.get_app(name)
    for each in reversed(filters):
        application = loader.get_filter(each)(application)
    return application


def authtoken(_global_conf):
    """Return what stands for keystonemiddleware.

    A token is an index of base.TOKENS.
    """

    def wrap(application):
        def validate(environ, start_response):
            for name in [n for n in environ if n.startswith("HTTP_X_")]:
                if name != "HTTP_X_AUTH_TOKEN":
                    del environ[name]
            user, project, *roles = environ["HTTP_X_AUTH_TOKEN"].split(":")
            environ["HTTP_X_IDENTITY_STATUS"] = "Confirmed"
            environ["HTTP_X_USER_ID"] = user
            environ["HTTP_X_PROJECT_ID"] = project
            environ["HTTP_X_ROLES"] = ",".join(roles) or "member"
            return application(environ, start_response)

        return validate

    return wrap


def compute(_global_conf):
    """Return an application that tells what has reached Nova."""

    def answer(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        names = ("SCRIPT_NAME", "PATH_INFO")
        return [json.dumps(["Nova", *map(environ.get, names)]).encode()]

    return answer


class TestNova(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        highest = mock.Mock(**{"get_string.return_value": "2.104"})
        versions = mock.Mock(**{"max_api_version.return_value": highest})
        for name, module in (
            ("nova", mock.Mock()),
            ("nova.api", mock.Mock()),
            ("nova.api.openstack", mock.Mock(api_version_request=versions)),
        ):
            sys.modules[name] = module
            self.addCleanup(sys.modules.pop, name)

    def make_nova(self, place, *, tables=True, folder=None, **groups):
        """Return Nova with this service at a place.

        :param groups: of this service's options.
        """
        folder = folder or self.folder
        conf = base.configuration(folder, **groups)
        if tables:
            self.make_store(conf, base.samples())
        path = os.path.join(folder, "api-paste.ini")
        with open(path, "w", encoding="utf-8") as file:
            name = f"{folder}/images_service.conf"
            file.write(PASTE.format(path=name, **place))
        return loadwsgi.ConfigLoader(path).get_app("osapi_compute")

    def get(self, application, path, token="member", **kwargs):
        req = webob.Request.blank(path, **kwargs)
        req.headers["X-Auth-Token"] = base.TOKENS[token]
        return req.get_response(application)

    def test_actions_are_answered(self):
        for place in PLACES:
            with self.subTest(place):
                nova = self.make_nova(place, folder=self.make_folder())
                for version in ("v2", "v2.1"):
                    url = f"/{version}/images"
                    answer = self.get(nova, f"{url}/{base.IDS['own']}")
                    self.assertEqual(200, answer.status_int, answer.text)
                    links = answer.json["image"]["links"]
                    self.assertEqual(
                        f"http://localhost{url}/{base.IDS['own']}",
                        links[0]["href"],
                    )
                    answer = self.get(
                        nova,
                        f"{url}/{base.IDS['own']}/metadata/colour",
                        method="PUT",
                        json={"meta": {"colour": "red"}},
                    )
                    self.assertEqual(200, answer.status_int, answer.text)
                answer = self.get(
                    nova, f"{IMAGES}/{base.IDS['others-private']}"
                )
                self.assertEqual(404, answer.status_int)
                # Not the token's project.
                answer = self.get(nova, "/v2.1/ab12-34/images")
                self.assertEqual(400, answer.status_int)

    def test_everything_else_is_novas(self):
        for place in PLACES:
            with self.subTest(place):
                nova = self.make_nova(place, folder=self.make_folder())
                for script, path in (
                    ("/v2.1", f"/{base.OWNER}/servers"),
                    ("/v2.1", f"/{base.OWNER}/flavors/images"),
                    ("/v2.1", f"/{base.OWNER}/servers/images/metadata"),
                    # A key pair and a flavor were taken for projects' images.
                    ("/v2.1", "/os-keypairs/images"),
                    ("/v2.1", "/flavors/images/os-extra_specs"),
                    ("/v2", "/"),
                    ("", "/images"),
                    ("", "/v3/images"),
                ):
                    answer = self.get(nova, script + path)
                    self.assertEqual(["Nova", script, path], answer.json)

    def test_a_prefix_of_a_proxy_stays_in_links(self):
        for place in PLACES:
            with self.subTest(place):
                nova = self.make_nova(place, folder=self.make_folder())
                answer = self.get(
                    nova, f"{IMAGES}?limit=1", base_url="http://c:80/compute"
                )
                (link,) = answer.json["images_links"]
                self.assertTrue(
                    link["href"].startswith(f"http://c/compute{IMAGES}?"),
                    link,
                )

    def test_microversions_are_novas(self):
        nova = self.make_nova(FRONT)
        for version, status in (
            ("2.35", 200),
            ("2.36", 404),
            ("2.104", 404),
            ("2.105", 406),
        ):
            answer = self.get(
                nova,
                IMAGES,
                headers={"OpenStack-API-Version": f"compute {version}"},
            )
            self.assertEqual(status, answer.status_int, version)
        nova = self.make_nova(
            FRONT, folder=self.make_folder(), api={"max_microversion": "2.50"}
        )
        answer = self.get(
            nova, IMAGES, headers={"OpenStack-API-Version": "compute 2.51"}
        )
        self.assertEqual(406, answer.status_int)

    def test_a_caller_that_novas_authtoken_has_not_confirmed(self):
        application = loadwsgi.ConfigLoader(self.paste_of_behind())
        service = application.get_filter("images")(compute({}))
        answer = self.get(
            service,
            "/images",
            base_url="http://localhost/v2.1",
            headers={"X-Identity-Status": "Invalid"},
        )
        self.assertEqual(401, answer.status_int)

    def paste_of_behind(self):
        self.make_nova(BEHIND)
        return os.path.join(self.folder, "api-paste.ini")

    def test_an_error_is_told_at_start(self):
        for place in PLACES:
            with (
                self.subTest(place),
                self.assertRaisesRegex(startup.NotReady, "db sync"),
            ):
                self.make_nova(place, tables=False, folder=self.make_folder())

    def test_logging_is_novas(self):
        root = logging.getLogger()
        before = root.level, list(root.handlers)
        nova = self.make_nova(FRONT)
        with self.assertLogs("images_service.middleware.request_log") as lines:
            self.get(nova, IMAGES)
        self.assertIn(f"GET {IMAGES} ", lines.output[0])
        self.assertEqual(before, (root.level, list(root.handlers)))

    def test_its_context_stayed_for_lines_of_nova(self):
        nova = self.make_nova(FRONT)
        theirs = context.RequestContext()
        self.get(nova, IMAGES)
        self.assertIs(theirs, context.get_current())
