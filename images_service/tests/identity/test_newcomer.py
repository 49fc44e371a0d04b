# SPDX-License-Identifier: Apache-2.0
"""The newcomer's path: each command of README and install guide, as written.

From a fresh clone to an image that is listed through nginx in front of two API
process groups, on PostgreSQL, with Keystone's tokens.
"""

import json
import os
import subprocess
import unittest

from images_service.tests import base
from images_service.tests import glance
from images_service.tests import pages
from images_service.tests.servers import processes

GUIDE = "doc/source/install/index.rst"
# The README's demonstration runs until it is ended, and says what to try.
DEMONSTRATION = """\
( {command} ) >demonstration.log 2>&1 &
for _ in $(seq 300); do
    if grep -q 'curl -s' demonstration.log; then break; fi
    sleep 0.5
done
eval "$(grep -m 1 'curl -s' demonstration.log)" >demonstration.json
grep -q OS-EXT-IMG-SIZE demonstration.json
pkill -INT -f -- images-service-api.--demo
wait
"""


class TestNewcomer(base.TestCase):
    def setUp(self):
        super().setUp()
        environment = os.environ.get("KEYSTONE_ENVIRONMENT")
        if environment is None:
            raise unittest.SkipTest("tox -e functional-keystone names one")
        if os.getuid() != 0:
            raise unittest.SkipTest("only root can have a machine of its own")
        self.folder = self.make_folder()
        self.keystone = processes.Keystone(self.folder, environment)
        self.addCleanup(self.keystone.stop)
        self.keystone.start()
        self.keystone.wait()
        self.glance = glance.Glance()
        self.addCleanup(self.glance.stop)
        self.glance.start()
        for name in ("public", "own"):
            self.glance.add(
                glance.image(
                    base.IDS[name],
                    base.OWNER,
                    name=name,
                    visibility="public",
                )
            )
        for thing, query in (
            ("DATABASE", "pg_database"),
            ("ROLE", "pg_roles"),
        ):
            column = "datname" if thing == "DATABASE" else "rolname"
            found = self.sql(
                f"SELECT 1 FROM {query} WHERE {column} = 'images'"
            )
            if found:
                self.fail(f"PostgreSQL has a {thing} images; drop it first")
        self.addCleanup(self.sql, "DROP ROLE IF EXISTS images")
        self.addCleanup(
            self.sql, "DROP DATABASE IF EXISTS images WITH (FORCE)"
        )

    def sql(self, statement):
        done = subprocess.run(
            ["psql", "-h", "127.0.0.1", "-U", "postgres", "-Atqc", statement],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def test_every_command_as_written(self):
        demonstration, tests = pages.blocks("README.rst")
        # .ci/run calls the second of them, and this is a part of it.
        self.assertIn("/tox", tests)
        guide = pages.examples(pages.read(GUIDE))
        self.assertGreater(len(guide), 12)
        client = os.environ["OPENSTACKCLIENT_ENVIRONMENT"]
        script = os.path.join(self.folder, "newcomer.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(
                "set -euxo pipefail\n"
                "trap 'tail -n 30 /tmp/images-service*.log' ERR\n"
                "export HOME=/root DEBIAN_FRONTEND=noninteractive\n"
                f"export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                f":{client}/bin\n"
                f"export OS_AUTH_URL={self.keystone.auth_url} "
                "OS_IDENTITY_API_VERSION=3 OS_USERNAME=admin "
                f"OS_PASSWORD={processes.Keystone.PASSWORD} "
                "OS_PROJECT_NAME=admin OS_USER_DOMAIN_ID=default "
                "OS_PROJECT_DOMAIN_ID=default\n"
                # The cloud's Glance.
                "openstack service create --name glance image\n"
                f"openstack endpoint create image public {self.glance.url}\n"
                f"git clone --quiet {pages.ROOT} {self.folder}/clone\n"
                f"cd {self.folder}/clone\n"
                + DEMONSTRATION.format(command=demonstration)
                + "\n".join(
                    # What a block prints is compared below.
                    f"{{\n{commands}\n}} >{self.folder}/{number}"
                    if printed
                    else commands
                    for number, (commands, printed) in enumerate(guide)
                )
                + "\nset +x\n"
                'curl -sS --fail -H "X-Auth-Token: $TOKEN" '
                "http://127.0.0.1:8774/v2.1/images\n"
                # Both groups have had their share of it.
                "for _ in $(seq 9); do curl -sS --fail -H "
                '"X-Auth-Token: $TOKEN" '
                "http://127.0.0.1:8774/v2.1/images >/dev/null; done\n"
                "echo; grep -c 'status: 200' /tmp/images-service@8775.log "
                "/tmp/images-service@8776.log\n"
            )
        done = subprocess.run(
            [
                os.path.join(pages.ROOT, "tools/sandbox.sh"),
                self.folder,
                script,
            ],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        self.assertEqual(0, done.returncode, done.stdout[-20_000:])
        for number, (commands, printed) in enumerate(guide):
            if printed:
                with (
                    self.subTest(commands),
                    open(f"{self.folder}/{number}", encoding="utf-8") as file,
                ):
                    output = file.read()
                    self.assertTrue(pages.matches(printed, output), output)
        lines = done.stdout.splitlines()
        (listed,) = [line for line in lines if line.startswith('{"images"')]
        # What the shell goes on with stands on the same line.
        images = json.JSONDecoder().raw_decode(listed)[0]["images"]
        self.assertEqual(["own", "public"], [each["name"] for each in images])
        for image in images:
            self.assertTrue(
                image["links"][0]["href"].startswith(
                    "http://127.0.0.1:8774/v2.1/images/"
                )
            )
        for line in lines[-2:]:
            self.assertGreater(int(line.rpartition(":")[2]), 0, line)
