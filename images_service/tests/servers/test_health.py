# SPDX-License-Identifier: Apache-2.0
"""The health check of a running service, as the documentation sets it up."""

import concurrent.futures
import time

import requests

from images_service.tests import base
from images_service.tests.servers import processes


class TestRefused(base.TestCase):
    def setUp(self):
        super().setUp()
        self.api = processes.Api(self.make_folder(), threads=2)
        self.make_store(
            base.configuration(
                self.api.folder,
                healthcheck={
                    "detailed": "True",
                    "allowed_source_ranges": "192.0.2.0/24",
                    "ignore_proxied_requests": "True",
                },
            )
        )
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()

    def get(self, path, **headers):
        start = time.monotonic()
        response = requests.get(
            f"{self.api.url}{path}",
            headers={n.replace("_", "-"): v for n, v in headers.items()},
            timeout=20,
        )
        return response, time.monotonic() - start

    def test_an_unauthenticated_request_does_not_kill_the_service(self):
        headers = [{}, {"X_Forwarded_Host": f"127.0.0.1:{self.api.port}"}]
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            asked = [
                pool.submit(self.get, "/healthcheck", **headers[number % 2])
                for number in range(20)
            ]
        for each in asked:
            response, seconds = each.result()
            self.assertEqual(403, response.status_code, response.text)
            self.assertEqual(["forbidden"], list(response.json()))
            self.assertNotIn("Thread", response.text)
            self.assertLess(seconds, 5)
        response, seconds = self.get("/")
        self.assertEqual(200, response.status_code)
        self.assertLess(seconds, 1)
