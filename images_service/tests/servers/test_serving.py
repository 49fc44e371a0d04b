# SPDX-License-Identifier: Apache-2.0
"""images-service-api as it is deployed: signals, metrics, and its log."""

import http.client
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request

from images_service.tests import base
from images_service.tests.servers import load
from images_service.tests.servers import processes

TOKEN = {"X-Auth-Token": base.TOKENS["member"]}
PATH = f"/v2.1/{base.OWNER}/images/detail"


class TestServing(base.TestCase):
    def start(self, *, workers=2, **options):
        self.folder = self.make_folder()
        api = processes.Api(self.folder, workers=workers)
        self.conf = base.configuration(api.folder, **options)
        self.store = self.make_store(self.conf)
        self.addCleanup(api.stop)
        api.start()
        api.wait()
        return api

    def get(self, port, path, headers=None):
        req = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", headers=headers or {}
        )
        with urllib.request.urlopen(req, timeout=10) as response:
            return response.read().decode()

    def configure(self, server, **options):
        base.configuration(server.folder, **options)


class TestSignals(TestServing):
    """What a reload makes of a mistake; test_package has the rest."""

    def test_a_reload_of_a_wrong_configuration_changes_nothing(self):
        api = self.start()
        self.configure(api, api={"max_limit": "many"})
        with load.Load(api.port, PATH, TOKEN) as requests:
            requests.more(100)
            api.reload()
            requests.more(100)
        self.assertEqual(([], 0), (requests.lost, requests.refused))
        with open(api.log, encoding="utf-8") as file:
            (line,) = [line for line in file if "stays as it was" in line]
        self.assertIn("max_limit", line)


class Demonstration(processes.Api):
    """images-service-api --demo."""

    def command(self):
        return [
            *(sys.executable, "-c", processes.START, "--demo"),
            *("--port", str(self.port)),
        ]


class TestDemonstration(TestServing):
    def test_workers_that_end_leave_its_files(self):
        demo = Demonstration(self.make_folder())
        self.addCleanup(demo.stop)
        demo.start()
        demo.wait()
        with open(demo.log, encoding="utf-8") as file:
            text = file.read()
        (path,) = re.findall("curl .* http://[^/]+(/.*)", text)
        (folder,) = re.findall("Everything is in (.*) and goes away", text)
        for _ in range(2):
            demo.reload()
            self.assertIn("policy.json", os.listdir(folder))
            answer = json.loads(
                self.get(demo.port, path, {"X-Auth-Token": "demo:demo"})
            )
            self.assertNotEqual([], answer["images"])
        demo.stop()
        self.assertFalse(os.path.exists(folder))


class TestMetrics(TestServing):
    def values(self, port):
        lines = self.get(port, "/metrics").splitlines()
        return {
            name: float(value)
            for name, _, value in (
                line.rpartition(" ") for line in lines if line[0] != "#"
            )
        }

    def test_what_all_workers_count(self):
        port = processes.free_port()
        api = self.start(metrics={"port": port})
        for _ in range(20):
            self.get(api.port, PATH, TOKEN)
        self.get(api.port, "/healthcheck")
        values = self.values(port)
        counted = (
            'images_service_requests_total{action="images:detail",'
            'status="200"}'
        )
        self.assertEqual(20, values[counted])
        self.assertEqual(
            20,
            values[
                'images_service_request_seconds_count{action="images:detail"}'
            ],
        )
        self.assertIn(
            'images_service_database_connections{state="idle"}', values
        )
        # Workers that have gone are still counted, but for what they hold.
        api.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        idle = 'images_service_database_connections{state="idle"}'
        while self.values(port).get(idle, 0) and time.monotonic() < deadline:
            time.sleep(0.1)
        values = self.values(port)
        self.assertEqual((20, 0), (values[counted], values.get(idle, 0)))
        # An edit is taken by each worker that answers after it.
        path = os.path.join(api.folder, "policy.json")
        taken = 'images_service_policy_reloads_total{result="taken"}'
        refused = 'images_service_policy_reloads_total{result="refused"}'
        for text, name in (("{}\n", taken), ("nonsense", refused)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            deadline = time.monotonic() + 20
            while not self.values(port).get(name):
                self.assertLess(time.monotonic(), deadline)
                self.get(api.port, PATH, TOKEN)
                time.sleep(0.1)

    def test_off_by_default(self):
        api = self.start()
        with self.assertRaises(urllib.error.HTTPError):
            self.get(api.port, "/metrics")

    def test_a_port_that_is_taken(self):
        api = self.start()
        folder = self.make_folder()
        other = processes.Api(folder)
        base.configuration(other.folder, metrics={"port": api.port})
        other.start()
        self.assertEqual(1, other.process.wait(20))
        self.assertIn("images-service-api: ", other.last_words())
        self.assertIn("in use", other.last_words())


class TestLog(TestServing):
    def test_no_secrets_even_when_debugging(self):
        """Neither tokens nor bodies nor the database's password."""
        if not processes.MariaDB.installed():
            self.skipTest("MariaDB is not installed")
        database = processes.MariaDB(self.make_folder())
        self.addCleanup(database.stop)
        database.start()
        database.wait()
        database.create()
        password = "secret-password"
        database.sql(
            "CREATE USER other@'127.0.0.1' "
            f"IDENTIFIED BY '{password}'; "
            "GRANT ALL ON images.* TO other@'127.0.0.1'"
        )
        api = self.start(
            DEFAULT={"debug": True},
            connection=f"mysql+pymysql://other:{password}@127.0.0.1:"
            f"{database.port}/images",
        )
        images = f"/v2.1/{base.OWNER}/images"
        item = f"{images}/{base.IDS['own']}/metadata/key"
        for method, path, body in (
            ("GET", images, None),
            ("PUT", item, '{"meta": {"key": "secret-value"}}'),
            ("PUT", item, '{"meta": {"key": 5, "secret-value": 6}}'),
            ("PUT", item, '{"secret-value'),
            ("GET", f"{images}?name=secret-value", None),
            ("GET", f"{images}?limit=secret-value", None),
        ):
            self.assertLess(self.status(api, method, path, body), 500)
        database.kill()
        self.assertEqual(503, self.status(api, "GET", images))
        # A service that starts then says so, too.
        api.stop()
        api.start()
        api.wait()
        self.assertEqual(503, self.status(api, "GET", images))
        with open(api.log, encoding="utf-8") as file:
            log = file.read()
        self.assertIn(item, log)
        self.assertIn("DEBUG", log)
        self.assertIn("The database is not available", log)
        for secret in ("secret-role", "secret-value", password):
            self.assertNotIn(secret, log)

    def status(self, api, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", api.port)
        try:
            token = f"alice:{base.OWNER}:reader,member,secret-role"
            connection.request(method, path, body, {"X-Auth-Token": token})
            return connection.getresponse().status
        finally:
            connection.close()
