# SPDX-License-Identifier: Apache-2.0
"""A WSGI application behind an ASGI server."""

import asyncio
import threading
import time
from typing import Any
import unittest
from unittest import mock

from images_service import context
from images_service.cmd import asgi

SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "scheme": "https",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [],
    "server": ("192.0.2.1", 8774),
    "client": ("192.0.2.2", 1234),
}
CHUNKED = [(b"transfer-encoding", b"chunked")]


class TestAdapter(unittest.IsolatedAsyncioTestCase):
    """What the application is given, and what the server."""

    def setUp(self):
        self.environ: dict[str, Any] = {}
        self.status = "200 OK"
        self.adapter = asgi.Adapter(self.application, 1, 10, {})

    def application(self, environ, start_response):
        self.environ = environ
        self.body = environ["wsgi.input"].read()
        start_response(self.status, [("X-Name", "v\xe4lue")])
        return [b"a", b"b"]

    async def ask(self, *messages, adapter=None, **scope):
        """Return what is sent to the client."""
        receive = mock.AsyncMock(side_effect=messages)
        send = mock.AsyncMock()
        adapter = adapter or self.adapter
        await adapter({**SCOPE, **scope}, receive, send)
        return [call.args[0] for call in send.await_args_list]

    def part(self, body, more=False):
        return {"type": "http.request", "body": body, "more_body": more}

    async def test_an_answer(self):
        self.status = "418 I'm a teapot"
        start, body = await self.ask()
        self.assertEqual(418, start["status"])
        self.assertEqual([(b"X-Name", b"v\xe4lue")], start["headers"])
        self.assertEqual(b"ab", body["body"])

    async def test_a_request(self):
        await self.ask(
            raw_path=b"/a%20b/%C3%A4/%ff\xfe%2F",
            query_string=b"q=%20\xff",
            headers=[
                (b"host", b"example"),
                (b"content-type", b"text/plain"),
                (b"x-twice", b"1"),
                (b"x-twice", b"\xe4"),
                (b"script-name", b"/x"),
            ],
        )
        expected = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/a b/\xc3\xa4/\xff\xfe/",
            "QUERY_STRING": "q=%20\xff",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "192.0.2.1",
            "SERVER_PORT": "8774",
            "REMOTE_ADDR": "192.0.2.2",
            "REMOTE_PORT": "1234",
            "HTTP_HOST": "example",
            "CONTENT_TYPE": "text/plain",
            "HTTP_X_TWICE": "1,\xe4",
            "HTTP_SCRIPT_NAME": "/x",
            "wsgi.url_scheme": "https",
            "wsgi.input_terminated": True,
        }
        self.assertEqual(expected, {n: self.environ[n] for n in expected})

    async def test_targets_that_are_no_path(self):
        for target, path in (
            (b"http://example/v2.1/images", "/v2.1/images"),
            (b"http://example", "/"),
            (b"*", "/"),
            (b"//images", "//images"),
            (b"/images#fragment", "/images"),
        ):
            with self.subTest(target):
                await self.ask(raw_path=target)
                self.assertEqual(path, self.environ["PATH_INFO"])

    async def test_bodies(self):
        for messages, headers, body in (
            ((), [], b""),
            ((self.part(b"12345"),), [(b"content-length", b"5")], b"12345"),
            ((self.part(b"1", True), self.part(b"2")), CHUNKED, b"12"),
            # One byte more than it may have tells that it is too long.
            ((self.part(b"x" * 9, True),) * 9, CHUNKED, b"x" * 11),
            ((), [(b"content-length", b"9" * 5000)], b""),
        ):
            with self.subTest(headers):
                more = messages and messages[-1]["more_body"]
                ends = (self.part(b""),) if more else ()
                await self.ask(*messages, *ends, headers=headers)
                self.assertEqual(body, self.body)

    async def test_a_body_without_an_end_is_left_at_some_point(self):
        endless = (self.part(b"x" * 65536, True),) * 100
        await self.ask(*endless, headers=CHUNKED)
        self.assertEqual(b"x" * 11, self.body)

    async def test_a_client_that_leaves_within_its_body(self):
        gone = {"type": "http.disconnect"}
        sent = await self.ask(self.part(b"1", True), gone, headers=CHUNKED)
        self.assertEqual(([], {}), (sent, self.environ))

    async def test_a_body_that_stays_away(self):
        async def never():
            await asyncio.sleep(60)

        with (
            mock.patch.object(asgi, "BODY_SECONDS", 0.01),
            self.assertRaises(ValueError),
        ):
            await self.adapter(
                {**SCOPE, "headers": CHUNKED}, never, mock.AsyncMock()
            )
        self.assertEqual("GET", self.environ["REQUEST_METHOD"])

    async def test_health_and_metrics_while_all_threads_wait(self):
        thaw = threading.Event()
        self.addCleanup(thaw.set)

        def application(environ, start_response):
            if environ["PATH_INFO"] == "/v2.1/images":
                thaw.wait(60)
            return self.application(environ, start_response)

        def metrics(_environ, start_response):
            start_response("202 Accepted", [])
            return []

        adapter = asgi.Adapter(application, 1, 10, {9774: metrics})
        waiting = [
            asyncio.create_task(
                self.ask(adapter=adapter, raw_path=b"/v2.1/images")
            )
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            for path in (b"/healthcheck", b"/"):
                start, _ = await self.ask(adapter=adapter, raw_path=path)
                self.assertEqual(200, start["status"])
            start, _ = await self.ask(
                adapter=adapter, server=("192.0.2.1", 9774)
            )
            self.assertEqual(202, start["status"])
        thaw.set()
        self.assertEqual(3, len(await asyncio.gather(*waiting)))

    async def test_the_time_of_arrival(self):
        """A request's deadlines did not count its wait for a thread."""
        thaw = threading.Event()
        self.addCleanup(thaw.set)

        def application(environ, start_response):
            thaw.wait(60)
            return self.application(environ, start_response)

        adapter = asgi.Adapter(application, 1, 10, {})
        waiting = [
            asyncio.create_task(self.ask(adapter=adapter, raw_path=b"/x"))
            for _ in range(2)
        ]
        await asyncio.sleep(0.1)
        before = time.monotonic()
        await asyncio.sleep(0.1)
        thaw.set()
        await asyncio.gather(*waiting)
        self.assertLess(context.of_request(self.environ).began, before)

    async def test_requests_of_clients_that_have_left(self):
        """They kept the threads, and the next client waited for them."""
        began, thaw = threading.Event(), threading.Event()
        self.addCleanup(thaw.set)
        paths = []

        def application(environ, start_response):
            paths.append(environ["PATH_INFO"])
            began.set()
            thaw.wait(60)
            return self.application(environ, start_response)

        adapter = asgi.Adapter(application, 1, 10, {})
        first = asyncio.create_task(self.ask(adapter=adapter, raw_path=b"/1"))
        await asyncio.to_thread(began.wait, 60)
        leaving = asyncio.create_task(
            self.ask(adapter=adapter, raw_path=b"/2")
        )
        await asyncio.sleep(0)
        leaving.cancel()
        thaw.set()
        await first
        await self.ask(adapter=adapter, raw_path=b"/3")
        self.assertEqual(["/1", "/3"], paths)

    async def test_a_health_check_waited_for_slow_scrapes(self):
        thaw = threading.Event()
        self.addCleanup(thaw.set)

        def metrics(environ, start_response):
            thaw.wait(60)
            return self.application(environ, start_response)

        adapter = asgi.Adapter(self.application, 1, 10, {9774: metrics})
        scrapes = [
            asyncio.create_task(
                self.ask(adapter=adapter, server=("192.0.2.1", 9774))
            )
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            start, _ = await self.ask(
                adapter=adapter, raw_path=b"/healthcheck"
            )
        self.assertEqual(200, start["status"])
        thaw.set()
        await asyncio.gather(*scrapes)

    async def test_a_client_that_leaves_before_its_answer(self):
        began, thaw, errors = threading.Event(), threading.Event(), mock.Mock()
        asyncio.get_running_loop().set_exception_handler(errors)

        def application(environ, start_response):
            began.set()
            thaw.wait(60)
            return self.application(environ, start_response)

        adapter = asgi.Adapter(application, 1, 10, {})
        leaving = asyncio.create_task(
            self.ask(adapter=adapter, raw_path=b"/v2.1/images")
        )
        await asyncio.to_thread(began.wait, 60)
        leaving.cancel()
        thaw.set()
        # The one thread is free again, and nothing was logged.
        async with asyncio.timeout(5):
            start, _ = await self.ask(adapter=adapter, raw_path=b"/x")
        self.assertEqual(200, start["status"])
        self.assertTrue(leaving.cancelled())
        errors.assert_not_called()
