# SPDX-License-Identifier: Apache-2.0
"""What Glance has and the store has not, without a mirror."""

import collections
from concurrent import futures
import itertools
import time
import uuid

from images_service.tests.cloud import cloud


class TestReadThrough(cloud.CloudTestCase):
    # What a worker has just asked for it knows, and no other one does.
    workers = 1
    is_recorded = True

    def test_created_in_glance_and_shown_at_once(self):
        glance, api = self.at_glance("amber"), self.at_api("amber")

        def show(number):
            image_id = glance.create(name=f"image {number}", a=str(number))
            response = api.request("GET", f"/v2.1/images/{image_id}")
            if response.status_code != 200:
                return number, response.text
            image = response.json()["image"]
            return image["name"], image["metadata"], image["status"]

        numbers = range(200)
        # A worker lets two requests ask Glance, and one wait for them; others
        # are refused where Glance takes more than a quarter of a second.
        with futures.ThreadPoolExecutor(3) as pool:
            shown = list(pool.map(show, numbers))
        self.assertEqual(
            [(f"image {n}", {"a": str(n)}, "SAVING") for n in numbers], shown
        )

    def assertAskedOnceASecond(self, image_id, status):
        """Ask this service for an image from several threads."""
        api = self.at_api("amber")
        # A process's first questions take long.
        path = f"/v2.1/images/{uuid.uuid4()}"
        self.assertTrue(
            self.wait_for(
                lambda: api.request("GET", path).status_code == 404, 20
            )
        )
        start = time.monotonic()

        def ask(_):
            found = []
            while time.monotonic() < start + 3.5:
                response = api.request("GET", f"/v2.1/images/{image_id}")
                found.append(response.status_code)
            return found

        with futures.ThreadPoolExecutor(4) as pool:
            answers = [s for found in pool.map(ask, range(4)) for s in found]
        with open(self.apis[0].log, encoding="utf-8") as log:
            errors = [line for line in log if " ERROR " in line]
        self.assertEqual(
            {status: len(answers)}, collections.Counter(answers), errors[:5]
        )
        asked = self.recorder.of(image_id, "GET")
        print(f"{len(answers)} requests, of which {len(asked)} asked Glance")
        shown = [each for each in asked if not each.path.endswith("/members")]
        self.assertIn(len(shown), range(1, 5))
        for first, second in itertools.pairwise(shown):
            self.assertGreater(second.time - first.time, 0.9)

    def test_another_projects_image(self):
        image_id = self.at_glance("birch").create(visibility="private")
        self.assertAskedOnceASecond(image_id, 404)

    def test_no_image(self):
        self.assertAskedOnceASecond(str(uuid.uuid4()), 404)

    def test_shared_and_accepted(self):
        birch, amber = self.at_glance("birch"), self.at_glance("amber")
        image_id = birch.create(visibility="shared")
        project = self.cloud.projects["amber"]
        members = f"/v2/images/{image_id}/members"
        birch.done("POST", members, {"member": project})
        amber.done("PUT", f"{members}/{project}", {"status": "accepted"})
        self.at_api("amber").done("GET", f"/v2.1/images/{image_id}")
        self.assertEqual({image_id: {project: "accepted"}}, self.shares())

    def test_deleted_through_this_service(self):
        image_id = self.at_glance("amber").create(name="image")
        api = self.at_api("amber")
        path = f"/v2.1/images/{image_id}"
        for status in (204, 404):
            response = api.request("DELETE", path)
            self.assertEqual(status, response.status_code, response.text)
        self.assertEqual(404, api.request("GET", path).status_code)
        self.assertEqual({}, self.at_glance().every())
