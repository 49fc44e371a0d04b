# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import yaml

from images_service import config
from images_service.policy import rules
from images_service.tests import base
from images_service.tests import keystone

DELETE = "os_compute_api:images:delete"


class TestPolicy(base.ManageTestCase):
    def write(self, text, name="policy.json"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_check(self):
        self.write(json.dumps({DELETE: "role:janitor"}))
        status, out, _ = self.manage("policy", "check")
        self.assertEqual((0, "The policy is good.\n"), (status, out))
        other = self.write('{\n"images:delete": "!"}', "other.json")
        status, _, err = self.manage("policy", "check", other)
        self.assertEqual(1, status)
        self.assertIn(f"{other}:2: rule images:delete is unknown", err)
        self.write("{")
        status, _, err = self.manage("policy", "check")
        self.assertEqual(1, status)
        self.assertIn("policy.json:1: ", err)

    def test_check_warns_of_administrators_everywhere(self):
        path = self.write('{"context_is_admin": "@"}')
        for args in ((), (path,)):
            with self.assertLogs("images_service", "WARNING") as logs:
                status, out, _ = self.manage("policy", "check", *args)
            self.assertEqual((0, "The policy is good.\n"), (status, out))
            self.assertEqual(1, len(logs.output))
            self.assertIn("holds for everybody", logs.output[0])

    def test_list(self):
        path = self.write(json.dumps({DELETE: "role:janitor"}))
        status, out, _ = self.manage("policy", "list", "-f", "json")
        self.assertEqual(0, status)
        rows = {row["rule"]: row for row in json.loads(out)}
        self.assertEqual(12, len(rows))
        self.assertEqual(
            ("role:janitor", path),
            (rows[DELETE]["in force"], rows[DELETE]["from"]),
        )
        self.assertIn("project_id", rows[DELETE]["default"])
        admin = rows["context_is_admin"]
        self.assertEqual(
            ("role:admin", "default"), (admin["in force"], admin["from"])
        )


class TestExplain(base.ManageTestCase):
    def setUp(self):
        super().setUp()
        self.store = self.make_store(self.conf)

    def explain(self, *args):
        status, out, err = self.manage("policy", "explain", *args)
        return status, out.splitlines(), err

    def test_without_an_image(self):
        status, lines, _ = self.explain(
            *(DELETE, "--roles", "reader, member", "--project", "p")
        )
        self.assertEqual(0, status)
        rule = (
            "rule:context_is_admin or "
            "(role:member and project_id:%(project_id)s)"
        )
        self.assertEqual(
            [
                f'{DELETE}: "{rule}"',
                "  from: default",
                "  target: project_id=p",
                "",
                f"passes  rule:{DELETE}",
                "  passes  or",
                "    fails   rule:context_is_admin",
                "      fails   role:admin",
                "    passes  and",
                "      passes  role:member",
                "      passes  project_id:%(project_id)s  (here project_id:p)",
            ],
            lines,
        )

    def test_an_image(self):
        public, private = base.IDS["public"], base.IDS["others-private"]
        status, lines, _ = self.explain(
            *("images:delete", "--project", base.OWNER),
            *("--roles", "member", "--image", public),
        )
        self.assertEqual(1, status)
        self.assertEqual(
            f"  target: project_id={base.OTHER} visibility=public "
            f"status=active protected=False image_id={public}",
            lines[2],
        )
        self.assertEqual(f"fails   rule:{DELETE}", lines[4])
        status, _, err = self.explain(
            *(DELETE, "--project", base.OWNER, "--image", private)
        )
        self.assertEqual(1, status)
        self.assertIn(f"sees no image {private}: the answer is 404", err)
        status, _, _ = self.explain(
            *(DELETE, "--project", base.OWNER, "--image", private),
            *("--roles", "admin"),
        )
        self.assertEqual(0, status)

    def test_what_cannot_be_asked(self):
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            text = "not (user_id:%(owner)s or http://127.0.0.1:1/)"
            json.dump({DELETE: text}, file)
        status, lines, _ = self.explain(DELETE, "--project", "p")
        self.assertEqual(1, status)
        self.assertTrue(
            lines[4].startswith(f"fails   rule:{DELETE}  (ConnectionError")
        )
        self.assertEqual(
            "      fails   user_id:%(owner)s  (the target has no owner)",
            lines[7],
        )
        self.assertIn("ConnectionError: ", lines[8])

    def test_rules_that_there_are_not(self):
        status, _, err = self.explain("images:delte", "--project", "p")
        self.assertEqual(1, status)
        self.assertIn("no rule images:delte; there are: context_is", err)


class TestOsloPolicyTools(base.ManageTestCase):
    """oslo.policy's own commands, as an operator runs them."""

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
            {rule.name: rule.check_str for rule in rules.list_rules()},
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
        self.assertEqual(len(rules.list_rules()), len(lines))
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
