# SPDX-License-Identifier: Apache-2.0
"""What the documentation names is there, and what is there it names."""

import glob
from importlib import metadata
import json
import os
import re
import tempfile
import unittest
from unittest import mock

from keystonemiddleware import opts as keystone_options
from oslo_config import cfg
from oslo_config import generator
import webob

from images_service import app
from images_service import config
from images_service.api import routes
from images_service.cmd import demo
from images_service.cmd import status
from images_service.glance import metrics as mirror_metrics
from images_service.middleware import metrics
from images_service.tests import base

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def everything():
    """Return the text of all pages."""
    found = glob.glob(f"{ROOT}/doc/source/**/*.rst", recursive=True)
    return "\n".join(
        read(path) for path in [*found, "README.rst", "CONTRIBUTING.rst"]
    )


def known_options():
    """Return all options: group -> names."""
    conf = config.new()
    for group, options in keystone_options.list_auth_token_opts():
        conf.register_opts(options, group=group)
    found = {"DEFAULT": {name for name in conf if name not in conf._groups}}
    for name, group in conf._groups.items():
        found[name] = set(group._opts)
    # Those of keystoneauth's plugin for passwords.
    found["keystone_authtoken"] |= {
        *("auth_url", "username", "password", "project_name"),
        *("user_domain_id", "project_domain_id"),
    }
    return found


class TestOptions(unittest.TestCase):
    def test_what_pages_name_is_there(self):
        known = known_options()
        named = re.findall(r"``\[(\w+)\]\s+(\w+)", everything())
        self.assertGreater(len(named), 20)
        for group, name in named:
            with self.subTest(f"[{group}] {name}"):
                self.assertIn(name, known[group])

    def test_the_reference_has_all(self):
        """Those of a configuration that was just made, each with its help."""
        with tempfile.NamedTemporaryFile("r") as sample:
            conf = cfg.ConfigOpts()
            generator.register_cli_opts(conf)
            conf(
                ["--config-file", f"{ROOT}/etc/config-generator.conf"],
                project="x",
            )
            conf.set_override("output_file", sample.name)
            generator.generate(conf)
            text = sample.read()
        found: dict[str, set[str]] = {}
        for line in text.splitlines():
            if match := re.fullmatch(r"\[(.+)\]", line):
                names = found.setdefault(match[1], set())
            elif match := re.match(r"#\s?(\w+) = ?", line):
                names.add(match[1])
        for group, options in config.OPTIONS.items():
            with self.subTest(group):
                names = {option.dest for option in options}
                self.assertEqual(set(), names - found[group])
                if group in ("database", "oslo_policy"):
                    # Others of these libraries have no effect.
                    self.assertEqual(names, found[group])


class TestRules(unittest.TestCase):
    def test_what_pages_name_is_there(self):
        known = {rule.name for rule in routes.list_rules()}
        named = set(re.findall(r"os_compute_api:[\w:-]+\w", everything()))
        self.assertEqual(set(), named - known)

    def test_each_has_its_description_and_requests(self):
        for rule in routes.list_rules():
            with self.subTest(rule.name):
                self.assertTrue(rule.description)


class TestMetrics(unittest.TestCase):
    def test_both_ways(self):
        counts = metrics.Metrics(mock.Mock(), mock.Mock(), mock.Mock())
        known = set()
        for metric in counts.registry.collect():
            suffix = "_total" if metric.type == "counter" else ""
            known.add(metric.name + suffix)
        page = read("doc/source/admin/monitoring.rst")
        self.assertEqual(known, self.told(page))

    def test_those_of_the_mirror(self):
        known = set()
        for metric in mirror_metrics.Metrics().registry.collect():
            suffix = "_total" if metric.type == "counter" else ""
            known.add(metric.name + suffix)
        page = read("doc/source/admin/glance.rst")
        self.assertEqual(known, self.told(page))

    def told(self, page):
        return set(re.findall(r"``(images_service_\w+)``", page))


class TestCommands(unittest.TestCase):
    def test_what_pages_name_is_there(self):
        known = {
            entry.name.replace("_", " ")
            for entry in metadata.entry_points(group="images_service.manage")
        }
        known |= {"help", "complete"}
        named = re.findall(
            r"images-service-manage(?: |\n +)(\w+(?:\s+\w+)?)", everything()
        )
        self.assertGreater(len(named), 10)
        for words in named:
            name = " ".join(words.split())
            with self.subTest(name):
                self.assertTrue(
                    name in known or name.partition(" ")[0] in known
                )

    def test_each_program_has_a_page(self):
        """Its options and commands are read off it as the page is built."""
        described = {
            "images-service-api": "autoprogram:: images_service.cmd.api:",
            "images-service-manage": "-cliff:: images_service.manage\n",
            "images-service-mirror": "program:: images_service.cmd.mirror:",
            "images-service-status": "images-service-status upgrade check",
        }
        programs = {
            entry.name
            for entry in metadata.entry_points(group="console_scripts")
            if entry.value.startswith("images_service.")
        }
        self.assertEqual(programs, set(described))
        for name, words in described.items():
            self.assertIn(words, read(f"doc/source/cli/{name}.rst"))

    def test_checks_both_ways(self):
        page = read("doc/source/cli/images-service-status.rst")
        _, table, _ = re.split(r"=====  =+\n|\n=====+  =+\n\nThe", page)[:3]
        told = re.findall(r"^(\S.+?)  ", table, re.M)
        self.assertEqual(
            [name for name, _ in status.Checks._upgrade_checks], told
        )


