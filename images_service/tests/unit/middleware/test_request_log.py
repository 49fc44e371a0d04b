# SPDX-License-Identifier: Apache-2.0
import logging
import unittest
from unittest import mock

from oslo_context import context as oslo_context
import webob

from images_service import context
from images_service.middleware import request_log
from images_service.tests import base

LOGGER = "images_service.middleware.request_log"


def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"{}"]


class TestRequestLog(unittest.TestCase):
    def test_a_line_without_secrets(self):
        req = webob.Request.blank(
            "/v2.1/images/a%0Ab?name=secret",
            headers={"X-Auth-Token": "hidden"},
        )
        req.environ["openstack.request_id"] = "req-1"
        req.environ["REMOTE_ADDR"] = "192.0.2.1"
        with self.assertLogs(LOGGER, "INFO") as logs:
            req.get_response(request_log.RequestLog(application))
        (line,) = (record.getMessage() for record in logs.records)
        self.assertRegex(
            line,
            r'^192.0.2.1 "GET /v2.1/images/a%0Ab HTTP/1.0" status: 200 len: 2 '
            r"time: 0\.\d{6}$",
        )

    def test_lines_do_not_carry_the_request_before(self):
        seen = []

        def note(environ, start_response):
            seen.append(oslo_context.get_current())
            return application(environ, start_response)

        context.RequestContext(user_id="the one before")
        req = webob.Request.blank("/")
        req.environ["openstack.request_id"] = "req-2"
        req.environ["openstack.global_request_id"] = "req-3"
        req.get_response(request_log.RequestLog(note))
        (found,) = seen
        assert found is not None
        self.assertEqual(
            ("req-2", "req-3", None),
            (found.request_id, found.global_request_id, found.user_id),
        )

    def test_nothing_below_info(self):
        logger = logging.getLogger(LOGGER)
        logger.setLevel(logging.WARNING)
        self.addCleanup(logger.setLevel, logging.NOTSET)
        req = webob.Request.blank("/")
        response = req.get_response(request_log.RequestLog(application))
        self.assertEqual(200, response.status_int)


class TestContext(base.ApiTestCase):
    def test_a_request_has_one_context(self):
        with mock.patch.object(
            context.RequestContext, "update_store"
        ) as registered:
            self.assertEqual(200, self.request("GET", "/images").status_int)
        registered.assert_called_once_with()
