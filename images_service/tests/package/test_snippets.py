# SPDX-License-Identifier: Apache-2.0
"""What operators take from etc/, as far as a machine without a cloud tells."""

import os
import shutil
import subprocess
import sys

import yaml

from images_service.tests.package import test_package

HERE = os.path.dirname(__file__)
SHARE = f"{test_package.ENVIRONMENT}/share/images_service"
CONF = """\
[database]
connection = sqlite:///{folder}/images.sqlite
[api]
auth_strategy = noauth2
"""


class SnippetTestCase(test_package.PackageTestCase):
    def run_tool(self, *command, environ=None):
        """Run a program that ends well; return its output."""
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **(environ or {})},
            timeout=300,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout


class TestAlerts(SnippetTestCase):
    def setUp(self):
        super().setUp()
        for path in (
            f"{SHARE}/prometheus/images_service.rules.yml",
            f"{HERE}/images_service.rules.test.yml",
        ):
            shutil.copy(path, self.folder)

    def test_prometheus_takes_the_rules(self):
        self.run_tool("promtool", "check", "rules", "images_service.rules.yml")

    def test_what_fires_when(self):
        self.run_tool(
            "promtool", "test", "rules", "images_service.rules.test.yml"
        )


class TestAnsible(SnippetTestCase):
    """The role, but for what changes the machine: packages, user, systemd."""

    def play(self, *args, **variables):
        """Run the playbook on this machine, and return its report."""
        user = self.run_tool("id", "-un").strip()
        known = {
            "ansible_become": False,
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "images_service_package": "images-service",
            "images_service_extras": "postgresql",
            "images_service_environment": test_package.ENVIRONMENT,
            "images_service_user": user,
            "images_service_conf_dir": f"{self.folder}/etc",
            "images_service_unit_dir": self.folder,
            "images_service_host": "192.0.2.1",
            "images_service_conf": CONF.format(folder=self.folder),
            **variables,
        }
        path = f"{self.folder}/variables.yml"
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(known, file)
        inventory = f"{self.folder}/hosts"
        with open(inventory, "w", encoding="utf-8") as file:
            file.write("[images_service]\nlocalhost\n")
        return self.run_tool(
            f"{os.path.dirname(sys.executable)}/ansible-playbook",
            *("--inventory", inventory, "--extra-vars", f"@{path}"),
            *(*args, f"{SHARE}/ansible/images_service.yml"),
            environ={
                "ANSIBLE_HOME": f"{self.folder}/.ansible",
                "ANSIBLE_PIPELINING": "1",
            },
        )

    def test_it_installs_configures_and_changes_nothing_then(self):
        policy = '{"os_compute_api:image-size": "role:admin"}'
        options = ("--skip-tags", "images_service_system")
        report = self.play(*options, images_service_policy=policy)
        self.assertIn("failed=0", report)
        done = self.run_program(
            "images-service-manage",
            *("--config-file", f"{self.folder}/etc/images_service.conf"),
            *("policy", "list", "-f", "json"),
        )
        self.assertEqual(0, done.returncode, done.stderr)
        with open(
            f"{self.folder}/images-service@.service", encoding="utf-8"
        ) as file:
            unit = file.read()
        self.assertIn(
            f"ExecStart={test_package.ENVIRONMENT}/bin/images-service-api "
            "--host 192.0.2.1 --port %i",
            unit,
        )
        again = self.play("--check", *options, images_service_policy=policy)
        self.assertIn("changed=0", again)
        self.assertIn("failed=0", again)


class TestFiles(SnippetTestCase):
    def test_the_package_has_them(self):
        for path in (
            "grafana/images_service.json",
            "kolla/globals.d/images_service.yml",
            "kolla/config/haproxy-config/nova-api.cfg",
            "kolla/config/haproxy/services.d/images_service.cfg",
        ):
            with self.subTest(path):
                self.assertTrue(os.path.exists(f"{SHARE}/{path}"))
