# SPDX-License-Identifier: Apache-2.0
"""oslo.policy's own commands, as an operator runs them."""

import json
import os
import subprocess
import sys

import yaml

from images_service import config
from images_service.api import routes
from images_service.tests import base
from images_service.tests import keystone

DELETE = "os_compute_api:images:delete"


class TestOsloPolicyTools(base.ManageTestCase):
    def tool(self, name, *args):
        command = os.path.join(os.path.dirname(sys.executable), name)
        done = subprocess.run(
            [sys.executable, command, *args],
            capture_output=True,
            text=True,
            cwd=self.make_folder(),
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def ours(self, name):
        return self.tool(
            *(name, "--namespace", "images_service"),
            *("--config-file", f"{self.folder}/images_service.conf"),
        )

    def write(self, rules):
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            json.dump(rules, file)

    def test_sample_generator(self):
        status, out, err = self.tool(
            *("oslopolicy-sample-generator", "--namespace", "images_service")
        )
        self.assertEqual(0, status, err)
        self.assertEqual(
            {rule.name: rule.check_str for rule in routes.list_rules()},
            # The rules are there as comments.
            yaml.safe_load(out.replace('#"', '"')),
        )

    def test_validator(self):
        self.assertEqual(0, self.ours("oslopolicy-validator")[0])
        for problem, text in (
            ("Unknown rule found in policy file: images:delte", "@"),
            ("Failed to parse rule: role:a and and", "role:a and and"),
        ):
            name = "images:delte" if "Unknown" in problem else DELETE
            self.write({name: text})
            status, out, _ = self.ours("oslopolicy-validator")
            self.assertEqual(1, status)
            self.assertIn(problem, out)

    def test_validator_knows_no_rules_of_ones_own(self):
        """The documentation says so; policy check takes this file."""
        self.write({DELETE: "rule:janitors", "janitors": "role:janitor"})
        self.assertEqual(0, self.manage("policy", "check")[0])
        status, out, _ = self.ours("oslopolicy-validator")
        self.assertEqual(
            (1, "Unknown rule found in policy file: janitors\n"), (status, out)
        )

    def test_list_redundant(self):
        self.write({DELETE: "!", "context_is_admin": "role:admin"})
        status, out, err = self.ours("oslopolicy-list-redundant")
        self.assertEqual(0, status, err)
        self.assertEqual('"context_is_admin": "role:admin"\n', out)

    def test_policy_generator(self):
        self.write({DELETE: "role:janitor"})
        status, out, err = self.ours("oslopolicy-policy-generator")
        self.assertEqual(0, status, err)
        lines = out.splitlines()
        self.assertEqual(len(routes.list_rules()), len(lines))
        self.assertIn(f'"{DELETE}": "role:janitor"', lines)

    def test_checker(self):
        token = os.path.join(self.folder, "token.json")
        with open(token, "w", encoding="utf-8") as file:
            document = keystone.token_document("u", "p", ["member"])
            json.dump(document, file)
        shipped = config.load(["--config-file", os.devnull])
        policy = config.find_file(shipped, "policy.json")
        status, out, err = self.tool(
            *("oslopolicy-checker", "--policy", policy, "--access", token),
            *("--rule", DELETE),
        )
        self.assertEqual((0, f"passed: {DELETE}\n"), (status, out), err)
