# SPDX-License-Identifier: Apache-2.0
"""The demonstration's page, held against the API that it is about."""

import json
import os
import re
import time
from unittest import mock

import webob

from images_service import app
from images_service import config
from images_service import files
from images_service.api import routes
from images_service.cmd import demo
from images_service.tests import base

TOKENS = {
    "alice": "alice:demo",
    "carol": "carol:demo:reader",
    "bob": "bob:partner",
    "admin": "admin:demo",
}
PATHS = ("/demo", "/demo/demo.css", "/demo/demo.js", "/demo/state")
LOCAL = "127.0.0.1:8774"


class PageTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.conf = config.load(["--config-file", demo.prepare(self.folder)])

    def start(self, **policy):
        """Start the demonstration, with edits of its policy."""
        path = f"{self.folder}/policy.json"
        with open(path, encoding="utf-8") as file:
            rules = json.load(file)
        for name, text in policy.items():
            rules[f"os_compute_api:{name}"] = text
        with open(path, "w", encoding="utf-8") as file:
            json.dump(rules, file, indent=1)
        self.app = app.create(self.conf, name="demo")

    def get(self, path, client="127.0.0.1", method="GET", host=LOCAL):
        req = webob.Request.blank(path, method=method)
        req.host = host
        if client is not None:
            req.remote_addr = client
        return req.get_response(self.app)

    def state(self):
        response = self.get("/demo/state")
        self.assertEqual(200, response.status_int)
        return response.json


class TestWhere(PageTestCase):
    def test_a_deployment_has_no_page(self):
        """As it is installed, with the same configuration."""
        self.app = app.create(self.conf)
        for path in PATHS:
            with self.subTest(path):
                self.assertEqual(404, self.get(path).status_int)
        shipped = config.find_shipped_file("api-paste.ini")
        assert shipped is not None
        with open(shipped, encoding="utf-8") as file:
            self.assertNotIn("demo", file.read())

    def test_only_this_machine_reads_it_by_its_own_name(self):
        self.start()
        for client, host, status in (
            ("127.0.0.1", LOCAL, 200),
            ("127.0.0.1", "localhost:1", 200),
            ("::1", "[::1]:8774", 200),
            ("192.0.2.1", LOCAL, 404),
            (None, LOCAL, 404),
            # The name of another site that leads here.
            ("127.0.0.1", "rebound.example:8774", 404),
            ("127.0.0.1", "[x:8774", 404),
        ):
            for path in PATHS:
                with self.subTest(client=client, host=host, path=path):
                    response = self.get(path, client, host=host)
                    self.assertEqual(status, response.status_int)

    def test_it_can_only_be_read(self):
        self.start()
        for path in PATHS:
            for method in ("POST", "PUT", "DELETE"):
                with self.subTest(f"{method} {path}"):
                    response = self.get(path, method=method)
                    self.assertEqual(404, response.status_int)

    def test_a_browser_runs_only_its_own_script(self):
        self.start()
        for path in PATHS:
            with self.subTest(path):
                headers = self.get(path).headers
                policy = headers["Content-Security-Policy"]
                self.assertIn("default-src 'none'; script-src 'self'", policy)
                self.assertNotIn("unsafe", policy)
                self.assertEqual("nosniff", headers["X-Content-Type-Options"])
        page = self.get("/demo").text
        self.assertNotRegex(page, r"<script[^>]*>[^<]|<style| style=| on\w+=")
        script = self.get("/demo/demo.js").text
        self.assertNotRegex(script, r"innerHTML|insertAdjacentHTML|eval\(")

    def test_the_page_asks_only_for_what_is_there(self):
        self.start()
        text = self.get("/demo").text + self.get("/demo/demo.js").text
        named = set(re.findall('"(/[^"]+)"', text))
        self.assertEqual(set(PATHS) - {"/demo"}, named)
        self.assertNotIn("http", text)

    def test_the_welcome_names_it_on_loopback_only(self):
        for host, address, named in (
            ("127.0.0.1", "127.0.0.1:1", True),
            ("::1", "[::1]:1", True),
            ("0.0.0.0", "0.0.0.0:1", False),
            ("images.example", "images.example:1", False),
        ):
            with self.subTest(host):
                text = demo.welcome("/folder", host, address)
                self.assertEqual(named, f"http://{address}/demo " in text)


