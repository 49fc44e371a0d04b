# SPDX-License-Identifier: Apache-2.0
import contextlib
import csv
import io
import json
import os
import re
import textwrap
from xml.etree import ElementTree

from images_service import config
from images_service.tests import base

ADMIN = "context_is_admin"
DELETE = "os_compute_api:images:delete"
DETAIL = "os_compute_api:images:detail"
SHOW = "os_compute_api:images:show"
SIZE = "os_compute_api:image-size"
UPDATE = "os_compute_api:image-metadata:update"
OWN = "project_id:%(project_id)s"
WRITE = f"rule:context_is_admin or (role:member and {OWN})"
HELPED = {
    DELETE: "rule:context_is_admin or rule:owner",
    "owner": f"role:member and {OWN}",
}
# All kinds of images but for the protected and those that few see.
FOUR = "private, shared, community, public images"
THREE = "shared, community, public images"
FIVE = "private, shared, community, public, protected images"

# What is edited: the rules of a file before and after, and what is told.
EDITS: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "a role is asked for": (
        {},
        {DELETE: "role:admin"},
        "narrower: manager, member of the image's project: may no longer "
        f"delete {FOUR}",
    ),
    "a rule that is empty": (
        {},
        {UPDATE: ""},
        "wider:    reader, service of the image's project: may now set one "
        f"item of the metadata of {FIVE}\n"
        "wider:    manager, member, reader, service of another project: may "
        "now set one item of the metadata of shared, community, public, "
        "protected images",
    ),
    # Easy to miss: what is there no more allows more.
    "a rule that is left out": (
        {DELETE: "role:admin", SHOW: ""},
        {SHOW: ""},
        "wider:    manager, member of the image's project: may now delete "
        f"{FOUR}",
    ),
    # Easy to miss: the rule of the action is the same.
    "or in a rule that others refer to": (
        HELPED,
        {**HELPED, "owner": f"role:member or {OWN}"},
        "wider:    reader, service of the image's project: may now delete "
        f"{FOUR}\n"
        "wider:    manager, member of another project: may now delete "
        f"{THREE}",
    ),
    # Easy to miss: nobody has the role yet that is excluded.
    "not in the place of a role": (
        {},
        {DELETE: f"role:admin or (not role:auditor and {OWN})"},
        "wider:    reader, service of the image's project: may now delete "
        f"{FOUR}\n"
        "narrower: manager+auditor, member+auditor of the image's project: "
        f"may no longer delete {FOUR}",
    ),
    "an id in the place of %(project_id)s": (
        {},
        {DELETE: "role:admin or (role:member and project_id:a1b2)"},
        "wider:    manager+project_id:a1b2, member+project_id:a1b2 of "
        f"another project: may now delete {THREE}\n"
        "narrower: manager, member of the image's project: may no longer "
        f"delete {FOUR}",
    ),
    "a role that Keystone does not have": (
        {},
        {DELETE: f"{WRITE} or role:janitor"},
        "wider:    janitor of the image's project: may now delete "
        f"{FOUR}\n"
        f"wider:    janitor of another project: may now delete {THREE}",
    ),
    "a user beside a role": (
        {},
        {DELETE: f"{WRITE} or (role:reader and user_id:u1)"},
        "wider:    reader+user_id:u1 of the image's project: may now delete "
        f"{FOUR}\n"
        "wider:    manager+user_id:u1, member+user_id:u1, reader+user_id:u1 "
        f"of another project: may now delete {THREE}",
    ),
    "a remote service": (
        {},
        {DELETE: f"{WRITE} or https://policy.example/"},
        "wider:    reader, service of the image's project: may now delete "
        f"{FOUR}, if a remote service agrees\n"
        "wider:    manager, member, reader, service of another project: may "
        f"now delete {THREE}, if a remote service agrees",
    ),
    "images in a state": (
        {},
        {DELETE: f"{WRITE} or 'queued':%(status)s"},
        "wider:    reader, service of the image's project: may now delete "
        "images with status queued\n"
        "wider:    manager, member, reader, service of another project: may "
        "now delete images with status queued",
    ),
    "lists and sizes": (
        {},
        {SIZE: OWN, DETAIL: "role:reader"},
        "narrower: service: may no longer list images with details\n"
        "narrower: admin of another project: may no longer see the size of "
        f"{FIVE}\n"
        "narrower: manager, member, reader, service of another project: may "
        "no longer see the size of shared, community, public, protected "
        "images",
    ),
}


