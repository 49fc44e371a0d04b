# SPDX-License-Identifier: Apache-2.0
import logging
import os
import sys
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


class TestFormatter(base.TestCase):
    """A line looks as oslo.log's formatter would write it."""

    def setUp(self):
        super().setUp()
        root = logging.getLogger()
        self.addCleanup(setattr, root, "handlers", root.handlers)
        self.addCleanup(setattr, sys, "excepthook", sys.excepthook)
        self.addCleanup(logging.captureWarnings, False)
        # It changes the levels of all loggers.
        levels = {
            name: logger.level
            for name, logger in logging.root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger)
        }
        self.addCleanup(self.restore, {**levels, "": root.level})

    def restore(self, levels):
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)

    def formatter(self, **options):
        """Return the formatter of a service with some options."""
        root = logging.getLogger()
        root.handlers = []
        conf = self.make_conf(DEFAULT={"log_file": os.devnull, **options})
        request_log.set_up(conf)
        (handler,) = root.handlers
        self.addCleanup(handler.close)
        return handler.formatter

    def record(self, name=LOGGER, level=logging.INFO, created=1e9 + 0.0625):
        record = logging.LogRecord(
            name, level, __file__, 1, "%s is ü", ("this",), None
        )
        record.created, record.msecs = created, created % 1 * 1000
        return record

    def test_contexts(self):
        formatter = self.formatter()
        self.assertIsInstance(formatter, request_log.Formatter)
        full = {
            name: name.upper()
            for name in (
                *("user_id", "project_id", "domain_id", "system_scope"),
                *("user_domain_id", "project_domain_id", "user_name"),
                *("request_id", "global_request_id"),
            )
        }
        for kwargs in ({}, full, {"user_id": ""}, {"roles": ["a"]}):
            with self.subTest(kwargs):
                context.RequestContext(**kwargs)
                for created in (1e9 + 0.0625, 1e9 + 0.9999, 2e9):
                    self.assertEqual(
                        formatter._other.format(self.record(created=created)),
                        formatter.format(self.record(created=created)),
                    )
        self.assertRegex(
            formatter.format(self.record()),
            rf"^2001-09-0\d \d\d:\d\d:40\.062 {os.getpid()} INFO {LOGGER} "
            r"\[None req-\S+ - - - - - -\] this is ü$",
        )

    def test_other_lines(self):
        formatter = self.formatter()
        context.RequestContext(user_id="u")
        with mock.patch.object(formatter, "_other") as other:
            formatter.format(self.record("images_service.app"))
            oslo_context._request_store.context = None
            formatter.format(self.record())
        self.assertEqual(2, other.format.call_count)

    def test_a_format_of_the_operator_is_kept(self):
        for options in (
            {"logging_context_format_string": "%(message)s"},
            {"logging_user_identity_format": "%(user)s"},
            {"use_json": "True"},
        ):
            with self.subTest(options):
                self.assertNotIsInstance(
                    self.formatter(**options), request_log.Formatter
                )

    def test_a_date_of_the_operator_is_kept(self):
        formatter = self.formatter(log_date_format="%d.%m.%Y")
        context.RequestContext()
        self.assertRegex(
            formatter.format(self.record()), r"^\d\d\.09\.2001\.062 "
        )


class TestContext(base.ApiTestCase):
    def test_a_request_has_one_context(self):
        with mock.patch.object(
            context.RequestContext, "update_store"
        ) as registered:
            self.assertEqual(200, self.request("GET", "/images").status_int)
        registered.assert_called_once_with()