class TestState(PageTestCase):
    def test_images_are_what_each_lists(self):
        for rules in (
            {},
            {"image-size": "role:admin", "images:detail": "role:member"},
        ):
            with self.subTest(rules):
                self.start(**rules)
                self.check_images()

    def check_images(self):
        state = self.state()
        self.assertEqual(6, len(state["images"]))
        for number, caller in enumerate(state["callers"]):
            response = self.request(caller["name"], "GET", "/images/detail")
            wanted = {
                image["name"]: image.get("OS-EXT-IMG-SIZE:size", "unknown")
                for image in response.json.get("images", [])
            }
            found = {
                image["name"]: image["seen"][number].get("size", "unknown")
                for image in state["images"]
                if image["seen"][number] is not None
            }
            self.assertEqual(wanted, found)

    def test_each_cell_is_what_the_api_answers(self):
        for rules in (
            {},
            {
                "images:delete": "role:reader and project_id:%(project_id)s",
                "images:index": "role:member",
                "image-metadata:update": "'public':%(visibility)s",
                "image-metadata:show": "!",
            },
        ):
            with self.subTest(rules):
                self.start(**rules)
                self.check_cells()

    def check_cells(self):
        state = self.state()
        ids = {
            image["name"]: image["id"]
            for image in self.request("admin", "GET", "/images").json["images"]
        }
        actions = {route.rule: route for route in routes.ROUTES}
        words = {403: "refused", 404: "hidden", 412: "allowed", 200: "allowed"}
        found = set()
        for action in state["actions"]:
            route = actions.get(action["rule"])
            if route is None:
                continue
            name = action["image"] and action["image"]["name"]
            key = "os_distro" if name == "debian-13-generic" else "image_type"
            path = route.path.format(image_id=ids.get(name), key=key)
            for caller, outcome in zip(
                state["callers"], action["outcomes"], strict=True
            ):
                answer = self.request(
                    caller["name"], route.method, path, {key: "x"}
                )
                with self.subTest(caller=caller["name"], action=action):
                    self.assertEqual(words[answer.status_int], outcome)
                found.add(outcome)
        self.assertEqual({"allowed", "refused", "hidden"}, found)

    def request(self, name, method, path, items=None):
        """Send a request that changes nothing."""
        project = TOKENS[name].split(":")[1]
        req = webob.Request.blank(f"/v2.1/{project}{path}", method=method)
        req.headers["X-Auth-Token"] = TOKENS[name]
        if method in ("PUT", "POST"):
            body = "metadata" if path.endswith("/metadata") else "meta"
            req.json = {body: items}
        if method != "GET":
            # What the caller may do meets this condition.
            req.headers["If-Match"] = '"another"'
        return req.get_response(self.app)

    def test_who_is_an_administrator(self):
        self.start()
        (action,) = [
            action
            for action in self.state()["actions"]
            if action["rule"] == "context_is_admin"
        ]
        self.assertEqual(
            ["refused", "refused", "refused", "allowed"], action["outcomes"]
        )

    def test_what_is_probably_wrong_has_its_line(self):
        self.start(**{"images:show": "rol:x"})
        state = self.state()
        self.assertIsNone(state["problem"])
        path = f"{self.folder}/policy.json"
        self.assertEqual(path, state["file"])
        (warning,) = state["warnings"]
        self.assertRegex(warning, f"^{path}:5: .*did you mean role:x?")
        self.assertIn("rol:x", state["text"].splitlines()[4])

    def test_a_mistake_and_its_recovery(self):
        self.take_edits_at_once()
        at_once = mock.patch.object(files, "_INTERVAL", 0)
        at_once.start()
        self.addCleanup(at_once.stop)
        self.start()
        before = self.state()
        path = f"{self.folder}/policy.json"
        with open(path, "w", encoding="utf-8") as file:
            file.write(before["text"].replace("role:admin", "role", 1))
        state = self.wait_for(f"{path}:2: rule context_is_admin")
        self.assertEqual(before["actions"], state["actions"])
        os.remove(path)
        state = self.wait_for("No such file")
        self.assertEqual("", state["text"])
        with open(path, "w", encoding="utf-8") as file:
            file.write(before["text"])
        self.assertEqual(before, self.wait_for("None"))

    def wait_for(self, problem):
        """Return the state as soon as it has a problem."""
        deadline = time.monotonic() + 10
        while problem not in str((state := self.state())["problem"]):
            self.assertLess(time.monotonic(), deadline, state["problem"])
            time.sleep(0.05)
        return state

    def test_a_service_that_a_rule_asks_gives_no_answer(self):
        self.start(**{"images:show": "http://127.0.0.1:1/"})
        response = self.get("/demo/state")
        self.assertEqual(503, response.status_int)
        self.assertNotEqual("", response.text)