class ReviewTestCase(base.ManageTestCase):
    def write(self, name, document):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            if isinstance(document, str):
                file.write(document)
            else:
                json.dump(document, file)
        return path

    def shipped(self):
        path = config.find_shipped_file("policy.json")
        assert path is not None
        with open(path, encoding="utf-8") as file:
            return file.read()


class TestDiff(ReviewTestCase):
    def diff(self, old, new):
        return self.manage(
            *("policy", "diff"),
            *(self.write("old.json", old), self.write("new.json", new)),
        )

    def test_edits(self):
        for name, (old, new, text) in EDITS.items():
            with self.subTest(name):
                status, out, err = self.diff(old, new)
                self.assertEqual((1, f"{text}\n", ""), (status, out, err))
            with self.subTest(f"{name}, back"):
                status, out, err = self.diff(new, old)
                self.assertEqual((1, ""), (status, err))
                # The other way round each flip is the opposite.
                for line in text.splitlines():
                    if "remote service" not in line:
                        turned = (
                            line.replace("may now", "may no longer")
                            if line.startswith("wider")
                            else line.replace("may no longer", "may now")
                        )
                        self.assertIn(turned.partition(":")[2].strip(), out)

    def test_an_administrator_sees_more(self):
        status, out, _ = self.diff({}, {ADMIN: "role:admin or role:reader"})
        self.assertEqual(1, status)
        lines = out.splitlines()
        self.assertEqual(
            "wider:    manager, member, reader: may now see the images of "
            "every project",
            lines[0],
        )
        self.assertIn(
            "wider:    manager, member, reader of another project: may now "
            "show private images",
            lines,
        )
        self.assertEqual([], [x for x in lines if "narrower" in x])

    def test_a_remote_service_takes_part(self):
        asks, open_ = {SHOW: "https://policy.example/"}, {SHOW: "@"}
        for old, new, words in (
            (asks, open_, {"may now show"}),
            (open_, asks, {"may no longer show", "unless a remote service"}),
            (asks, {SHOW: "!"}, {"may no longer show"}),
        ):
            status, out, _ = self.diff(old, new)
            self.assertEqual(1, status)
            for line in out.splitlines():
                self.assertLessEqual(
                    words, {word for word in words if word in line}
                )
                self.assertEqual(len(words) == 2, "remote" in line)

    def test_what_allows_more_is_first(self):
        _, out, _ = self.diff({}, {SHOW: "role:reader", DELETE: "@"})
        marks = [line.partition(":")[0] for line in out.splitlines()]
        self.assertEqual(sorted(marks, reverse=True), marks)
        self.assertEqual({"wider", "narrower"}, set(marks))

    def test_no_answer_changes(self):
        for new in (
            self.shipped(),
            # "and" comes before "or".
            {DELETE: f"rule:context_is_admin or role:member and {OWN}"},
            {DELETE: f"role:admin or (role:member and {OWN})"},
        ):
            status, out, _ = self.diff({}, new)
            self.assertEqual((0, ""), (status, out))

    def test_a_change_that_is_hidden_from_all_personas_is_named(self):
        text = f"{WRITE} or (user_id:u1 and role:a and role:b)"
        status, out, err = self.diff({}, {DELETE: text})
        self.assertEqual((0, ""), (status, out))
        self.assertIn(f"rule {DELETE} has changed, and the answer to no", err)
        _, _, err = self.diff({}, self.shipped())
        self.assertEqual("", err)

    def test_folders(self):
        """Easy to miss: policy.json is the same, and another file wins."""
        old, new = f"{self.folder}/old", f"{self.folder}/new"
        for folder in ("old", "new"):
            self.write(f"{folder}/policy.json", {DELETE: "role:admin"})
        self.write("new/policy.d/10-open.yaml", f'"{DELETE}": "@"\n')
        self.write("new/policy.d/.hidden", "{")
        status, out, _ = self.manage("policy", "diff", old, new)
        self.assertEqual(1, status)
        self.assertEqual(
            "wider:    manager, member, reader, service of the image's "
            f"project: may now delete {FOUR}\n"
            "wider:    manager, member, reader, service of another project: "
            f"may now delete {THREE}\n",
            out,
        )
        # A file alone is this file alone.
        status, out, _ = self.manage(
            "policy", "diff", old, f"{new}/policy.json"
        )
        self.assertEqual((0, ""), (status, out))

    def test_files_that_cannot_be_used(self):
        good = self.write("good.json", {})
        self.write("both/policy.json", {})
        self.write("both/policy.yaml", {})
        os.mkdir(f"{self.folder}/empty")
        for path, problem in (
            (self.write("bad.json", "{"), "bad.json:1: "),
            (
                self.write("delte.json", {"images:delte": "!"}),
                "rule images:delte is unknown",
            ),
            (f"{self.folder}/none.json", "No such file"),
            (f"{self.folder}/both", "both are there"),
            (f"{self.folder}/empty", "the folder has no policy files"),
        ):
            for pair in ((good, path), (path, good)):
                status, out, err = self.manage("policy", "diff", *pair)
                self.assertEqual((2, ""), (status, out))
                self.assertEqual(1, len(err.splitlines()), err)
                self.assertIn(problem, err)


