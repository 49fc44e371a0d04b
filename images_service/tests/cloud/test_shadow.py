# SPDX-License-Identifier: Apache-2.0
"""images-service-manage shadow between a real Nova and this service."""

import json
import os
import subprocess
import sys

from images_service.tests import base
from images_service.tests.cloud import cloud
from images_service.tests.cloud import novas


class TestShadow(novas.NovaTestCase):
    nodes = 1
    kinds = ("plain",)
    options = {
        **novas.NovaTestCase.options,
        # That of Nova 34.
        "api": {"max_microversion": "2.104"},
    }

    def setUp(self):
        super().setUp()
        glance = self.at_glance("amber")
        self.ids = [
            glance.create(name="none"),
            glance.create(name="ü", key="value", min_ram=512),
            glance.create(name="Snap", image_type="snapshot", os_hidden=True),
            glance.create(name="shared", visibility="shared", architecture=""),
            glance.create(name="last", instance_uuid=base.UNKNOWN),
        ]
        glance.upload(self.ids[0])
        self.sync()

    def nova_log(self, user="amber"):
        """Let Nova answer requests; return what it has logged of them."""
        log = self.novas["plain"].log
        start = os.path.getsize(log)
        client = self.at_nova("plain", user)
        project = self.cloud.projects["amber"]
        for path in (
            *("/images", "/images/detail", "/images?limit=2"),
            *("/images/detail?status=ACTIVE", "/images?name=none&limit=1"),
            f"/images/detail?limit=2&marker={self.ids[4]}",
            f"/images/{base.UNKNOWN}",
            *(f"/images/{image_id}" for image_id in self.ids),
            *(f"/images/{image_id}/metadata" for image_id in self.ids),
            f"/images/{self.ids[1]}/metadata/key",
            f"/images/{self.ids[1]}/metadata/no key",
            "/flavors",
        ):
            for version in ("2.1", "2.37"):
                client.request(
                    "GET",
                    f"/v2.1/{project}{path}",
                    OpenStack_API_Version=f"compute {version}",
                )
        client.request("HEAD", "/v2.1/images")
        client.request("POST", f"/v2.1/images/{self.ids[0]}/metadata", {})
        with open(log, encoding="utf-8") as file:
            file.seek(start)
            return file.read()

    def shadow(self, log, user="amber"):
        """Run the command; return status, rows and standard error."""
        folder = self.make_folder()
        self.configure(folder)
        with open(f"{folder}/log", "w", encoding="utf-8") as file:
            file.write(log)
        done = subprocess.run(
            [
                *(sys.executable, "-c", cloud.START_MANAGE),
                *("--config-file", f"{folder}/images_service.conf"),
                *("shadow", "--nova", self.novas["plain"].url),
                *("--images", self.apis[0].url, "-f", "json"),
                # Glance's own in one with several stores: Nova leaves it out.
                *("--ignore", "*metadata.stores"),
                *("--rate", "100", f"{folder}/log"),
            ],
            check=False,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "OS_TOKEN": self.cloud.session(user).get_token(),
            },
            timeout=300,
        )
        print(done.stderr)
        return done.returncode, json.loads(done.stdout), done.stderr

    def test_what_nova_has_logged(self):
        status, rows, err = self.shadow(self.nova_log())
        self.assertEqual(
            [], [row for row in rows if not row["documented"]], err
        )
        self.assertEqual(0, status)
        # HEAD, and the next link of a last page.
        self.assertEqual(
            {"status", "images_links"}, {row["field"] for row in rows}
        )
        self.assertRegex(err, r"Both answer 200: \d\d")
        self.assertRegex(err, r"Not sent: changes 1, other requests 2")

    def test_an_image_that_differs(self):
        log = self.nova_log()
        self.at_glance("amber").set_property(self.ids[1], "key", "other")
        status, rows, _ = self.shadow(log)
        self.assertEqual(1, status)
        fields = {row["field"] for row in rows if not row["documented"]}
        self.assertLessEqual(
            {"images.metadata.key", "image.metadata.key", "metadata.key"},
            fields,
        )
