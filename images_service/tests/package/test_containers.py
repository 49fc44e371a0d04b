# SPDX-License-Identifier: Apache-2.0
"""What Containerfile and compose.yaml run, without containers.

``tox -e container`` builds the image and runs it.
"""

import configparser
import json
import os
import re
import subprocess
import sys

import yaml

from images_service.tests.package import test_package
from images_service.tests.servers import guide

COMPOSE = os.path.abspath(f"{guide.ROOT}/compose.yaml")
VARIABLES = {
    "DATABASE_PASSWORD": "secret",
    "KEYSTONE_URL": "http://127.0.0.1:1",
    "KEYSTONE_PASSWORD": "secret",
}


def containerfile():
    """Return the instructions of each stage: pairs of a word and the rest."""
    path = os.path.join(guide.ROOT, "Containerfile")
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"^#.*\n", "", file.read(), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    stages: list[list[tuple[str, str]]] = []
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((word, rest.strip()))
    return stages


class TestContainerfile(test_package.PackageTestCase):
    def test_extras_are_those_of_the_package(self):
        (extras,) = re.findall(
            r"^ARG EXTRAS=(.+)$",
            "\n".join(" ".join(each) for each in containerfile()[0]),
            re.M,
        )
        setup = configparser.ConfigParser(interpolation=None)
        setup.read(f"{guide.ROOT}/setup.cfg")
        # mysqlclient has no wheel, and would need a compiler.
        self.assertEqual(
            set(setup["extras"]) - {"mysqlclient"}, set(extras.split(","))
        )

    def test_the_last_stage_installs_python_only_and_is_not_root(self):
        first, last = containerfile()
        installed = [
            word
            for instruction, rest in last
            if instruction == "RUN"
            for words in re.findall(r"install ([^&]+)", rest)
            for word in words.split()
            if not word.startswith("--")
        ]
        self.assertEqual(["ca-certificates", "python3"], installed)
        self.assertIn(("USER", "42480:42480"), last)
        self.assertEqual(("CMD", '["images-service-api"]'), last[-1])
        self.assertNotIn("USER", [word for word, _ in first])

    def test_health(self):
        """The check passes where a service answers, and only there."""
        (check,) = [
            r for word, r in containerfile()[1] if word == "HEALTHCHECK"
        ]
        program, *args = json.loads(check.partition("CMD ")[2])
        self.assertEqual("python3", program)
        self.configure()
        self.run_program("images-service-manage", "db", "sync")
        server = test_package.Installed(
            self.make_folder(), self.folder, *test_package.TestOwn.command
        )
        args = [arg.replace("8774", str(server.port)) for arg in args]
        self.assertEqual(1, self.run_program("python3", *args).returncode)
        self.addCleanup(server.stop)
        server.start()
        server.wait()
        done = self.run_program("python3", *args)
        self.assertEqual(0, done.returncode, done.stderr)


class TestCompose(test_package.PackageTestCase):
    def setUp(self):
        super().setUp()
        with open(COMPOSE, encoding="utf-8") as file:
            text = file.read()
        for name, value in VARIABLES.items():
            text = text.replace(f"${{{name}:?}}", value)
        self.assertNotIn("${", text)
        self.services = yaml.safe_load(text)["services"]

    def run_as(self, service, *command):
        """Run a program in the environment of a service."""
        environ = {
            **self.services[service]["environment"],
            "OS_DATABASE__CONNECTION": f"sqlite:///{self.folder}/sqlite",
        }
        return subprocess.run(
            [f"{test_package.ENVIRONMENT}/bin/{command[0]}", *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"HOME": self.folder, "PATH": "/usr/bin:/bin", **environ},
            timeout=60,
        )

    def test_it_follows_the_specification(self):
        done = subprocess.run(
            [
                f"{os.path.dirname(sys.executable)}/check-jsonschema",
                *("--builtin-schema", "vendor.compose-spec", COMPOSE),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stdout)

    def test_the_job_makes_tables_with_which_the_service_can_start(self):
        done = self.run_as("db-sync", *self.services["db-sync"]["command"])
        self.assertEqual(0, done.returncode, done.stderr)
        done = self.run_as("api", "images-service-status", "upgrade", "check")
        self.assertEqual(0, done.returncode, done.stdout)

    def test_its_environment_names_options(self):
        """A wrong name would have no effect, and no message."""
        script = (
            "import sys\n"
            "from images_service import config\n"
            "from images_service.middleware import keystone\n"
            "from keystonemiddleware import opts\n"
            "from keystoneauth1 import loading\n"
            "conf = config.new()\n"
            "for group, options in opts.list_auth_token_opts():\n"
            "    conf.register_opts(options, group=group)\n"
            "conf.register_opts(\n"
            "    loading.get_auth_plugin_conf_options('password'),\n"
            "    'keystone_authtoken')\n"
            "conf([], default_config_files=[])\n"
            "for name in sys.argv[1:]:\n"
            "    group, option = name.lower()[3:].split('__')\n"
            "    print(conf[group][option])\n"
        )
        given = self.services["api"]["environment"]
        done = self.run_as("api", "python3", "-c", script, *given)
        self.assertEqual(0, done.returncode, done.stderr)
        values = dict(zip(given, done.stdout.splitlines(), strict=True))
        values.pop("OS_DATABASE__CONNECTION")
        lists = values.pop("OS_KEYSTONE_AUTHTOKEN__MEMCACHED_SERVERS")
        roles = values.pop("OS_KEYSTONE_AUTHTOKEN__SERVICE_TOKEN_ROLES")
        self.assertEqual("['memcached:11211']", lists)
        self.assertEqual("['service']", roles)
        for name, value in values.items():
            self.assertEqual(given[name], value)