class TestMatrix(ReviewTestCase):
    def rows(self, *args):
        status, out, err = self.manage("policy", "matrix", *args, "-f", "json")
        self.assertEqual((0, ""), (status, err))
        return json.loads(out)

    def answers(self, rows, action, image):
        (row,) = (
            row
            for row in rows
            if row["action"] == action and image in row["image"]
        )
        return [*row.values()][2:]

    def test_defaults(self):
        rows = self.rows()
        self.assertEqual(
            [
                "action",
                "image",
                *("admin", "manager", "member", "reader", "service"),
            ],
            list(rows[0]),
        )
        yes, no, unseen = "allowed", "refused", "not found"
        for action, image, expected in (
            ("context_is_admin", "-", [yes, no, no, no, no]),
            ("images:index", "-", [yes] * 5),
            ("images:show", "other private", [yes, *[unseen] * 4]),
            ("images:delete", "own private", [yes, yes, yes, no, no]),
            ("images:delete", "other public", [yes, no, no, no, no]),
            ("images:delete", "own protected", [no] * 5),
            ("image-size", "-", [yes] * 5),
        ):
            with self.subTest(action=action, image=image):
                self.assertEqual(expected, self.answers(rows, action, image))
        # The rows of an action differ, and have each kind of images once.
        for action in ("images:delete", "image-metadata:update"):
            found = [row for row in rows if row["action"] == action]
            kinds = [image for row in found for image in row["image"]]
            self.assertEqual(10, len(set(kinds)))
            self.assertEqual(10, len(kinds))
            answers = [tuple(row.values())[2:] for row in found]
            self.assertEqual(len(answers), len(set(answers)))

    def test_roles_and_files(self):
        path = self.write("new.json", {DELETE: "role:janitor or user_id:u1"})
        rows = self.rows(path)
        self.assertEqual(
            ["janitor", "member+janitor", "user_id:u1", "member+user_id:u1"],
            list(rows[0])[7:],
        )
        rows = self.rows(path, "--roles", "reader,reader+janitor")
        self.assertEqual(
            ["refused", "allowed"],
            self.answers(rows, "images:delete", "other public"),
        )
        status, _, err = self.manage("policy", "matrix", "--roles", "usr_id:x")
        self.assertEqual(2, status)
        self.assertIn("a caller has no usr_id; did you mean user_id?", err)
        status, _, err = self.manage("policy", "matrix", self.folder + "/none")
        self.assertEqual(1, status)
        self.assertIn("No such file", err)

    def test_why(self):
        rows = self.rows("--why")
        found = {
            (row["answer"], row["why"]): row["persona"]
            for row in rows
            if row["action"] == "images:delete"
            and {"other private", "own private"} & set(row["image"])
        }
        self.assertEqual(
            {
                ("allowed", "role:admin"): ["admin"],
                ("allowed", f"role:member and {OWN}"): ["manager", "member"],
                ("refused", "not role:admin and not role:member"): [
                    "reader",
                    "service",
                ],
                ("not found", "context_is_admin: not role:admin"): [
                    *("manager", "member", "reader", "service"),
                ],
            },
            found,
        )

    def test_formats(self):
        _, out, _ = self.manage("policy", "matrix", "-f", "csv")
        rows = list(csv.reader(io.StringIO(out)))
        self.assertIn(
            ["images:show", "other private", "allowed", *["not found"] * 4],
            rows,
        )
        self.assertIn("own private, own shared", rows[4][1])
        _, out, _ = self.manage("policy", "matrix")
        self.assertIn("| own private, shared, community,  | allowed", out)


