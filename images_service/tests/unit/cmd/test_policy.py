# SPDX-License-Identifier: Apache-2.0
import json
import os

from images_service.tests import base

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

    def test_check_names_the_part_that_can_never_pass(self):
        path = self.write(
            '{\n"context_is_admin": "role:admin",\n'
            f'"{DELETE}": "role:admin or rol:janitor"}}'
        )
        for args in ((), (path,)):
            status, out, err = self.manage("policy", "check", *args)
            self.assertEqual((1, ""), (status, out))
            self.assertEqual(1, err.count("rol:janitor never passes"), err)
            self.assertIn(f"{path}:3: rule {DELETE}: rol:janitor", err)
            self.assertIn("did you mean role:janitor?", err)

    def test_check_says_once_what_cannot_be_understood(self):
        path = self.write(f'{{\n"{DELETE}":\n"role:admin and"}}')
        for args in ((), (path,)):
            status, out, err = self.manage("policy", "check", *args)
            self.assertEqual((1, ""), (status, out))
            self.assertEqual(1, len(err.splitlines()), err)
            self.assertIn(
                f"{path}:2: rule {DELETE} can't be understood: 'role:admin "
                "and': a condition is missing after and",
                err,
            )

    def test_check_says_that_json_has_no_comments(self):
        self.write('{\n# nobody deletes\n"x": "!"}')
        status, _, err = self.manage("policy", "check")
        self.assertEqual(1, status)
        self.assertIn("policy.json:2: JSON has no comments", err)

    def test_check_suggests_names(self):
        for text, name in (
            ('{"os_compute_api:images:delte": "!"}', DELETE),
            (f'{{"{DELETE}": "rule:x_admin", "is_admin": "!"}}', "is_admin"),
        ):
            self.write(text)
            status, _, err = self.manage("policy", "check")
            self.assertEqual(1, status)
            self.assertIn(f"; did you mean {name}?", err)

    def test_check_warns_of_administrators_everywhere(self):
        path = self.write('{"context_is_admin": "@"}')
        for args in ((), (path,)):
            with self.assertLogs("images_service", "WARNING") as logs:
                status, out, _ = self.manage("policy", "check", *args)
            self.assertEqual((0, "The policy is good.\n"), (status, out))
            self.assertEqual(1, len(logs.output))
            self.assertIn("holds for every caller", logs.output[0])

    def test_check_tells_what_has_no_effect(self):
        path = self.write(f'{{\n"{DELETE}": "@ or role:a"}}')
        status, out, _ = self.manage("policy", "check")
        self.assertEqual(0, status)
        self.assertEqual(
            f"{path}:2: rule {DELETE}: role:a has no effect\n"
            "The policy is good.\n",
            out,
        )
        os.mkdir(f"{self.folder}/policy.d")
        later = self.write(f'{{"{DELETE}": "!"}}', "policy.d/1.json")
        for args in ((), (self.folder,)):
            status, out, _ = self.manage("policy", "check", *args)
            self.assertEqual(0, status)
            self.assertEqual(
                f"{path}:2: rule {DELETE} has no effect: {later}:1 replaces "
                "it\nThe policy is good.\n",
                out,
            )

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

    def test_an_administrator_is_asked_for_without_an_image(self):
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            json.dump({"context_is_admin": "project_id:%(project_id)s"}, file)
        status, lines, _ = self.explain("context_is_admin", "--project", "p")
        self.assertEqual(1, status)
        self.assertEqual("fails   rule:context_is_admin", lines[4])
        self.assertIn("the target has no project_id", lines[5])

    def test_a_rule_that_makes_nobody_an_administrator(self):
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            json.dump({"context_is_admin": "not project_id:None"}, file)
        status, lines, _ = self.explain("context_is_admin", "--project", "p")
        self.assertEqual(1, status)
        self.assertIn("it makes no caller an administrator", lines[-1])

    def test_what_can_never_pass(self):
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            json.dump({DELETE: "rol:admin"}, file)
        _, lines, _ = self.explain(DELETE, "--project", "p")
        self.assertIn("did you mean role:admin?", lines[5])

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
            "      fails   user_id:%(owner)s  (the target has no owner; did "
            "you mean %(project_id)s?)",
            lines[7],
        )
        self.assertIn("ConnectionError: ", lines[8])

    def test_rules_that_there_are_not(self):
        status, _, err = self.explain("images:delte", "--project", "p")
        self.assertEqual(1, status)
        self.assertIn("no rule images:delte; there are: context_is", err)
