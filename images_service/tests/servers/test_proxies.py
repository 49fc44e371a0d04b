# SPDX-License-Identifier: Apache-2.0
"""The proxies' configurations: paths, headers, slow clients, dead nodes."""

import http.client
import http.server
import json
import os
import socket
import threading
import time

from images_service.tests import base
from images_service.tests.servers import processes

ETC = os.path.join(os.path.dirname(__file__), "..", "..", "..", "etc")
# What is this service's, and what is Nova's.
IMAGES = (
    "/v2.1/images",
    "/v2.1/a1/images",
    "/v2.1/a1/images/detail?limit=1",
    "/v2/a1/images/x/metadata/a%20b",
    "/v2.1/a1//images",
    "//v2.1//images/detail",
)
NOVA = (
    "/",
    "/v2.1/",
    "/v2.1/a1/servers",
    "/v2.1/a1/servers/images",
    "/v2.1/a1/os-images",
    "/v2.1/a1/imagesx",
    "/v3/a1/images",
    # A key pair and a flavor were taken for projects' images.
    "/v2.1/os-keypairs/images",
    "/v2.1/flavors/images/os-extra_specs",
)
# Headers by which a client could say that it is another one, or that it asks
# another server. gunicorn reads the last three.
FORGED = {
    "Forwarded": "for=10.0.0.1;host=forged.example;proto=https",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Host": "forged.example",
    "X-Forwarded-Prefix": "/forged",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X_Forwarded_Host": "forged.example",
    "Script_Name": "/forged",
}
CLIENT = "127.0.0.2"
# A page that no node answers: its connection ends.
DEADLY = "/v2.1/a1/images/deadly"


class Node(http.server.ThreadingHTTPServer):
    """A server that answers with the request, as JSON, until a test ends."""

    def __init__(self, test, name):
        self.name = name
        self.seen = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        test.addCleanup(self.server_close)
        test.addCleanup(self.shutdown)

    def handle_error(self, *args):
        """Say nothing: clients and proxies leave as they like."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Node
    protocol_version = "HTTP/1.1"

    def answer(self):
        # Its own attribute has lost slashes.
        path = self.requestline.split()[1]
        self.server.seen.append(f"{self.command} {path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == DEADLY:
            self.close_connection = True
            return
        if path.endswith("/slow"):
            time.sleep(12)
        body = json.dumps(
            {
                "name": self.server.name,
                "path": path,
                "headers": self.headers.items(),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *args):
        """Say nothing."""


class HAProxy(processes.HTTPServer):
    def __init__(self, folder, site, ports):
        super().__init__(folder, "haproxy")
        with open(site, encoding="utf-8") as file:
            text = file.read()
        for known, port in {8774: self.port, **ports}.items():
            text = text.replace(f":{known}", f":{port}")
        with open(f"{self.folder}/cfg", "w", encoding="utf-8") as file:
            file.write(text)

    @staticmethod
    def installed():
        return processes.find("haproxy")

    def command(self):
        return [processes.find("haproxy"), "-db", "-f", f"{self.folder}/cfg"]


class Proxied(base.Mixin):
    proxy_class: type[processes.Nginx | HAProxy]
    site: str
    # Bytes that the proxy answers itself, the status, and the fault's name.
    errors: tuple[tuple[bytes, int, str], ...]

    def setUp(self):
        super().setUp()
        if not self.proxy_class.installed():
            self.skipTest(f"{self.proxy_class.__name__} is not installed")

    def start(self, one, two):
        """Start the proxy in front of two nodes' ports, and a Nova."""
        self.nova = Node(self, "nova")
        self.proxy = self.proxy_class(
            self.make_folder(),
            os.path.join(ETC, self.site),
            {8775: one, 8776: two, 18774: self.nova.server_port},
        )
        self.addCleanup(self.proxy.stop)
        self.proxy.start()
        deadline = time.monotonic() + processes.SECONDS_TO_START
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self.proxy.port)):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)

    def start_nodes(self):
        self.nodes = [Node(self, "image"), Node(self, "image")]
        self.start(*(node.server_port for node in self.nodes))

    def ask(self, method, path, headers=None, body=None):
        """Return status, headers and document of an answer."""
        connection = http.client.HTTPConnection(
            *("127.0.0.1", self.proxy.port),
            timeout=30,
            source_address=(CLIENT, 0),
        )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, json.load(response)
        finally:
            connection.close()

    def send(self, data):
        """Return status, headers and document of the answer to bytes."""
        with socket.create_connection(
            ("127.0.0.1", self.proxy.port), timeout=30
        ) as connection:
            connection.sendall(data)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.headers, json.load(response)

    def assertFaultOf(self, status, name, answer):
        self.assertEqual(status, answer[0])
        self.assertEqual("application/json", answer[1]["Content-Type"])
        ((key, fault),) = answer[2].items()
        self.assertEqual((name, status), (key, fault["code"]))
        self.assertEqual({"code", "message"}, set(fault))
        self.assertEqual(status == 503, "Retry-After" in answer[1])

    def open(self, data):
        """Leave a connection open, on which so much was sent."""
        connection = socket.create_connection(("127.0.0.1", self.proxy.port))
        self.addCleanup(connection.close)
        connection.sendall(data)

    def start_service(self):
        """Start the service behind the proxy, which it trusts."""
        self.api = processes.Api(self.make_folder())
        conf = base.configuration(
            self.api.folder,
            oslo_middleware={"enable_proxy_headers_parsing": True},
        )
        self.make_store(conf)
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()
        self.start(self.api.port, self.api.port)

    def test_forged_headers_are_not_passed_on(self):
        self.start_nodes()
        for path in (IMAGES[0], NOVA[2]):
            _, _, answer = self.ask("GET", path, FORGED)
            passed = sorted(
                (name.lower().replace("_", "-"), value)
                for name, value in answer["headers"]
                if name.lower().replace("_", "-") in LOWER
            )
            self.assertEqual(
                [("x-forwarded-for", CLIENT), ("x-forwarded-proto", "http")],
                passed,
            )

    def test_forged_headers_reach_neither_links_nor_the_log(self):
        self.start_service()
        path = "/v2.1/images"
        token = {"X-Auth-Token": base.TOKENS["member"]}
        status, _, answer = self.ask("GET", path, {**token, **FORGED})
        self.assertEqual(200, status)
        for image in answer["images"]:
            for link in image["links"]:
                self.assertTrue(
                    link["href"].startswith(f"{self.proxy.url}/"), link
                )
        with open(self.api.log, encoding="utf-8") as file:
            (line,) = [line for line in file if f'"GET {path} ' in line]
        self.assertIn(f'{CLIENT} "GET {path} ', line)

    def test_slow_clients_stop_nobody(self):
        self.start_service()
        path = "/v2.1/images"
        head = f"Host: x\r\nX-Auth-Token: {base.TOKENS['member']}\r\n"
        for _ in range(16):
            self.open(f"GET {path} HTTP/1.1\r\n{head}".encode())
            # Most of the longest body that the service takes.
            self.open(
                f"PUT {path}/{base.IDS['own']}/metadata HTTP/1.1\r\n{head}"
                "Content-Type: application/json\r\n"
                "Content-Length: 114688\r\n\r\n".encode()
                + b" " * 100_000
            )
        # The proxy has had time to pass on what it would.
        time.sleep(1)
        token = {"X-Auth-Token": base.TOKENS["member"]}
        for _ in range(4):
            start = time.monotonic()
            self.assertEqual(200, self.ask("GET", path, token)[0])
            self.assertLess(time.monotonic() - start, 2)

    def test_long_headers_are_passed_on(self):
        self.start_nodes()
        long = "x" * 16_000
        status, _, answer = self.ask(
            "GET", f"{IMAGES[1]}?name={long}", {"X-A": long, "X-B": long}
        )
        self.assertEqual(200, status)
        self.assertEqual(f"{IMAGES[1]}?name={long}", answer["path"])

    def test_its_own_errors_are_faults(self):
        self.start_nodes()
        for data, status, name in self.errors:
            with self.subTest(data[:20]):
                self.assertFaultOf(status, name, self.send(data))

    def test_nodes_that_are_away_are_a_fault(self):
        self.start(processes.free_port(), processes.free_port())
        for method in ("GET", "PUT", "POST", "DELETE"):
            with self.subTest(method):
                answer = self.ask(method, IMAGES[0])
                self.assertFaultOf(503, "serviceUnavailable", answer)

    def test_a_change_is_not_sent_twice(self):
        for method in ("PUT", "POST", "DELETE"):
            with self.subTest(method):
                self.start_nodes()
                answer = self.ask(method, DEADLY, body=b"{}")
                self.assertFaultOf(503, "serviceUnavailable", answer)
                seen = [each for node in self.nodes for each in node.seen]
                self.assertEqual(1, seen.count(f"{method} {DEADLY}"))

    def test_a_change_goes_to_the_other_node_where_one_is_away(self):
        for method in ("PUT", "POST", "DELETE"):
            for away in range(2):
                with self.subTest(method, away=away):
                    ports = [Node(self, "image").server_port] * 2
                    ports[away] = processes.free_port()
                    self.start(*ports)
                    for _ in range(4):
                        answer = self.ask(method, IMAGES[1], body=b"{}")
                        self.assertEqual(200, answer[0])