class TestExpectations(ReviewTestCase):
    good = f"""\
strangers delete nothing:
  persona: member
  action: images:delete
  image: other public
  allowed: false
janitors tidy up:
  persona: reader+janitor
  action: {DELETE}
  image: other public
  allowed: true
everybody lists: {{persona: service, action: images:index, allowed: true}}
nobody looks into others:
  persona: manager
  action: images:show
  image: other private
  allowed: false
"""

    def test_a_report(self):
        tests = self.write("tests.yaml", self.good)
        path = self.write("new.json", f'{{\n"{DELETE}": "role:janitor"}}')
        report = f"{self.folder}/report.xml"
        status, out, err = self.manage(
            "policy", "test", tests, path, "--junit", report
        )
        self.assertEqual((0, ""), (status, err))
        self.assertEqual(
            [
                "ok      strangers delete nothing: refused by "
                f"{DELETE} ({path}:2): not role:janitor",
                "ok      janitors tidy up: allowed by "
                f"{DELETE} ({path}:2): role:janitor",
                "ok      everybody lists: allowed by "
                "os_compute_api:images:index (default): @",
                "ok      nobody looks into others: not found by "
                "context_is_admin (default): not role:admin",
                "4 of 4 expectations hold.",
            ],
            out.splitlines(),
        )
        suite = ElementTree.parse(report).getroot()
        self.assertEqual("testsuite", suite.tag)
        self.assertEqual(
            ("4", "0"), (suite.get("tests"), suite.get("failures"))
        )

    def test_what_does_not_hold(self):
        tests = self.write("tests.yaml", self.good)
        report = f"{self.folder}/report.xml"
        status, out, err = self.manage(
            "policy", "test", tests, "--junit", report
        )
        self.assertIn("no rule names role janitor\n", err)
        self.assertEqual(1, status)
        self.assertIn(
            "FAILED  janitors tidy up: refused by "
            f"{DELETE} (default): not role:admin and not role:member\n",
            out,
        )
        self.assertIn("\n3 of 4 expectations hold.\n", out)
        suite = ElementTree.parse(report).getroot()
        self.assertEqual(
            ("4", "1"), (suite.get("tests"), suite.get("failures"))
        )
        (failed,) = suite.findall("testcase[failure]")
        self.assertEqual("janitors tidy up", failed.get("name"))
        message = failed[0].get("message")
        assert message is not None
        self.assertIn(f"refused by {DELETE}", message)

    def test_a_mistyped_role(self):
        tests = self.write(
            "tests.yaml",
            "x: {persona: membr+JANITOR, action: images:index, allowed: true}",
        )
        path = self.write("new.json", {DELETE: "role:janitor"})
        status, _, err = self.manage("policy", "test", tests, path)
        self.assertEqual(0, status)
        self.assertEqual(
            "images-service-manage: x: no rule names role membr; did you mean "
            "member?\n",
            err,
        )

    def test_a_remote_service_is_no_answer(self):
        path = self.write("new.json", {DELETE: "https://policy.example/"})
        for allowed in ("true", "false"):
            tests = self.write(
                "tests.yaml",
                "x: {persona: member, action: images:delete, "
                f"image: own private, allowed: {allowed}}}",
            )
            status, out, _ = self.manage("policy", "test", tests, path)
            self.assertEqual(1, status)
            self.assertIn("FAILED  x: remote by", out)

    def test_a_name_that_xml_cannot_have(self):
        tests = self.write(
            "tests.yaml",
            '"a\\x01<&\\"é": {persona: member, action: images:index, '
            "allowed: true}",
        )
        report = f"{self.folder}/report.xml"
        self.manage("policy", "test", tests, "--junit", report)
        case = ElementTree.parse(report).getroot()[0]
        self.assertEqual('a\N{REPLACEMENT CHARACTER}<&"é', case.get("name"))

    def test_files_that_cannot_be_used(self):
        start = "a:\n  persona: member\n  action: images:show\n"
        full = f"{start}  image: own private\n  allowed: true\n"
        for text, problem in (
            ("{", "tests.yaml:1: "),
            ("", "the file is empty"),
            ("a: 1", "tests.yaml:1: a: not a map of persona, action, image"),
            (
                f"{full}b: {{alowed: true}}",
                ":6: b: alowed is unknown; did you",
            ),
            (
                full.replace("true", "yes please"),
                ":1: a: allowed is neither true nor false",
            ),
            (start, "a: allowed is neither true nor false"),
            (f"{full}a: {{}}", ":6: a is defined twice, first on line 1"),
            (
                full.replace("images:show", "images:shwo"),
                "a: there is no action images:shwo; did you mean images:show?",
            ),
            (
                full.replace("own private", "own privat"),
                "a: no image is privat; did you mean private?",
            ),
            (
                full.replace("member", "usr_id:x"),
                "a: a caller has no usr_id; did you mean user_id?",
            ),
            (
                full.replace("  persona: member\n", ""),
                "a: persona is missing, or is not a string",
            ),
            (
                full.replace("images:show", "images:index"),
                "a: images:index is about no image",
            ),
            (
                full.replace("  image: own private\n", ""),
                "a: images:show needs an image",
            ),
        ):
            with self.subTest(problem=problem):
                tests = self.write("tests.yaml", text)
                status, out, err = self.manage("policy", "test", tests)
                self.assertEqual((2, ""), (status, out))
                self.assertIn(problem, err)
        tests = self.write("tests.yaml", full)
        bad = self.write("bad.json", "{")
        status, _, err = self.manage("policy", "test", tests, bad)
        self.assertEqual(2, status)
        self.assertIn("bad.json:1", err)
        status, _, err = self.manage(
            "policy", "test", tests, "--junit", f"{self.folder}/no/report.xml"
        )
        self.assertEqual(2, status)
        self.assertIn("No such file", err)


