# SPDX-License-Identifier: Apache-2.0
"""Nova with this service in it, under other servers than uWSGI's threads."""

import json

from images_service.tests.cloud import novas


class TestServers(novas.NovaTestCase):
    kinds = ("gunicorn", "granian", "eventlet")

    def done(self, *request):
        answer = self.ask(*request)
        self.assertEqual(200, answer.status, answer.body)
        return json.loads(answer.body)

    def test_actions(self):
        glance = self.at_glance("amber")
        for kind in self.kinds:
            for version in ("v2.1", "v2"):
                with self.subTest(kind=kind, version=version):
                    image_id = glance.create(name=f"{kind} {version}")
                    root = f"/{version}/images"
                    image = self.done(kind, "GET", f"{root}/{image_id}")
                    self.assertEqual({}, image["image"]["metadata"])
                    self.done(
                        kind,
                        "PUT",
                        f"{root}/{image_id}/metadata/key",
                        {"meta": {"key": "value"}},
                    )
                    listed = self.done(kind, "GET", f"{root}/detail")
                    found = {each["id"]: each for each in listed["images"]}
                    self.assertEqual(
                        {"key": "value"}, found[image_id]["metadata"]
                    )
                    for path, name in (
                        ("/flavors", "flavors"),
                        ("/servers", "servers"),
                    ):
                        answer = self.done(kind, "GET", f"/{version}{path}")
                        self.assertEqual([name], list(answer))

    def test_eventlet(self):
        with open(self.novas["eventlet"].log, encoding="utf-8") as log:
            self.assertIn("Eventlet based concurrency mode", log.read())
