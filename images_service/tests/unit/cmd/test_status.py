# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json

from images_service.cmd import status
from images_service.tests import base


class TestUpgradeCheck(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()

    def check(self, policy="{}", **options):
        base.configuration(self.folder, **options)
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            file.write(policy)
        path = f"{self.folder}/images_service.conf"
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = status.main(
                ["--config-file", path, "upgrade", "check", "--json"]
            )
        return code, {
            check["check"]: (check["result"], check["details"])
            for check in json.loads(out.getvalue())["checks"]
        }

    def test_good(self):
        code, checks = self.check()
        self.assertEqual(0, code)
        self.assertEqual({(0, None)}, set(checks.values()))

    def test_a_policy_that_cannot_be_taken(self):
        code, checks = self.check('{\n"nonsense": "!"}')
        self.assertEqual(1, code)
        result, details = checks["Policy files"]
        self.assertEqual(1, result)
        self.assertIn("policy.json:2: rule nonsense is unknown", details)
        self.assertIn("Mend the file", details)

    def test_administrators_everywhere(self):
        with self.assertLogs("images_service", "WARNING"):
            code, checks = self.check('{"context_is_admin": "@"}')
        self.assertEqual(1, code)
        self.assertIn("holds for everybody", checks["Policy files"][1])

    def test_users_that_cannot_be_taken(self):
        options = {
            "api": {"auth_strategy": "http_basic"},
            "oslo_middleware": {"http_basic_auth_user_file": "none"},
        }
        code, checks = self.check(**options)
        self.assertEqual(1, code)
        self.assertIn("none: there is no such file", checks["User files"][1])

    def test_no_configuration(self):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            code = status.main(
                ["--config-file", f"{self.folder}/x", "upgrade", "check"]
            )
        self.assertEqual(255, code)
        self.assertIn(f"{self.folder}/x", err.getvalue())