class BesideNova(Proxied):
    def test_paths(self):
        self.start_nodes()
        for name, paths in (("image", IMAGES), ("nova", NOVA)):
            for path in paths:
                with self.subTest(path):
                    _, _, answer = self.ask("GET", path)
                    self.assertEqual(
                        (name, path), (answer["name"], answer["path"])
                    )

    def test_a_nova_that_takes_its_time_is_waited_for(self):
        self.start_nodes()
        status, _, answer = self.ask("POST", "/v2.1/a1/servers/slow")
        self.assertEqual((200, "nova"), (status, answer["name"]))


LOWER = {name.lower().replace("_", "-") for name in FORGED}


class OfNginx(Proxied):
    proxy_class = processes.Nginx
    errors = (
        (b"no HTTP\r\n\r\n", 400, "badRequest"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "badRequest"),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "badMethod"),
        (
            b"PUT /v2.1/images HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 2000000\r\n\r\n",
            413,
            "overLimit",
        ),
        (
            b"PUT /v2.1/images HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            b"200000\r\n" + b" " * 0x100000,
            413,
            "overLimit",
        ),
        (
            b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 30_000),
            414,
            "badRequest",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * 30_000),
            431,
            "badRequest",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
            501,
            "computeFault",
        ),
    )


class TestNginx(OfNginx, base.TestCase):
    site = "nginx/images_service.conf"


class TestNginxBesideNova(OfNginx, BesideNova, base.TestCase):
    site = "nginx/beside_nova.conf"


class TestHAProxy(BesideNova, base.TestCase):
    proxy_class = HAProxy
    site = "haproxy/images_service.cfg"
    # Before it has a whole head, HAProxy has pages of its own.
    errors = (
        (
            b"PUT /v2.1/images HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 9\r\n\r\n{",
            408,
            "badRequest",
        ),
    )
