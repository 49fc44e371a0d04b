# SPDX-License-Identifier: Apache-2.0
import atexit
import json
import re
import threading
import time
from unittest import mock

from oslo_config import cfg
from pycadf import cadftaxonomy
from pycadf import timestamp
import webob

from images_service import app
from images_service.middleware import audit
from images_service.middleware import pipeline
from images_service.tests import base
from images_service.tests import notifications
from images_service.tests.unit.test_documentation import read

OWN, PUBLIC = base.IDS["own"], base.IDS["public"]
LOGGER = audit.__name__


class Kept(audit.Sender):
    """A sender of the tests, which does not outlive them."""

    def __init__(self, test, send):
        super().__init__(send)
        test.addCleanup(atexit.unregister, self._finish)


class TestFactory(base.TestCase):
    def make(self, url):
        return audit.filter_factory(
            {pipeline.CONF: self.make_conf(audit={"transport_url": url})}
        )

    def test_off(self):
        made = mock.Mock()
        found = audit.filter_factory({pipeline.CONF: self.make_conf()})(made)
        self.assertIs(made, found)

    def test_oslo_messaging_is_missing(self):
        with (
            mock.patch.dict("sys.modules", {"oslo_messaging": None}),
            self.assertRaisesRegex(cfg.Error, r"pip install '\.\[audit\]'"),
        ):
            self.make("rabbit://")

    def test_no_url_of_a_broker(self):
        for url in ("x", "rabit://u:secret@h/", "rabbit://u:secret@h:x/"):
            with self.subTest(url):
                with self.assertRaisesRegex(cfg.Error, "^.audit.") as caught:
                    self.make(url)
                self.assertNotIn("secret", str(caught.exception))

    def test_the_notification(self):
        """As a consumer gets it from oslo.messaging."""
        got = []

        class Endpoint:
            def info(self, *args):
                # Other tests of the process may have sent some.
                if args[3] == {"id": "1"}:
                    got.append(args)

        conf = self.make_conf(audit={"transport_url": "fake:/"})
        send = audit._notifier(conf)
        notifications.listen(self, conf, "fake:/", Endpoint())
        send({"id": "1"})
        deadline = time.monotonic() + 5
        while not got and time.monotonic() < deadline:
            time.sleep(0.01)
        ((context, publisher, event_type, _, _),) = got
        self.assertEqual(({}, "audit.http.response"), (context, event_type))
        self.assertRegex(publisher, r"^images_service\..")


