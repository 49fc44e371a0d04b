# SPDX-License-Identifier: Apache-2.0
"""Writes through two API nodes, which Glance would lose."""

from concurrent import futures
import time

from images_service.tests.cloud import cloud

WRITERS = 20


class TestWrites(cloud.CloudTestCase):
    nodes = 2

    def setUp(self):
        super().setUp()
        self.glance_as_amber = self.at_glance("amber")
        self.image_id = self.glance_as_amber.create(name="image")
        self.apis_as_amber = [
            self.at_api("amber", node) for node in range(self.nodes)
        ]
        # Tokens are known everywhere before requests meet.
        for api in self.apis_as_amber:
            api.done("GET", f"/v2.1/images/{self.image_id}")

    def path(self, number):
        return f"/v2.1/images/{self.image_id}/metadata/key-{number}"

    def put(self, number, value="x"):
        """Write an item of its own, on one of the nodes.

        :returns: the status, and after how many tries it came.
        """
        body = {"meta": {f"key-{number}": value}}
        return self.until_done(number, "PUT", self.path(number), body)

    def until_done(self, number, *request):
        """Send a request until nobody else is first for too long."""
        api = self.apis_as_amber[number % self.nodes]
        deadline = time.monotonic() + 30
        tries = 0
        while True:
            response = api.request(*request)
            tries += 1
            if response.status_code not in (409, 503):
                return response.status_code, tries
            self.assertLess(time.monotonic(), deadline, response.text)
            time.sleep(0.1)

    def at_once(self, function, *args):
        """Call a function for each of some values at the same time."""
        with futures.ThreadPoolExecutor(len(args[0])) as pool:
            return list(pool.map(function, *args))

    def in_glance(self):
        return self.glance_as_amber.done("GET", f"/v2/images/{self.image_id}")

    def test_writers_of_one_image(self):
        numbers = range(WRITERS)
        for value in ("first", "second", "third"):
            start = time.monotonic()
            answers = self.at_once(self.put, numbers, [value] * WRITERS)
            seconds = time.monotonic() - start
            self.assertEqual({200}, {status for status, _ in answers})
            tries = sum(tries for _, tries in answers)
            print(f"{tries} tries of {WRITERS} in {seconds:.1f} s")
            expected = {f"key-{number}": value for number in numbers}
            image = self.in_glance()
            self.assertEqual(
                expected, {key: image.get(key) for key in expected}
            )
            for api in self.apis_as_amber:
                found = api.done("GET", self.path(0).rpartition("/")[0])
                self.assertEqual(expected, found["metadata"])

    def test_the_quota_is_exact(self):
        others = {f"other-{number}": "x" for number in range(120)}
        self.image_id = self.glance_as_amber.create(name="full", **others)
        numbers = range(WRITERS)
        statuses = [status for status, _ in self.at_once(self.put, numbers)]
        self.assertEqual([200] * 8 + [403] * 12, sorted(statuses))
        image = self.in_glance()
        self.assertEqual(
            {number for number in numbers if statuses[number] == 200},
            {n for n in numbers if f"key-{n}" in image},
        )

    def test_a_delete_beside_writes(self):
        def delete(number):
            time.sleep(0.2)
            path = f"/v2.1/images/{self.image_id}"
            return self.until_done(number, "DELETE", path)[0]

        with futures.ThreadPoolExecutor(WRITERS) as pool:
            deletes = [pool.submit(delete, number) for number in range(4)]
            writes = [pool.submit(self.put, n) for n in range(WRITERS - 4)]
        statuses = sorted(each.result() for each in deletes)
        self.assertEqual([204, 404, 404, 404], statuses)
        self.assertLessEqual({each.result()[0] for each in writes}, {200, 404})
        response = self.glance_as_amber.request(
            "GET", f"/v2/images/{self.image_id}"
        )
        self.assertEqual(404, response.status_code)
        for number in range(self.nodes):
            self.assertEqual((404, 1), self.put(number))

    def test_a_protected_image_stays(self):
        self.glance_as_amber.patch(
            self.image_id,
            {"op": "replace", "path": "/protected", "value": True},
        )
        response = self.apis_as_amber[0].request(
            "DELETE", f"/v2.1/images/{self.image_id}"
        )
        self.assertEqual(403, response.status_code, response.text)
        self.assertTrue(self.in_glance()["protected"])
