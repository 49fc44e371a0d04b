# SPDX-License-Identifier: Apache-2.0
"""The proxies' configurations send each path where it belongs."""

import functools
import http.client
import os

from images_service.tests import base
from images_service.tests.servers import processes
from images_service.tests.servers import stubs

ETC = os.path.join(os.path.dirname(__file__), "..", "..", "..", "etc")
# What is this service's, and what is Nova's.
IMAGES = (
    "/v2.1/images",
    "/v2.1/p/images",
    "/v2.1/p/images/detail?limit=1",
    "/v2/p/images/x/metadata/a%20b",
    "/v2.1/p//images",
    "//v2.1//images/detail",
)
NOVA = (
    "/",
    "/v2.1/",
    "/v2.1/p/servers",
    "/v2.1/p/servers/images",
    "/v2.1/p/os-images",
    "/v2.1/p/imagesx",
    "/v3/p/images",
)


def echo(name, request):
    """Say who is asked, and what."""
    proto = request.headers.get("X-Forwarded-Proto", "-")
    return f"{name} {request.requestline.split()[1]} {proto}".encode()


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


class Proxied:
    proxy_class: type[processes.HTTPServer]
    site: str

    def setUp(self):
        super().setUp()
        if not self.proxy_class.installed():
            self.skipTest(f"{self.proxy_class.__name__} is not installed")
        ports = {}
        for known, name in ((8775, "image"), (8776, "image"), (18774, "nova")):
            ports[known] = stubs.serve(self, functools.partial(echo, name))
        self.proxy = self.proxy_class(
            self.make_folder(), os.path.join(ETC, self.site), ports
        )
        self.addCleanup(self.proxy.stop)
        self.proxy.start()
        self.proxy.wait()

    def test_paths(self):
        for name, paths in (("image", IMAGES), ("nova", NOVA)):
            for path in paths:
                with self.subTest(path):
                    connection = http.client.HTTPConnection(
                        "127.0.0.1", self.proxy.port
                    )
                    connection.request("GET", path)
                    answer = connection.getresponse().read().decode()
                    connection.close()
                    self.assertTrue(
                        answer.startswith(f"{name} {path} "), answer
                    )
                    self.assertTrue(answer.endswith(" http"), answer)


class TestNginx(Proxied, base.TestCase):
    proxy_class = processes.Nginx
    site = "nginx/beside_nova.conf"


class TestHAProxy(Proxied, base.TestCase):
    proxy_class = HAProxy
    site = "haproxy/images_service.cfg"
