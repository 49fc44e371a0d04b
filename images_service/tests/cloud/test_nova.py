# SPDX-License-Identifier: Apache-2.0
"""What Nova answers is what it answers without this service."""

from images_service.tests.cloud import nova


class TestOthers(nova.NovaTestCase):
    kinds = ("plain",)

    def test_flavors(self):
        found = self.at_nova("plain", "amber").done("GET", "/v2.1/flavors")
        names = [flavor["name"] for flavor in found["flavors"]]
        self.assertEqual(["large", "small"], sorted(names))
        self.at_nova("plain", "amber").done("GET", "/v2.1/servers")
        print(self.at_nova("plain", "amber").done("GET", "/v2.1/images"))
