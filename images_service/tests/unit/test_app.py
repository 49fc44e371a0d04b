# SPDX-License-Identifier: Apache-2.0
import json

from oslo_config import cfg
import webob

from images_service import app
from images_service.api import dispatch
from images_service.tests import base


class TestCreate(base.TestCase):
    def test_nothing_connects_before_the_first_request(self):
        conf = self.make_conf(connection="sqlite:////no/such/folder/db")
        made = app.create(conf)
        req = webob.Request.blank("/v2.1/")
        self.assertEqual(200, req.get_response(made).status_int)
        req = webob.Request.blank("/v2.1/images")
        req.headers["X-Auth-Token"] = base.TOKENS["member"]
        with self.assertLogs("images_service", "ERROR"):
            self.assertEqual(503, req.get_response(made).status_int)

    def test_no_pipeline(self):
        conf = self.make_conf(api={"paste_config": "no-such.ini"})
        with self.assertRaisesRegex(
            cfg.ConfigFilesNotFoundError, "no-such.ini"
        ):
            app.create(conf)

    def test_a_strategy_that_the_pipeline_lacks(self):
        folder = self.make_folder()
        with open(f"{folder}/short.ini", "w", encoding="utf-8") as file:
            file.write(
                "[composite:main]\nuse = egg:images_service#root\n"
                "keystone = api\n[app:api]\nuse = egg:images_service#api\n"
            )
        conf = base.configuration(folder, api={"paste_config": "short.ini"})
        with self.assertRaisesRegex(cfg.ConfigFileValueError, "noauth2"):
            app.create(conf)


class TestRoot(base.ApiTestCase):
    def test_what_wants_no_token(self):
        for path in ("/v2.1", "/v2.1/", "/v2/", "/v2.1/p/"):
            with self.subTest(path=path):
                response = self.request("GET", path, token=None)
                self.assertEqual(200, response.status_int)
        self.assertFault(
            self.request("GET", "/v3/images", token=None), 404, "itemNotFound"
        )

    def test_what_wants_one(self):
        for path in ("/images", "/images/", "/nothing", "/p/images", "/p"):
            with self.subTest(path=path):
                self.assertFault(
                    self.request("GET", path, token=None), 401, "unauthorized"
                )

    def test_request_ids(self):
        response = self.request("GET", "/images")
        request_id = response.headers["x-openstack-request-id"]
        self.assertRegex(request_id, "^req-[0-9a-f-]{36}$")
        self.assertEqual(request_id, response.headers["x-compute-request-id"])


class TestLinks(base.ApiTestCase):
    options = {
        "api": {
            "compute_link_prefix": "https://cloud.example/compute",
            "glance_link_prefix": "https://cloud.example/image",
        }
    }

    def test_prefixes(self):
        image_id = base.IDS["own"]
        response = self.request("GET", f"/{base.OWNER}/images/{image_id}")
        self.assertEqual(
            [
                "https://cloud.example/compute/v2.1/"
                f"{base.OWNER}/images/{image_id}",
                f"https://cloud.example/compute/{base.OWNER}/images/{image_id}",
                f"https://cloud.example/image/images/{image_id}",
            ],
            [link["href"] for link in response.json["image"]["links"]],
        )
        response = self.request("GET", "/images?limit=1")
        self.assertTrue(
            response.json["images_links"][0]["href"].startswith(
                "https://cloud.example/compute/v2.1/images?"
            )
        )


class TestCatalog(base.ApiTestCase):
    def test_the_image_endpoint_of_the_catalog(self):
        endpoint = self._alternate(
            [
                {"type": "compute", "endpoints": [{"publicURL": "http://c"}]},
                {
                    "type": "image",
                    "endpoints": [{"publicURL": "http://glance/v2/"}],
                },
            ]
        )
        self.assertEqual("http://glance", endpoint)

    def test_catalogs_that_have_none(self):
        for catalog in ([], {}, [{"type": "image"}], [5], "x"):
            with self.subTest(catalog=catalog):
                self.assertIsNone(self._alternate(catalog))

    def _alternate(self, catalog):
        return dispatch._image_endpoint(json.dumps(catalog))
