# SPDX-License-Identifier: Apache-2.0
"""What CI systems are told to run is there."""

import configparser
import os
import re
import unittest

import yaml

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def pythons():
    """Return the versions of Python that setup.cfg names."""
    return re.findall(r"Python :: (3\.\d+)\n", read("setup.cfg"))


def environments():
    """Return the names of tox's environments."""
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(read("tox.ini"))
    named = {name.removeprefix("testenv:") for name in ini.sections()}
    return named | {"py3"} | {f"py{v.replace('.', '')}" for v in pythons()}


def profiles():
    """Return the profiles that packages have in bindep.txt."""
    selectors = re.findall(r"^\S+ \[(.+)\]$", read("bindep.txt"), re.M)
    return {name for names in selectors for name in names.split()}


class TestCISystems(unittest.TestCase):
    def test_zuul(self):
        content = yaml.safe_load(read(".zuul.yaml"))
        jobs = {item["job"]["name"]: item["job"] for item in content[:-1]}
        self.assertGreater(len(jobs), 5)
        for name, job in jobs.items():
            with self.subTest(name):
                names = job["vars"]["tox_envlist"].split(",")
                self.assertLessEqual(set(names), environments())
                self.assertIn(job["vars"]["bindep_profile"], names)
        project = content[-1]["project"]
        for pipeline in ("check", "gate"):
            self.assertEqual(list(jobs), project[pipeline]["jobs"])

    def test_github(self):
        content = yaml.safe_load(read(".github/workflows/tox.yaml"))
        matrix = content["jobs"]["tox"]["strategy"]["matrix"]["include"]
        for row in matrix:
            self.assertIn(row["environment"], environments())
            self.assertIn(row["python"], pythons())
        self.assertEqual(
            pythons(),
            [row["python"] for row in matrix if row["environment"] == "py3"],
        )

    def test_packages(self):
        """Each is for an environment; .ci/run asks for all that it runs."""
        found = profiles() - {"platform:dpkg"}
        self.assertLessEqual(found, environments() | {"ci"})
        # Minutes of a build that downloads its base.
        found -= {"container"}
        (asked,) = re.findall(r"bindep\" --brief ([\w -]+)", read(".ci/run"))
        self.assertEqual(found, set(asked.split()))
