# SPDX-License-Identifier: Apache-2.0
from images_service.middleware import standard
from images_service.tests import base


class TestStandard(base.TestCase):
    def test_what_is_switched_off_is_not_there(self):
        conf = {standard.CONF: self.make_conf()}
        app = object()
        self.assertIs(app, standard.http_proxy_to_wsgi(conf)(app))
        self.assertIs(app, standard.cors(conf)(app))


class TestProxy(base.ApiTestCase):
    options = {"oslo_middleware": {"enable_proxy_headers_parsing": "True"}}

    def test_links_show_what_the_proxy_says(self):
        response = self.request(
            "GET",
            "/",
            X_Forwarded_Proto="https",
            X_Forwarded_Host="cloud.example",
        )
        self.assertEqual(
            "https://cloud.example/v2.1/",
            response.json["version"]["links"][0]["href"],
        )


class TestCors(base.ApiTestCase):
    options = {"cors": {"allowed_origin": "https://dashboard.example"}}

    def test_preflight(self):
        response = self.request(
            "OPTIONS",
            "/images",
            token=None,
            Origin="https://dashboard.example",
            Access_Control_Request_Method="DELETE",
            Access_Control_Request_Headers="X-Auth-Token",
        )
        self.assertEqual(200, response.status_int)
        self.assertEqual(
            "https://dashboard.example",
            response.headers["Access-Control-Allow-Origin"],
        )

    def test_other_origins_get_nothing(self):
        response = self.request(
            "GET", "/images", Origin="https://evil.example"
        )
        self.assertEqual(200, response.status_int)
        self.assertNotIn("Access-Control-Allow-Origin", response.headers)
