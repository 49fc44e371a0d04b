# SPDX-License-Identifier: Apache-2.0
"""Clients that guess passwords, beside a user who knows one."""

import json
import threading
import time

import bcrypt
import requests

from images_service.tests import base
from images_service.tests.servers import processes

COST = 12


class TestGuessers(base.TestCase):
    def setUp(self):
        super().setUp()
        self.api = processes.Api(self.make_folder())
        digest = bcrypt.hashpw(b"secret", bcrypt.gensalt(COST)).decode()
        self.write("passwords", f"alice:{digest}\n")
        self.write(
            "users.json",
            json.dumps({"alice": {"project_id": "p", "roles": ["reader"]}}),
        )
        conf = base.configuration(
            self.api.folder,
            api={"auth_strategy": "http_basic"},
            oslo_middleware={"http_basic_auth_user_file": "passwords"},
            http_basic={"user_map": "users.json"},
        )
        self.make_store(conf, [])
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()
        self.stopping = threading.Event()
        self.statuses = set()

    def write(self, name, text):
        with open(f"{self.api.folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def get(self, path, user, password):
        start = time.monotonic()
        response = requests.get(
            self.api.url + path, auth=(user, password), timeout=60
        )
        return response.status_code, time.monotonic() - start

    def guess(self, number):
        while not self.stopping.is_set():
            user = ("alice", "nobody")[number % 2]
            status, _ = self.get("/v2.1/images", user, "guess")
            self.statuses.add(status)
            time.sleep(0.01)

    def test_guessers_do_not_push_a_known_user_back(self):
        status, _ = self.get("/v2.1/images", "alice", "secret")
        self.assertEqual(200, status)
        guessers = [
            threading.Thread(target=self.guess, args=(number,))
            for number in range(16)
        ]
        for guesser in guessers:
            guesser.start()
        try:
            time.sleep(1)
            known = [
                self.get("/v2.1/images", "alice", "secret") for _ in range(10)
            ]
            public = [self.get("/", "x", "x") for _ in range(10)]
        finally:
            self.stopping.set()
            for guesser in guessers:
                guesser.join(60)
        self.assertEqual({200}, {status for status, _ in known + public})
        slowest = max(seconds for _, seconds in known + public)
        print(f"beside guessers the slowest answer took {slowest:.2f} s")
        self.assertLess(slowest, 1)
        self.assertEqual({401, 503}, self.statuses)
