# SPDX-License-Identifier: Apache-2.0
"""The number of a release, its notes and its manual pages."""

import glob
from importlib import metadata
import itertools
import os
import subprocess
import sys

from packaging import version

from images_service.cmd import api
from images_service.cmd import mirror
from images_service.tests import base

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")
AUTHOR = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")


def run(*command, cwd=ROOT):
    """Run a program, and return its output without the last newline."""
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout.rstrip("\n")


class TestVersions(base.TestCase):
    """What pbr and reno make of a clone, with and without tags."""

    def setUp(self):
        super().setUp()
        self.clone = self.make_folder()
        run("git", "clone", "--quiet", ROOT, self.clone)
        for tag in self.git("tag").split():
            self.git("tag", "--delete", tag)

    def git(self, *args):
        return run("git", *AUTHOR, *args, cwd=self.clone)

    def version(self):
        printed = run(
            sys.executable, "setup.py", "--quiet", "--version", cwd=self.clone
        )
        # pbr says before it that it writes a change log, the first time.
        return printed.splitlines()[-1]

    def tag(self, name):
        self.git("tag", "--annotate", "--message", name, name)

    def commit_a_note(self):
        path = "releasenotes/notes/x-0123456789abcdef.yaml"
        with open(f"{self.clone}/{path}", "w", encoding="utf-8") as file:
            file.write("fixes:\n  - What this test has mended.\n")
        self.git("add", path)
        self.git("commit", "--quiet", "--message", "Mend something")

    def titles(self):
        """Return the versions in the release notes, the newest first."""
        reno = os.path.join(os.path.dirname(sys.executable), "reno")
        report = run(reno, "report", cwd=self.clone)
        lines = report.splitlines()
        return [
            title
            for title, line in itertools.pairwise(lines)
            if title and line == "=" * len(title)
        ][1:]

    def test_they_rise_to_the_release_and_need_no_tag(self):
        versions = [self.version()]
        self.assertRegex(versions[0], r"^1\.0\.0\.dev\d+$")
        self.assertEqual(["0.0.0"], self.titles())
        self.tag("1.0.0.0b1")
        versions.append(self.version())
        self.assertEqual("1.0.0.0b1", versions[-1])
        self.assertEqual(["1.0.0.0b1"], self.titles())
        self.commit_a_note()
        versions.append(self.version())
        self.assertRegex(versions[-1], r"^1\.0\.0\.0b2\.dev\d+$")
        self.assertEqual(["Unreleased", "1.0.0.0b1"], self.titles())
        self.tag("1.0.0")
        versions.append(self.version())
        self.assertEqual("1.0.0", versions[-1])
        # What was new in the beta is new in the release.
        self.assertEqual(["1.0.0"], self.titles())
        self.assertEqual(sorted(versions, key=version.Version), versions)


class TestManualPages(base.TestCase):
    def test_each_program_has_one_with_all_that_its_help_says(self):
        folder = self.make_folder()
        run(
            *(sys.executable, "-m", "sphinx", "-W", "-q", "-b", "man"),
            *("doc/source", folder, "-d", f"{folder}/doctrees"),
        )
        told = {}
        for path in glob.glob(f"{folder}/*.1"):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            name = os.path.basename(path).removesuffix(".1")
            told[name] = text.replace("\\-", "-").replace("\\fB", "")
        programs = {
            entry.name
            for entry in metadata.entry_points(group="console_scripts")
            if entry.value.startswith("images_service.")
        }
        self.assertEqual(programs, set(told))
        for name, parser in (
            ("images-service-api", api._parser()),
            ("images-service-mirror", mirror._parser()),
        ):
            for option in parser._option_string_actions:
                self.assertIn(option, told[name])
        for entry in metadata.entry_points(group="images_service.manage"):
            command = entry.name.replace("_", " ")
            self.assertIn(
                f"images-service-manage {command}",
                told["images-service-manage"],
            )
        self.assertIn("upgrade check", told["images-service-status"])


class TestWorkflow(base.TestCase):
    def test_github_takes_it(self):
        run(
            os.path.join(os.path.dirname(sys.executable), "check-jsonschema"),
            *("--builtin-schema", "vendor.github-workflows"),
            ".github/workflows/tox.yaml",
        )