class TestDocumentation(ReviewTestCase):
    """The page's commands, with its files, print what it shows."""

    def test_each_command(self):
        root = os.path.join(os.path.dirname(__file__), *[".."] * 4)
        with open(
            f"{root}/doc/source/admin/policy.rst", encoding="utf-8"
        ) as f:
            sections = re.split(r"\n(.+)\n==+\n", f.read())
        found = dict(zip(sections[1::2], sections[2::2], strict=True))
        text = found["Review a change"] + found["Why was a request refused?"]
        self.write("policy.json", self.shipped())
        for name, content in re.findall(
            r"``([\w.-]+)``::\n\n((?:    .*\n|\n)+)", text
        ):
            self.write(name, textwrap.dedent(content).strip() + "\n")
        commands = re.findall(r"    \$ (.*)\n((?:    .*\n|\n)+)", text)
        self.assertEqual(
            ["matrix", "diff", "test", "explain"],
            [command.split()[2] for command, _ in commands],
        )
        with contextlib.chdir(self.folder):
            for command, expected in commands:
                with self.subTest(command):
                    program, *args = command.split()
                    self.assertEqual("images-service-manage", program)
                    _, out, err = self.manage(*args)
                    self.assertEqual("", err)
                    out = out.replace(self.folder, "/etc/images_service")
                    self.assertEqual(
                        textwrap.dedent(expected).strip().splitlines(),
                        out.rstrip().splitlines(),
                    )
