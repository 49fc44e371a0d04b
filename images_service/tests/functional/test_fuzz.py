# SPDX-License-Identifier: Apache-2.0
"""No request, however malformed, is answered 500, on any database."""

import io
import json

from gunicorn import config as gunicorn_config
from gunicorn.http import parser
import hypothesis
from hypothesis import strategies as st

from images_service import exception
from images_service.api import routes
from images_service.glance import records
from images_service.tests import backends
from images_service.tests import base

FAULTS = {
    status: name
    for error, (status, name) in exception.FAULTS.items()
    if error is not exception.Unexpected
}

# Text as WSGI has it: bytes, as Latin-1.
latin1 = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))
# What a server lets pass as the value of a header.
value = latin1.map(
    lambda text: "".join(c for c in text if c == "\t" or c >= " ")
)
ids = st.sampled_from(
    [*base.IDS.values(), base.UNKNOWN, "abc", "detail", "%00", ""]
)
segment = st.one_of(
    ids,
    latin1,
    st.sampled_from(
        ["images", "metadata", "v2.1", "v2", base.OWNER, base.OTHER, "foo", ""]
    ),
)


def mostly(good, odd):
    """Draw what is well-formed three times out of four.

    So that a request has an oddity or two, and gets past the first check.
    """
    return st.one_of(good, good, good, odd)


known_target = st.builds(
    lambda prefix, route, image_id, key: (
        route.method,
        prefix + route.path.format(image_id=image_id, key=key),
    ),
    mostly(
        st.sampled_from(["/v2.1", "/v2", f"/v2.1/{base.OWNER}"]),
        st.sampled_from([f"/v2.1/{base.OTHER}", "", "//v2.1"]),
    ),
    st.sampled_from(routes.ROUTES),
    mostly(st.sampled_from(list(base.IDS.values())), ids),
    mostly(st.just("foo"), latin1),
)
method = mostly(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.one_of(
        st.sampled_from(["HEAD", "OPTIONS", "PATCH"]),
        st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ-!#$", min_size=1, max_size=12),
    ),
)
path = st.one_of(
    known_target.map(lambda target: target[1]),
    st.lists(segment, max_size=7).map(lambda parts: "/" + "/".join(parts)),
    latin1,
)
target = mostly(known_target, st.tuples(method, path))
number = st.builds(
    lambda name, value: f"{name}={value}",
    st.sampled_from(["limit", "minRam", "minDisk"]),
    st.sampled_from(
        [
            "0001",
            "-1",
            # More digits than int() reads.
            "9" * 5000,
            "0" * 5000,
            "0" * 5000 + "1",
            "-" + "0" * 5000,
        ]
    ),
)
parameter = st.builds(
    lambda name, value: f"{name}={value}",
    st.sampled_from(
        [
            "limit",
            "marker",
            "name",
            "status",
            "minRam",
            "minDisk",
            "type",
            "server",
            "changes-since",
            "property-foo",
            "property-",
            "page_size",
            "offset",
            "other",
            "%ff",
        ]
    ),
    st.one_of(
        latin1,
        ids,
        st.integers().map(str),
        st.datetimes().map(lambda time: time.isoformat()),
        st.sampled_from(
            [
                "",
                "0",
                "1",
                "ACTIVE",
                "error",
                "%00",
                "%ff",
                "%ed%a0%80",
                "%F0%9F%98%80",
                "0001-01-01T00:00:00%2B14:00",
                "9999-12-31T23:59:59-14:00",
            ]
        ),
    ),
)
query = st.one_of(
    st.just(""),
    st.just(""),
    st.lists(mostly(parameter, number), max_size=5).map("&".join),
    latin1,
)
scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "a\0", "k" * 256, "[1]", "{", "\U0001f600"]),
)
key = st.one_of(
    st.sampled_from(["metadata", "meta", "foo", "name", "mappings", "a\n"]),
    st.text(max_size=10),
)
anything = st.recursive(
    scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(key, inner, max_size=3)
    ),
    max_leaves=6,
)
pairs = st.dictionaries(
    st.sampled_from(["foo", "bar", "mappings", "block_device_mapping"]),
    st.one_of(st.just("x"), st.text(max_size=10), scalar),
    max_size=3,
)
document = mostly(
    st.sampled_from(
        [{"metadata": {"foo": "x"}}, {"metadata": {}}, {"meta": {"foo": "y"}}]
    ),
    st.one_of(
        anything,
        pairs.map(lambda items: {"metadata": items}),
        pairs.map(lambda items: {"meta": items}),
    ),
)
body = mostly(
    document.map(lambda value: json.dumps(value).encode()),
    st.one_of(
        st.just(b""),
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"[" * 100_000,
                b'{"metadata": {}}' + b" " * 120_000,
                b'{"metadata": ' + b"1" * 5000 + b"}",
                b"\xef\xbb\xbf{}",
            ]
        ),
    ),
)


class Reset(io.BytesIO):
    """The body of a client that resets its connection in the middle."""

    def read(self, size=-1):
        found = super().read(2)
        if not found:
            raise ConnectionResetError
        return found


