# SPDX-License-Identifier: Apache-2.0
import contextlib
from unittest import mock

from images_service.api import images
from images_service.middleware import metrics
from images_service.middleware import pipeline
from images_service.middleware import request_log
from images_service.tests import base


class TestPipeline(base.TestCase):
    def test_what_is_switched_off_is_not_there(self):
        conf = {pipeline.CONF: self.make_conf()}
        app = mock.Mock()
        self.assertIs(app, pipeline.http_proxy_to_wsgi(conf)(app))
        self.assertIs(app, pipeline.cors(conf)(app))


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
    options = {
        "cors": {"allowed_origin": "https://dashboard.example"},
        "metrics": {"port": "9774"},
    }

    def preflight(self):
        return self.request(
            "OPTIONS",
            "/images",
            token=None,
            Origin="https://dashboard.example",
            Access_Control_Request_Method="DELETE",
            Access_Control_Request_Headers="X-Auth-Token",
        )

    def test_preflight(self):
        response = self.preflight()
        self.assertEqual(200, response.status_int)
        self.assertEqual(
            "https://dashboard.example",
            response.headers["Access-Control-Allow-Origin"],
        )

    def test_a_preflight_has_an_id_and_is_logged_and_counted(self):
        with (
            mock.patch.object(metrics.Metrics, "answered") as answered,
            self.assertLogs(request_log.LOG, "INFO") as logs,
        ):
            response = self.preflight()
        self.assertRegex(response.headers["x-openstack-request-id"], "^req-")
        self.assertEqual(
            response.headers["x-openstack-request-id"],
            response.headers["x-compute-request-id"],
        )
        (line,) = logs.output
        self.assertIn('"OPTIONS /v2.1/images HTTP/1.0" status: 200', line)
        self.assertEqual(("other", "200"), answered.call_args.args[:2])

    def test_errors_are_for_the_origin_as_well(self):
        for path, token, status in (
            ("/images", None, 401),
            ("/images/x", "member", 404),
            ("/images?limit=0", "member", 400),
            ("/images", "member", 500),
        ):
            with self.subTest(status=status), contextlib.ExitStack() as stack:
                if status == 500:
                    index = mock.patch.object(images.Images, "index")
                    stack.enter_context(index).side_effect = RuntimeError
                    stack.enter_context(self.assertLogs(level="ERROR"))
                response = self.request(
                    "GET", path, token, Origin="https://dashboard.example"
                )
                self.assertEqual(status, response.status_int)
                self.assertEqual(
                    "https://dashboard.example",
                    response.headers["Access-Control-Allow-Origin"],
                )
                self.assertRegex(
                    response.headers["x-openstack-request-id"], "^req-"
                )

    def test_other_origins_get_nothing(self):
        response = self.request(
            "GET", "/images", Origin="https://evil.example"
        )
        self.assertEqual(200, response.status_int)
        self.assertNotIn("Access-Control-Allow-Origin", response.headers)
