# SPDX-License-Identifier: Apache-2.0
import io
import unittest

from images_service.cmd import access_log
from images_service.cmd.access_log import Request

PROJECT = "8a4ce6f2c1d34b4f8d59e9a4b5d0c7e1"
PATH = f"/v2.1/{PROJECT}/images/detail"
# Lines of logs, and the requests in them.
LINES = {
    # nginx and Apache, "combined".
    '192.0.2.7 - alice [27/Nov/2026:02:31:47 +0000] "GET '
    f'{PATH}?limit=1 HTTP/1.1" 200 4686 "-" "fog/2.4 GET /x"': Request(
        "GET", f"{PATH}?limit=1"
    ),
    # nginx, of bytes that are no printable ASCII, and of quotes.
    r'192.0.2.7 - - [27/Nov/2026:02:31:47 +0000] "GET '
    r'/v2.1/images?name=\xC3\xBC\x22 HTTP/1.1" 200 4686 "-" "-"': Request(
        "GET", "/v2.1/images?name=%C3%BC%22"
    ),
    # Through a proxy that was sent a whole URL.
    '192.0.2.7 - - [27/Nov/2026:02:31:47 +0000] "HEAD '
    'https://cloud.example:8774/v2/images HTTP/2.0" 200 0': Request(
        "HEAD", "/v2/images"
    ),
    # HAProxy, option httplog.
    "Nov 27 02:31:47 here haproxy[42]: 192.0.2.7:33317 [27/Nov/2026:02:31:47."
    "655] compute images_service/one 10/0/30/69/109 200 2750 - - ---- "
    f'1/1/1/1/0 0/0 {{|}} {{}} "DELETE {PATH}#22 HTTP/1.1"': Request(
        "DELETE", f"{PATH}%22"
    ),
    # This service's own, and Nova's under eventlet.
    "2026-11-27 02:31:47.1 7 INFO images_service.middleware.request_log [None "
    f'req-1e0b alice a1b2 - - default default] 192.0.2.7 "GET {PATH}%20x '
    'HTTP/1.1" status: 200 len: 4686 time: 0.000220': Request(
        "GET", f"{PATH}%20x"
    ),
    # Nova's own; the path is decoded, and its bytes are those of Latin-1.
    "2026-11-27 02:31:47.1 7 INFO nova.api.openstack.requestlog [None req-1e0b"
    f' alice a1b2 - - default default] 192.0.2.7 "GET {PATH}/a b%Ã¼?x=%20" '
    "status: 200 len: 4686 microversion: 2.35 time: 0.012345": Request(
        "GET", f"{PATH}/a%20b%25%C3%BC?x=%20", "2.35"
    ),
    '192.0.2.7 "GET /v2.1/images" status: 404 len: 1 microversion: - time: '
    "0.012345": Request("GET", "/v2.1/images"),
    # uWSGI's own.
    "[pid: 7|app: 0|req: 1/1] 192.0.2.7 () {28 vars in 300 bytes} [Fri Nov 27 "
    f"02:31:47 2026] GET {PATH} => generated 4686 bytes in 3 msecs (HTTP/1.1 "
    "200) 5 headers in 200 bytes (1 switches on core 0)": Request("GET", PATH),
    # Lists.
    f"GET {PATH}\n": Request("GET", PATH),
    f"POST {PATH} HTTP/1.1": Request("POST", PATH),
    f"{PATH}?name=ü\r\n": Request("GET", f"{PATH}?name=%C3%BC"),
    f"http://cloud.example:8774{PATH}": Request("GET", PATH),
    # None.
    "": None,
    "# images\n": None,
    "2026-11-27 02:31:47.1 7 WARNING nova.x [-] GET /v2.1/images failed": None,
    '"\x00\x16\x03" 400 0': None,
}


class TestFind(unittest.TestCase):
    def test_lines(self):
        for line, request in LINES.items():
            with self.subTest(line):
                self.assertEqual(request, access_log.find(line))


class TestReads(unittest.TestCase):
    def read(self, *lines, prefix="", project=None, microversion=None):
        reads = access_log.Reads(prefix, project, microversion)
        reads.read(io.StringIO("\n".join(lines)))
        return reads

    def test_only_reads_of_images(self):
        reads = self.read(
            *("GET /v2.1/images", "/v2.1/images", "HEAD /v2/images"),
            "GET /v2.1//images?limit=1",
            *("POST /v2.1/images/x/metadata", "DELETE /v2.1/images/x"),
            *("PATCH /v2.1/images", "OPTIONS /v2.1/images"),
            *("/v2.1/servers", "/v2.1", "/", "/v2.1/images/", "/v3/images"),
            # A key pair with this name.
            "/v2.1/os-keypairs/images",
            # Glance's, in the same log.
            "/image/v2/images",
            "GET /v2.1/x/images no request",
        )
        self.assertEqual(
            {
                Request("GET", "/v2.1/images"): 2,
                Request("HEAD", "/v2/images"): 1,
                Request("GET", "/v2.1//images?limit=1"): 1,
            },
            reads.times,
        )
        self.assertEqual((4, 7), (reads.writes, reads.others))

    def test_the_prefix_of_nova(self):
        reads = self.read(
            *("/compute/v2.1/images", "/v2.1/images"), prefix="/compute"
        )
        self.assertEqual({Request("GET", "/v2.1/images"): 2}, reads.times)

    def test_another_project(self):
        reads = self.read(
            *(PATH, "/v2/a1b2/images?x", "/v2.1/images/detail"),
            project="ours/../1",
        )
        self.assertEqual(
            [
                "/v2.1/ours%2F..%2F1/images/detail",
                "/v2/ours%2F..%2F1/images?x",
                "/v2.1/images/detail",
            ],
            [request.target for request in reads.times],
        )

    def test_microversions(self):
        reads = self.read(
            *(
                PATH,
                f'"GET {PATH}" status: 200 len: 1 microversion: 2.7 time:',
            ),
            microversion="2.30",
        )
        self.assertEqual(
            ["2.30", "2.7"], [request.microversion for request in reads.times]
        )

    def test_lines_without_end(self):
        reads = self.read("x" * 1_000_000, PATH)
        self.assertEqual([PATH], [request.target for request in reads.times])