def chunked(body, size, old, new, cut):
    """Return a body as gunicorn reads it from chunks.

    :param size: of a chunk, in bytes.
    :param old: what of the chunked body is damaged first.
    :param new: what takes its place.
    :param cut: how many bytes of it are missing at the end.
    """
    size = max(size, len(body) // 100)
    sent = b"".join(
        b"%x\r\n%b\r\n" % (len(chunk), chunk)
        for start in range(0, len(body), size)
        if (chunk := body[start : start + size])
    )
    sent = (sent + b"0\r\n\r\n").replace(old, new, 1)
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    source = iter([head + sent[: len(sent) - cut]])
    address = ("127.0.0.1", 1)
    return next(
        parser.RequestParser(gunicorn_config.Config(), source, address)
    ).body


# How a body is sent: WSGI's input, made of its bytes, and whether the server
# ends it, so that no header tells its length.
damaged_chunks = st.builds(
    lambda *damage: (lambda body: chunked(body, *damage), True),
    st.integers(1, 30),
    mostly(st.just(b""), st.sampled_from([b"\r\n", b"0\r\n", b"\r\n\r\n"])),
    mostly(
        st.just(b""),
        st.sampled_from(
            [
                b"\n",
                b"zz\r\n",
                b"-1\r\n",
                b"0x1\r\n",
                b"0" * 5000,
                b"f" * 5000 + b"\r\n",
                b";=\r\n",
                b"\r\nno trailer\r\n\r\n",
                b"\r\nContent-Length: 1\r\n\r\n",
            ]
        ),
    ),
    mostly(st.just(0), st.integers(1, 30)),
)
framing = mostly(
    st.sampled_from([(io.BytesIO, False), (io.BytesIO, True)]),
    st.one_of(damaged_chunks, st.just((Reset, False)), st.just((Reset, True))),
)
headers = mostly(
    st.just({}),
    st.dictionaries(
        st.sampled_from(
            [
                "HTTP_OPENSTACK_API_VERSION",
                "HTTP_X_OPENSTACK_NOVA_API_VERSION",
                "HTTP_IF_MATCH",
                "HTTP_IF_NONE_MATCH",
                "HTTP_ACCEPT",
                "HTTP_HOST",
                "HTTP_X_OPENSTACK_REQUEST_ID",
                "HTTP_ORIGIN",
                "CONTENT_TYPE",
                "CONTENT_LENGTH",
                "HTTP_X_AUTH_TOKEN",
                "HTTP_X_PROJECT_ID",
                "HTTP_AUTHORIZATION",
                "HTTP_COOKIE",
                "HTTP_TRANSFER_ENCODING",
            ]
        ),
        st.one_of(
            value,
            st.sampled_from(
                [
                    "compute 2.35",
                    "compute 2.36",
                    "compute 2.39",
                    "2.1",
                    "latest",
                    '"1"',
                    "*",
                    'W/"1"',
                    "application/json",
                    "text/plain",
                    "0",
                    "-1",
                    "1e3",
                    "99999999999999999999",
                    "u:p",
                    "a:b:c",
                    "[::1]:80",
                    "x:y:z",
                ]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
token = mostly(
    st.sampled_from(list(base.TOKENS.values())),
    st.sampled_from([None, "alice:", ":", "x", "alice:\xc3\xbc"]),
)


class Fuzz(backends.OnBackend):
    requests: int

    def setUp(self):
        self.options = {"connection": self.connection}
        super().setUp()

    def send(self, target, query, token, headers, body, framing):
        method, path = target
        make_input, terminated = framing
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8774",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost:8774",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": make_input(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": terminated,
            "CONTENT_LENGTH": str(len(body)),
        }
        if terminated:
            del environ["CONTENT_LENGTH"]
        if token is not None:
            environ["HTTP_X_AUTH_TOKEN"] = token
        environ.update(headers)
        answered = []

        def start_response(status, headers, exc_info=None):
            answered.append((status, headers))

        return b"".join(self.app(environ, start_response)), *answered[-1]

    def test_only_documented_faults(self):
        self.seen: set[int] = set()
        self.images = [records.new_image(r, base.NOW) for r in base.samples()]
        throw = hypothesis.given(
            st.tuples(target, query, token, headers, body, framing)
        )(self.check)
        hypothesis.settings(
            max_examples=self.requests,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )(throw)()
        # The requests have got everywhere, not only to the first check.
        self.assertLessEqual({200, 204, 400, 401, 403, 404, 405}, self.seen)

    def check(self, request):
        answer, status, headers = self.send(*request)
        number = int(status.split()[0])
        self.seen.add(number)
        if number == 204:
            # What was deleted is there again for those that come after.
            self.store.add(self.images, replace=True)
        self.assertRegex(status, r"^[2-5][0-9]{2} [ -~]+$")
        for name, text in headers:
            self.assertRegex(name, r"^[A-Za-z0-9-]+$")
            self.assertRegex(text, r"^[\t -~\x80-\xff]*\Z")
        if number < 400:
            self.assertIn(number, (200, 204, 304))
        elif request[0][0] == "HEAD":
            self.assertEqual(b"", answer)
        else:
            self.assertEqual("application/json", dict(headers)["Content-Type"])
            ((name, fault),) = json.loads(answer).items()
            self.assertEqual(FAULTS.get(number), name, answer)
            self.assertEqual(number, fault["code"])
        if "HTTP_HOST" not in request[3] and answer:
            self.assertNotIn(b"Traceback", answer)


class TestSqlite(Fuzz, base.ApiTestCase):
    backend = "sqlite"
    requests = 10_000


class TestMysql(Fuzz, base.ApiTestCase):
    backend = "mysql"
    requests = 5_000


class TestPostgresql(Fuzz, base.ApiTestCase):
    backend = "postgresql"
    requests = 5_000
