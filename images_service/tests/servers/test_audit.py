# SPDX-License-Identifier: Apache-2.0
"""Audit events through a real RabbitMQ, which hangs, ends and comes back."""

from concurrent import futures
import configparser
import re
import signal
import time
import typing
import unittest

from oslo_config import cfg

from images_service.tests import base
from images_service.tests import notifications
from images_service.tests.cloud import cloud
from images_service.tests.cloud import processes as cloud_processes
from images_service.tests.servers import guide
from images_service.tests.servers import processes
from images_service.tests.servers import tcp_proxy

OWN, PUBLIC = base.IDS["own"], base.IDS["public"]


def options(url):
    """Return what the page says of [audit], with another URL."""
    path = f"{guide.ROOT}/doc/source/admin/audit.rst"
    with open(path, encoding="utf-8") as file:
        (block,) = re.findall(
            r"code-block:: ini\n\n((?:   .*\n)+)", file.read()
        )
    parser = configparser.ConfigParser()
    parser.read_string(re.sub("^   ", "", block, flags=re.MULTILINE))
    found = dict(parser["audit"])
    assert found["transport_url"].startswith("rabbit://images:PASSWORD@")
    return {**found, "transport_url": url}


class TestAudit(base.TestCase):
    rabbitmq: typing.Any
    proxy: tcp_proxy.Proxy

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cloud_processes.RabbitMQ.installed():
            raise unittest.SkipTest("RabbitMQ is not installed")

    def setUp(self):
        super().setUp()
        folder = self.make_folder()
        mapper = cloud_processes.PortMapper(folder)
        self.rabbitmq = cloud_processes.RabbitMQ(folder, mapper)
        for server in (mapper, self.rabbitmq):
            self.addCleanup(server.stop)
            server.start()
            server.wait()
        self.proxy = tcp_proxy.Proxy(self.rabbitmq.port)
        self.addCleanup(self.proxy.close)
        self.api = processes.Api(folder, workers=2)
        url = self.rabbitmq.transport_url.replace(
            str(self.rabbitmq.port), str(self.proxy.port)
        )
        conf = base.configuration(self.api.folder, audit=options(url))
        self.make_store(conf)
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()
        self.events: dict[str, dict] = {}
        self.listen()

    def listen(self):
        """Keep the events that arrive, by the ids of their requests."""
        test = self

        class Endpoint:
            def info(self, _context, _publisher, kind, payload, _metadata):
                test.assertEqual("audit.http.response", kind)
                request_id = payload["initiator"]["request_id"]
                test.assertNotIn(request_id, test.events)
                test.events[request_id] = payload

        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        notifications.listen(
            self, conf, self.rabbitmq.transport_url, Endpoint()
        )

    def ask(self, method, path, token="member", body=None):
        """Send a request; return status, id and seconds."""
        start = time.monotonic()
        client = cloud.Client(self.api.url, lambda: base.TOKENS.get(token, ""))
        response = client.request(method, f"/v2.1/images{path}", body)
        return (
            response.status_code,
            response.headers["x-openstack-request-id"],
            time.monotonic() - start,
        )

    def change(self, number):
        """Change an image; return the id of the request, and its seconds."""
        status, request_id, seconds = self.ask(
            "PUT",
            f"/{OWN}/metadata/key-{number % 4}",
            body={"meta": {f"key-{number % 4}": "value-of-the-caller"}},
        )
        self.assertEqual(200, status)
        return request_id, seconds

    def logged(self):
        """Return the ids of requests whose events the log has."""
        with open(self.api.log, encoding="utf-8") as file:
            lines = [
                line
                for line in file
                if "Audit event that was not sent" in line
                or "Could not send notification" in line
            ]
        self.assertNotIn("value-of-the-caller", "".join(lines))
        return set(
            re.findall(
                r"request_id['\"]: ['\"](req-[0-9a-f-]+)", "".join(lines)
            )
        )

    def wait_for(self, request_ids, *, seconds=30.0, in_log=False):
        """Wait until events have arrived, or are in the log."""
        deadline = time.monotonic() + seconds
        while (
            missing := set(request_ids)
            - self.events.keys()
            - (self.logged() if in_log else set())
        ):
            self.assertLess(time.monotonic(), deadline, missing)
            time.sleep(0.1)

    def test_who_and_what(self):
        expected = {}
        for method, path, token, status, who, image, word in (
            ("DELETE", f"/{PUBLIC}", "member", 403, "alice", PUBLIC, "delete"),
            ("GET", f"/{OWN}", None, 401, "unknown", "unknown", "unknown"),
            (
                "DELETE",
                f"/{OWN}/metadata/foo",
                "admin",
                204,
                "admin",
                OWN,
                "update",
            ),
            ("DELETE", f"/{OWN}", "member", 204, "alice", OWN, "delete"),
        ):
            found, request_id, _ = self.ask(method, path, token)
            self.assertEqual(status, found)
            expected[request_id] = (str(status), who, image, word)
        self.ask("GET", "")
        self.wait_for(expected)
        self.assertEqual(
            expected,
            {
                request_id: (
                    event["reason"]["reasonCode"],
                    event["initiator"]["id"],
                    event["target"]["id"],
                    event["action"],
                )
                for request_id, event in self.events.items()
            },
        )
        self.assertEqual(set(), self.logged())

    def test_a_broker_that_hangs(self):
        first, _ = self.change(0)
        self.wait_for([first])
        start = time.monotonic()
        asked: list[tuple[str, float]] = []
        with self.proxy.swallowing(), futures.ThreadPoolExecutor(6) as pool:
            while time.monotonic() < start + 10:
                asked += pool.map(self.change, range(24))
        print(
            f"{len(asked)} changes while RabbitMQ hangs, the slowest one in "
            f"{max(seconds for _, seconds in asked):.2f} s"
        )
        self.assertLess(max(seconds for _, seconds in asked), 3)
        self.wait_for([request_id for request_id, _ in asked], in_log=True)
        # It goes on.
        last, _ = self.change(0)
        self.wait_for([last])

    def test_a_broker_that_ends_and_comes_back(self):
        first, _ = self.change(0)
        self.wait_for([first])
        self.rabbitmq.kill()
        self.proxy.reset()
        asked = [self.change(number) for number in range(20)]
        self.assertLess(max(seconds for _, seconds in asked), 3)
        self.rabbitmq.start()
        self.rabbitmq.wait()
        self.wait_for(
            [request_id for request_id, _ in asked], seconds=90, in_log=True
        )
        last, _ = self.change(0)
        self.wait_for([last])

    def test_the_end_of_the_service(self):
        asked = [self.change(number)[0] for number in range(10)]
        self.api.stop()
        self.assertEqual(0, self.api.process.returncode)
        self.wait_for(asked)
        self.assertEqual(set(), self.logged())

    def test_the_end_of_the_service_while_the_broker_hangs(self):
        self.change(0)
        with self.proxy.swallowing():
            asked = [self.change(number)[0] for number in range(10)]
            start = time.monotonic()
            self.api.process.send_signal(signal.SIGTERM)
            self.assertEqual(0, self.api.process.wait(20))
            seconds = time.monotonic() - start
        self.assertLess(seconds, 10)
        self.wait_for(asked, in_log=True, seconds=5)