class TestPages(unittest.TestCase):
    def test_each_is_reached_from_the_start_page(self):
        """By the tables of contents."""
        for folder in ("doc", "api-ref"):
            source = os.path.join(ROOT, folder, "source")
            wanted = {
                os.path.relpath(path, source).removesuffix(".rst")
                for path in glob.glob(f"{source}/**/*.rst", recursive=True)
            }
            found, waiting = set(), ["index"]
            while waiting:
                name = waiting.pop()
                found.add(name)
                waiting += self.below(source, name)
            with self.subTest(folder):
                self.assertGreater(len(found), 4)
                self.assertEqual(wanted, found)

    def below(self, source, name):
        """Return the pages that a page's tables of contents name."""
        text = read(os.path.join(source, f"{name}.rst"))
        for table in re.findall(
            r"^\.\. toctree::\n((?:\n|   .+\n)+)", text, re.M
        ):
            for entry in re.findall(r"^   (\w\S*)$", table, re.M):
                yield os.path.normpath(
                    os.path.join(os.path.dirname(name), entry)
                )

    def test_titles_differ(self):
        titles: dict[str, str] = {}
        for path in glob.glob(f"{ROOT}/doc/source/**/*.rst", recursive=True):
            (title,) = re.findall(r"\A(?:=+\n)(.+)\n=+\n", read(path))
            self.assertNotIn(title, titles)
            titles[title] = path


def table(path):
    """Return rows of a page's first table of figures: name -> other cells."""
    found: dict[str, list[str]] = {}
    for name, cells in re.findall(r"^(\S.*?)  +(\d.*)$", read(path), re.M):
        found.setdefault(name, re.split("  +", cells))
    return found


class TestFigures(unittest.TestCase):
    def test_they_are_those_that_were_measured(self):
        measured = table("doc/source/admin/performance.rst")
        compared = table("doc/source/comparison.rst")
        shown = table("README.rst")
        self.assertEqual(8, len(compared))
        for name, figures in compared.items():
            with self.subTest(name):
                nova, _, _, beside, _, postgresql, *_ = measured[name]
                self.assertEqual([nova, beside, postgresql], figures)
        self.assertEqual(4, len(shown))
        self.assertEqual(shown, {name: compared[name] for name in shown})


class TestReadme(base.TestCase):
    def test_the_answer_is_the_one_of_its_first_command(self):
        conf = config.load(["--config-file", demo.prepare(self.make_folder())])
        url = re.search(
            "http://\\S+(/v2.1/\\S+)", demo.welcome("", "::1", "[::1]:1")
        )
        assert url is not None
        req = webob.Request.blank(url[1])
        req.headers["X-Auth-Token"] = "alice:demo"
        answer = req.get_response(app.create(conf, name="demo")).json
        shown = re.search(r"block:: json\n\n((   .*\n)+)", read("README.rst"))
        assert shown is not None
        lines = [line[3:] for line in shown[1].splitlines()]
        self.assertGreater(len(lines), 5)
        self.assertEqual(
            lines, json.dumps(answer, indent=4).splitlines()[: len(lines)]
        )

    def test_its_links_lead_somewhere(self):
        links = re.findall(
            r"(?:<|image:: )([^<>\s]+/[^<>\s]+)", read("README.rst")
        )
        self.assertGreater(len(links), 5)
        for link in links:
            with self.subTest(link):
                self.assertTrue(os.path.exists(f"{ROOT}/{link}"))


class TestShellBlocks(unittest.TestCase):
    def test_where_they_are(self):
        """Each is run by a test, or by .ci/run, or its page says what is not.

        The tests are test_newcomer, test_package and test_nova_page,
        test_client_guide and test_backup.
        """
        found = {}
        for path in [
            *glob.glob(f"{ROOT}/doc/source/install/*.rst"),
            *glob.glob(f"{ROOT}/doc/source/user/*.rst"),
            f"{ROOT}/doc/source/admin/backup.rst",
            f"{ROOT}/README.rst",
        ]:
            text = read(path)
            name = os.path.relpath(path, f"{ROOT}/doc/source")
            found[name.removeprefix("../../")] = re.findall(
                r"code-block:: console\n\n   (\S+)", text
            )
            # None is disguised as something else.
            self.assertNotRegex(text, r"code-block:: (bash|shell)|\n\$ ")
        self.assertGreater(len(found.pop("install/index.rst")), 12)
        self.assertGreater(len(found.pop("user/index.rst")), 8)
        for name in ("containers", "ansible", "kolla", "devstack"):
            found.pop(f"install/{name}.rst")
            text = " ".join(read(f"doc/source/install/{name}.rst").split())
            self.assertRegex(text, "(has|have) not been run")
        self.assertEqual(
            {
                "README.rst": ["python3", "python3"],
                "admin/backup.rst": [
                    *("runuser", "systemctl", "mariadb-dump", "systemctl"),
                    *("su", "systemctl"),
                ],
                "user/microversions.rst": ["curl", "curl"],
                "install/servers.rst": ["uwsgi", "gunicorn", "granian"],
                "install/beside-nova.rst": [],
                "install/inside-nova.rst": [
                    "/opt/nova/bin/pip",
                    "/opt/nova/bin/images-service-manage",
                ],
            },
            found,
        )
