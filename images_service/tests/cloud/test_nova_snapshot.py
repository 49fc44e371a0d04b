# SPDX-License-Identifier: Apache-2.0
"""A snapshot of a server, made and listed through the same Nova."""

import time

from images_service.tests.cloud import novas
from images_service.tests.cloud import processes

SERVICES = ("conductor", "scheduler", "compute")
# Seconds after which what Glance has is listed.
LAG = 2


class TestSnapshot(novas.NovaTestCase):
    kinds = ("front",)
    services: list[processes.NovaService]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.services = [
            processes.NovaService(
                cls.novas["front"], cls.cloud.nova_databases, kind
            )
            for kind in SERVICES
        ]
        servers = (novas.placement(), *cls.services)
        for server in servers:
            server.start()
            # They would end by and by, with what nobody needs any more.
            cls.addClassCleanup(server.kill)
        for server in servers:
            server.wait()

    def setUp(self):
        super().setUp()
        self.glance_as_amber = self.at_glance("amber")
        self.image_id = self.glance_as_amber.create(name="image", key="value")
        self.glance_as_amber.upload(self.image_id)
        self.start_mirror()
        self.assertTrue(
            self.wait_for(lambda: self.image_id in self.listed(), 30)
        )

    def servers(self, path, body, version):
        """Send a POST about servers; return the response."""
        response = self.at_nova("front", "amber").request(
            "POST",
            f"/v2.1/servers{path}",
            body,
            OpenStack_API_Version=f"compute {version}",
        )
        self.assertEqual(202, response.status_code, response.text)
        return response

    def make_server(self):
        """Make a server and return its id."""
        server = {
            "name": "server",
            "flavorRef": "small",
            "imageRef": self.image_id,
            "networks": "none",
        }
        made = self.servers("", {"server": server}, "2.37").json()["server"]
        # Nova's API would ask Neutron about a server.
        query = (
            f"SELECT vm_state FROM nova.instances WHERE uuid='{made['id']}'"
        )
        self.assertTrue(
            self.wait_for(
                lambda: (
                    self.cloud.database.sql(query).strip()
                    in ("active", "error")
                ),
                60,
            ),
            [service.last_words() for service in self.services],
        )
        self.assertEqual("active", self.cloud.database.sql(query).strip())
        return made["id"]

    def listed(self, query=""):
        found = self.at_nova("front", "amber").done(
            "GET", f"/v2.1/images/detail{query}"
        )
        return {image["id"]: image for image in found["images"]}

    def test_a_snapshot(self):
        server_id = self.make_server()
        response = self.servers(
            f"/{server_id}/action",
            {"createImage": {"name": "snapshot", "metadata": {"a": "b"}}},
            "2.1",
        )
        # Nova's API has made it in Glance.
        begun = time.monotonic()
        snapshot_id = response.headers["Location"].rpartition("/")[2]
        query = f"?type=snapshot&server={server_id}"
        found = self.wait_for(lambda: snapshot_id in self.listed(query), LAG)
        print(f"A snapshot is listed after {time.monotonic() - begun:.2f} s")
        self.assertTrue(found)
        snapshot = self.listed(query)[snapshot_id]
        self.assertEqual("SAVING", snapshot["status"])
        self.assertEqual(server_id, snapshot["server"]["id"])
        self.assertEqual("b", snapshot["metadata"]["a"])
        # The fake driver uploads nothing; others do this as the user.
        response = self.glance_as_amber.patch(
            snapshot_id,
            {"op": "add", "path": "/disk_format", "value": "raw"},
            {"op": "add", "path": "/container_format", "value": "bare"},
        )
        self.assertEqual(200, response.status_code, response.text)
        self.glance_as_amber.upload(snapshot_id, b"snapshot")
        self.assertTrue(
            self.wait_for(
                lambda: self.listed(query)[snapshot_id]["status"] == "ACTIVE",
                LAG,
            )
        )
        self.assertEqualToGlance(LAG)
