# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
from unittest import mock

from oslo_log import formatters

from images_service.policy import refusals
from images_service.policy import remote
from images_service.tests import base

LOGGER = "images_service.policy.refusals"
DELETE = "os_compute_api:images:delete"
REMOTE = "https://user:secret@policy.example/secret"


class TestLog(base.ApiTestCase):
    options = {
        "policy": {
            "os_compute_api:images:show": f"role:admin or {REMOTE}",
            "os_compute_api:image-metadata:index": "!",
        },
        "quota": {"metadata_items": "1"},
    }

    def refusal(self, *args, **kwargs):
        """Return an answer 403, and its line in the log."""
        with self.assertLogs(LOGGER, "INFO") as logs:
            response = self.request(*args, **kwargs)
        self.assertEqual(403, response.status_int)
        (record,) = logs.records
        return response, record.getMessage()

    def test_what_policy_refuses(self):
        image_id = base.IDS["public"]
        response, line = self.refusal(
            "DELETE", f"/images/{image_id}", X_Auth_Token="alice:p1:member"
        )
        # Nova's message, which clients know; the id is in the headers.
        self.assertFault(
            response,
            403,
            "forbidden",
            "You are not allowed to delete the image.",
        )
        request_id = response.headers["X-OpenStack-Request-ID"]
        self.assertEqual(request_id, response.headers["X-Compute-Request-ID"])
        found = refusals.find(["x", line], request_id)
        assert found is not None
        self.assertEqual(
            refusals.Refusal(
                request_id,
                "images:delete",
                "not role:admin and not project_id:%(project_id)s",
                {
                    "user_id": "alice",
                    "project_id": "p1",
                    "roles": ["member"],
                    "is_admin_project": True,
                },
                {
                    "project_id": base.OTHER,
                    "visibility": "public",
                    "status": "active",
                    "protected": False,
                    "image_id": image_id,
                },
            ),
            found,
        )

    def test_what_policy_does_not_decide(self):
        protected = f"/images/{base.IDS['protected']}"
        items = f"/images/{base.IDS['own']}/metadata"
        for args, why in (
            (("DELETE", protected), "the image is protected"),
            (
                ("POST", items, "member", {"metadata": {"a": "b", "c": "d"}}),
                "Image metadata limit exceeded",
            ),
        ):
            response, line = self.refusal(*args)
            request_id = response.headers["X-OpenStack-Request-ID"]
            found = refusals.find([line], request_id)
            assert found is not None
            self.assertEqual((why, None), (found.why, found.target))

    def test_no_secrets(self):
        path = f"/images/{base.IDS['own']}"
        refuses = mock.patch.object(
            remote.RemoteCheck, "__call__", return_value=False
        )
        with refuses:
            _, line = self.refusal("GET", path)
        self.assertIn('"not role:admin and not https://policy.example"', line)
        for secret in ("secret", "X-Auth-Token", base.TOKENS["member"]):
            self.assertNotIn(secret, line)

    def test_nothing_for_other_answers(self):
        with self.assertNoLogs(LOGGER):
            for path in ("/images", f"/images/{base.UNKNOWN}"):
                self.request("GET", path, "admin")

    def test_one_line_whatever_the_caller_is(self):
        _, line = self.refusal(
            "DELETE",
            f"/images/{base.IDS['public']}",
            X_Auth_Token='a"\\b{}:p1:member\\n',
        )
        self.assertEqual(1, len(line.splitlines()))
        self.assertIn("Refused: {", line)