class TestEvents(base.ApiTestCase):
    options = {"audit": {"transport_url": "fake:/"}}

    def setUp(self):
        self.events: list[audit.Event] = []
        notifier = mock.patch.object(
            audit, "_notifier", return_value=self.events.append
        )
        sender = mock.patch.object(
            audit, "Sender", lambda send: mock.Mock(put=send)
        )
        for patch in (notifier, sender):
            patch.start()
            self.addCleanup(patch.stop)
        super().setUp()

    def event(self):
        (event,) = self.events
        self.events.clear()
        return event

    def test_a_change(self):
        response = self.request(
            "PUT",
            f"/{base.OWNER}/images/{OWN}/metadata/k%20y?q=hidden-query",
            body={"meta": {"k y": "hidden-value"}},
            X_OpenStack_Request_ID=f"req-{base.UNKNOWN}",
        )
        self.assertEqual(200, response.status_int)
        event = self.event()
        self.assertTrue(timestamp.is_valid(event.pop("eventTime")))
        self.assertRegex(event.pop("id"), "^[0-9a-f-]{36}$")
        request_id = response.headers["x-openstack-request-id"]
        self.assertEqual(
            {
                "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
                "eventType": "activity",
                "action": "update",
                "name": "image-metadata:update",
                "outcome": "success",
                "reason": {"reasonType": "HTTP", "reasonCode": "200"},
                "initiator": {
                    "typeURI": "service/security/account/user",
                    "id": "alice",
                    "name": "unknown",
                    "project_id": base.OWNER,
                    "host": {"address": "unknown"},
                    "request_id": request_id,
                    "global_request_id": f"req-{base.UNKNOWN}",
                },
                "target": {"typeURI": "service/compute/images", "id": OWN},
                "observer": {"id": "target"},
                "requestPath": (
                    f"/v2.1/{base.OWNER}/images/{OWN}/metadata/k%20y"
                ),
            },
            event,
        )

    def test_the_example_of_the_page(self):
        page = read("doc/source/admin/audit.rst")
        (block,) = re.findall(r"code-block:: json\n\n((?:   .*\n)+)", page)
        expected = json.loads(block)
        req = webob.Request.blank(expected["requestPath"], method="DELETE")
        req.headers["X-Auth-Token"] = base.TOKENS["member"]
        req.environ["REMOTE_ADDR"] = expected["initiator"]["host"]["address"]
        req.get_response(self.app)
        event = self.event()
        for one in (event, expected):
            del one["id"], one["eventTime"], one["initiator"]["request_id"]
        self.assertEqual(expected, event)
        for text in (
            f"``{audit._EVENT_TYPE}``",
            f"``{audit._TOPIC}``",
            f"{audit._MOST:,}\nevents",
            f"``{audit.LOST}``",
        ):
            self.assertIn(text, page)

    def test_each_request_that_is_told_of(self):
        for method, path, token, status, told in (
            ("GET", "/images", "member", 200, None),
            ("HEAD", f"/images/{OWN}", "member", 200, None),
            ("GET", f"/images/{base.UNKNOWN}", "member", 404, None),
            # No action.
            ("POST", "/images", "member", 405, None),
            ("DELETE", "/other", "member", 404, None),
            ("GET", "/images", None, 401, ("unknown", "failure")),
            ("DELETE", f"/images/{OWN}", None, 401, ("unknown", "failure")),
            (
                "DELETE",
                f"/images/{PUBLIC}",
                "member",
                403,
                ("delete", "failure"),
            ),
            (
                "DELETE",
                f"/images/{base.UNKNOWN}",
                "member",
                404,
                ("delete", "failure"),
            ),
            (
                "POST",
                f"/images/{OWN}/metadata",
                "member",
                400,
                ("update", "failure"),
            ),
            (
                "DELETE",
                f"/images/{OWN}/metadata/foo",
                "member",
                204,
                ("update", "success"),
            ),
            ("DELETE", f"/images/{OWN}", "member", 204, ("delete", "success")),
        ):
            with self.subTest(method=method, path=path, token=token):
                response = self.request(method, path, token)
                self.assertEqual(status, response.status_int)
                found = None
                if self.events:
                    event = self.event()
                    found = (event["action"], event["outcome"])
                    self.assertEqual(
                        str(status), event["reason"]["reasonCode"]
                    )
                    self.assertTrue(
                        cadftaxonomy.is_valid_action(event["action"])
                    )
                    self.assertEqual(
                        "unknown" if token is None else "alice",
                        event["initiator"]["id"],
                    )
                self.assertEqual(told, found)

    def test_refused_reads(self):
        conf = self.make_conf(
            **self.options,
            policy={
                f"os_compute_api:images:{name}": "!"
                for name in ("index", "show")
            },
        )
        self.app = app.create(conf, self.store)
        for path, word, image_id in (
            ("/images", "read/list", "unknown"),
            (f"/images/{OWN}", "read", OWN),
        ):
            self.assertEqual(403, self.request("GET", path).status_int)
            event = self.event()
            self.assertEqual(
                (word, image_id), (event["action"], event["target"]["id"])
            )

    def test_an_unexpected_error(self):
        with (
            mock.patch.object(self.store, "get", side_effect=RuntimeError),
            self.assertLogs("images_service", "ERROR"),
        ):
            self.request("DELETE", f"/images/{OWN}")
        self.assertEqual("500", self.event()["reason"]["reasonCode"])

    def test_no_secrets(self):
        secret = "secret-of-the-caller"
        for method, path in (
            ("GET", f"/images?x={secret}"),
            ("POST", f"/images/{OWN}/metadata?x={secret}"),
        ):
            for token in (None, "member"):
                self.request(
                    method,
                    path,
                    token,
                    body={"metadata": {"key": secret}},
                    Authorization=secret,
                    X_Service_Token=secret,
                    User_Agent=secret,
                )
        text = json.dumps(self.events)
        self.assertEqual(3, len(self.events))
        self.assertNotIn(secret, text)
        self.assertNotIn(base.TOKENS["member"], text)

    def test_forged_identities(self):
        self.request(
            "GET", "/images", None, X_User_Id="admin", X_Roles="admin"
        )
        self.assertEqual("unknown", self.event()["initiator"]["id"])

    def test_paths_that_are_no_text(self):
        req = webob.Request.blank("/v2.1/images/%0A%FF")
        req.get_response(self.app)
        self.assertEqual("/v2.1/images/%0A%FF", self.event()["requestPath"])