class TestFind(base.TestCase):
    line = (
        'Refused: {"request_id": "req-1", "action": "images:delete", '
        '"why": "!", "caller": {"user_id": "u"}, "target": null}'
    )

    def test_formats(self):
        record = logging.LogRecord(
            LOGGER, logging.INFO, "", 1, "%s", (self.line,), None
        )
        in_json = formatters.JSONFormatter().format(record)
        self.assertEqual("u", json.loads(self.line[9:])["caller"]["user_id"])
        for line in (
            self.line,
            f"2026-11-27 02:31:46.123 7 INFO x [None req-1 …] {self.line}\n",
            f"{self.line} and more",
            in_json,
        ):
            found = refusals.find(["req-1", line], "req-1")
            assert found is not None
            self.assertEqual(("images:delete", "!"), (found.action, found.why))

    def test_other_lines(self):
        for line in (
            "",
            "INFO [None req-1] GET /",
            "Refused: {req-1",
            'Refused: ["req-1"]',
            'Refused: {"request_id": "req-1"}',
            self.line.replace('"req-1"', '"req-12"'),
            self.line.replace('"why"', '"how"'),
            '{"x": "req-1"}',
            '{"message": 1, "x": "req-1"}',
            '{"req-1',
        ):
            with self.subTest(line=line):
                self.assertIsNone(refusals.find([line], "req-1"))


class TestExplainRequest(base.ManageTestCase):
    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.folder, "images.log")

    def write_log(self, **changes):
        line = {
            "request_id": "req-1",
            "action": "images:delete",
            "why": "not role:janitor",
            "caller": {"user_id": "u", "project_id": "p", "roles": ["member"]},
            "target": {"project_id": "p", "visibility": "private"},
            **changes,
        }
        with open(self.log, "w", encoding="utf-8") as file:
            file.write(f"INFO [None req-1] Refused: {json.dumps(line)}\n")

    def explain(self, *args, **kwargs):
        return self.manage("policy", "explain", "--request", *args, **kwargs)

    def test_a_refusal_and_the_present_rules(self):
        self.write_log()
        expected = [
            "images:delete was refused: not role:janitor",
            "  caller: user_id=u project_id=p roles=member",
            "  target: project_id=p visibility=private",
            "",
            "The present rules:",
            "",
        ]
        status, out, err = self.explain("req-1", "--from", self.log)
        self.assertEqual((0, ""), (status, err))
        self.assertEqual(expected, out.splitlines()[:6])
        # The default, which allows it.
        self.assertIn(f"passes  rule:{DELETE}", out)
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            json.dump({DELETE: "role:janitor"}, file)
        with open(self.log, encoding="utf-8") as file:
            status, out, _ = self.explain(
                "req-1", "--from", "-", stdin=file.read()
            )
        self.assertEqual(1, status)
        self.assertIn(f"fails   rule:{DELETE}\n  fails   role:janitor", out)

    def test_a_byte_on_standard_input_that_is_not_utf_8_was_an_error(self):
        self.write_log()
        with open(self.log, encoding="utf-8") as file:
            text = f"\udcff\n{file.read()}"
        status, out, _ = self.explain("req-1", "--from", "-", stdin=text)
        self.assertEqual(0, status)
        self.assertIn("images:delete was refused: not role:janitor", out)

    def test_the_configured_log(self):
        self.write_log()
        with open(f"{self.folder}/images_service.conf", "a") as file:
            file.write(
                f"[DEFAULT]\nlog_dir = {self.folder}\nlog_file = images.log\n"
            )
        status, out, _ = self.explain("req-1")
        self.assertEqual(0, status)
        self.assertIn("not role:janitor", out)

    def test_no_rule_decided(self):
        self.write_log(why="the image is protected", target=None)
        status, out, _ = self.explain("req-1", "--from", self.log)
        self.assertEqual(1, status)
        self.assertEqual(
            "images:delete was refused: the image is protected",
            out.splitlines()[0],
        )
        self.assertNotIn("rules", out)

    def test_errors(self):
        self.write_log()
        for args, problem in (
            (("req-1",), "[DEFAULT] log_file is not set: give --from PATH"),
            (("req-2", "--from", self.log), "has no refusal of request req-2"),
            (("req-1", "--from", f"{self.log}.1"), "No such file"),
        ):
            status, out, err = self.explain(*args)
            self.assertEqual((1, ""), (status, out))
            self.assertIn(problem, err)
        status, _, err = self.manage("policy", "explain", DELETE)
        self.assertEqual(1, status)
        self.assertIn("give RULE and --project, or --request", err)