class TestSender(base.TestCase):
    def setUp(self):
        super().setUp()
        few = mock.patch.object(audit, "_MOST", 3)
        few.start()
        self.addCleanup(few.stop)

    def test_a_broker_that_hangs(self):
        hangs = threading.Event()
        sent = []

        def send(event):
            hangs.wait(30)
            sent.append(event["id"])

        sender = Kept(self, send)
        self.addCleanup(hangs.set)
        start = time.monotonic()
        with self.assertLogs(LOGGER, "ERROR") as logs:
            for number in range(10):
                sender.put({"id": number})
                while not number and sender._waiting.qsize():
                    # The thread takes the first one.
                    time.sleep(0.001)
        self.assertLess(time.monotonic() - start, 1)
        self.assertEqual(
            [f'{{"id": {number}}}' for number in range(4, 10)],
            [line.partition("not sent: ")[2] for line in logs.output],
        )
        hangs.set()
        sender._waiting.join()
        self.assertEqual([0, 1, 2, 3], sent)

    def test_no_thread_is_left(self):
        sent: list[audit.Event] = []
        sender = Kept(self, sent.append)
        with (
            mock.patch.object(
                threading.Thread, "start", side_effect=RuntimeError
            ),
            self.assertLogs(LOGGER, "ERROR") as logs,
        ):
            sender.put({"id": 1})
        self.assertIn('not sent: {"id": 1}', logs.output[0])
        sender.put({"id": 2})
        sender._waiting.join()
        self.assertEqual([{"id": 2}], sent)

    def test_an_error(self):
        sent = []

        def send(event):
            if not event:
                raise OSError("no broker")
            sent.append(event)

        sender = Kept(self, send)
        with self.assertLogs(LOGGER, "ERROR") as logs:
            sender.put({})
            sender._waiting.join()
        self.assertIn("not sent: {}", logs.output[-1])
        sender.put({"id": 1})
        sender._waiting.join()
        self.assertEqual([{"id": 1}], sent)

    def test_the_end_of_a_process(self):
        sent = []

        def send(event):
            time.sleep(0.1)
            sent.append(event)

        sender = Kept(self, send)
        for number in range(3):
            sender.put({"id": number})
        sender._finish()
        self.assertEqual(3, len(sent))

    def test_the_end_of_a_process_whose_broker_hangs(self):
        hangs = threading.Event()
        self.addCleanup(hangs.set)
        sender = Kept(self, lambda _event: hangs.wait(30))
        for number in range(3):
            sender.put({"id": number})
        start = time.monotonic()
        with (
            mock.patch.object(audit, "_AT_END", 0.2),
            self.assertLogs(LOGGER, "ERROR") as logs,
        ):
            sender._finish()
        self.assertLess(time.monotonic() - start, 2)
        text = "".join(logs.output)
        self.assertEqual(["0", "1", "2"], re.findall(r'"id": (\d)', text))

    def test_a_process_that_was_forked(self):
        """Its thread is not there any more."""
        sent: list[audit.Event] = []
        sender = Kept(self, sent.append)
        ended = threading.Thread(target=int)
        ended.start()
        ended.join()
        sender._thread = ended
        sender.put({})
        sender._waiting.join()
        self.assertEqual([{}], sent)
