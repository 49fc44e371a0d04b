# SPDX-License-Identifier: Apache-2.0
"""The API reference says what the API does, no more and no less."""

import json
import os
import re
import unittest

import webob
import yaml

from images_service import exception
from images_service.api import openapi
from images_service.api import routes
from images_service.tests import base

SOURCE = os.path.join(
    os.path.dirname(__file__), "..", "..", "..", "api-ref", "source"
)
PUBLIC, OWN = base.IDS["public"], base.IDS["own"]
IMAGES = f"/v2.1/{base.OWNER}/images"
ITEMS = f"{IMAGES}/{OWN}/metadata"

# What is asked, in this order, and the samples of what is sent and answered.
SAMPLES = (
    ("GET", "/", None, "versions-resp.json"),
    ("GET", "/v2.1/", None, "version-resp.json"),
    ("GET", f"{IMAGES}?limit=2", None, "images-list-resp.json"),
    ("GET", f"{IMAGES}/detail?limit=2", None, "images-detail-resp.json"),
    ("GET", f"{IMAGES}/{PUBLIC}", None, "images-show-resp.json"),
    ("GET", ITEMS, None, "image-metadata-list-resp.json"),
    ("POST", ITEMS, "image-metadata-create-req.json", "image-metadata-create-resp.json"),  # noqa: E501
    ("PUT", ITEMS, "image-metadata-replace-req.json", "image-metadata-replace-resp.json"),  # noqa: E501
    ("GET", f"{ITEMS}/os_version", None, "image-metadata-show-resp.json"),
    ("PUT", f"{ITEMS}/os_version", "image-metadata-update-req.json", "image-metadata-update-resp.json"),  # noqa: E501
    ("GET", f"{IMAGES}/{base.UNKNOWN}", None, "fault-resp.json"),
)  # fmt: skip


def read(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as file:
        return file.read()


def operations():
    """Return the sections of the operations: (method, path) -> text."""
    found = {}
    for name in ("images.rst", "image-metadata.rst"):
        # The first part is the line above the title, the second its section.
        for text in re.split(r"\n(?=[^\n]+\n=+\n)", read(name))[2:]:
            (line,) = re.findall(r"\.\. rest_method:: (\S+) (\S+)", text)
            found[line] = text
    return found


def names(text, heading):
    """Return the parameters below a heading, and what they are called."""
    section = text.partition(f"\n{heading}\n")[2]
    section = re.split(r"\n[^\n]+\n-+\n", section.partition("---\n")[2])[0]
    section = section.partition("\n**")[0]
    return re.findall(r"^   - (.+): (\w+)$", section, re.M)


class TestReference(unittest.TestCase):
    def setUp(self):
        self.parameters = yaml.safe_load(read("parameters.yaml"))

    def test_operations(self):
        wanted = {
            (route.method, f"/v2.1/{{project_id}}{route.path}")
            for route in routes.ROUTES
        }
        self.assertEqual(wanted, set(operations()))

    def each(self):
        for route in routes.ROUTES:
            text = operations()[
                route.method, f"/v2.1/{{project_id}}{route.path}"
            ]
            with self.subTest(route.action):
                yield route, text

    def test_requests(self):
        for route, text in self.each():
            wanted = {
                (where, name) for where, name, _ in openapi.parameters(route)
            }
            if route.query is not None:
                wanted.add(("query", "property-KEY"))
            if route.body is not None:
                (member,) = route.body.schema["required"]
                wanted.add(("body", member))
            self.assertEqual(
                wanted,
                {
                    (self.parameters[key]["in"], name)
                    for name, key in names(text, "Request")
                },
            )

    def test_responses(self):
        document = openapi.document()
        schemas = document["components"]["schemas"]
        for route, text in self.each():
            wanted = {("header", "ETag")} if route.etag else set()
            answer = schemas.get(route.answer, {"properties": {}})
            for name, schema in answer["properties"].items():
                wanted.add(("body", name))
                of = schema.get("items", schema).get("$ref", "")
                inner = schemas.get(of.rpartition("/")[2], {})
                if name.startswith("image") and name != "images_links":
                    wanted |= {("body", each) for each in inner["properties"]}
            self.assertEqual(
                wanted,
                {
                    (self.parameters[key]["in"], name)
                    for name, key in names(text, "Response")
                },
            )

    def test_statuses(self):
        for route, text in self.each():
            found = [int(n) for n in re.findall(r"^   - (\d{3})$", text, re.M)]
            self.assertEqual(
                sorted([route.success, *openapi.statuses(route)]),
                sorted(found),
            )

    def test_every_parameter_is_used(self):
        used = {
            key
            for text in operations().values()
            for heading in ("Request", "Response")
            for _, key in names(text, heading)
        }
        self.assertEqual(set(self.parameters), used)

    def test_faults(self):
        told = yaml.safe_load(read("status.yaml"))
        listed = re.findall(r"^   - (\d{3})$", read("faults.rst"), re.M)
        faults = {}
        for status, name in exception.FAULTS.values():
            faults[status] = name
        self.assertEqual(sorted(faults), [int(status) for status in listed])
        for status, name in faults.items():
            self.assertIn(f"``{name}``: ", told[status]["default"])
        self.assertEqual({200, 204, 304, *faults}, set(told))

    def test_no_sample_is_left_over(self):
        used = {name for _, _, *files in SAMPLES for name in files if name}
        self.assertEqual(
            used, set(os.listdir(os.path.join(SOURCE, "samples")))
        )
        included = re.findall(
            r"literalinclude:: samples/(\S+)",
            "".join(
                read(name)
                for name in os.listdir(SOURCE)
                if name.endswith(".rst")
            ),
        )
        self.assertEqual(used, set(included))


class TestSamples(base.ApiTestCase):
    options = {
        "api": {
            "compute_link_prefix": "http://openstack.example.com/compute",
            "glance_link_prefix": "http://openstack.example.com/image",
        }
    }

    def test_requests_are_answered_as_the_samples_say(self):
        for method, path, sent, answered in SAMPLES:
            with self.subTest(f"{method} {path}"):
                self.check(method, path, sent, answered)

    def check(self, method, path, sent, answered):
        request = webob.Request.blank(path, method=method)
        request.headers["X-Auth-Token"] = base.TOKENS["member"]
        if sent:
            request.content_type = "application/json"
            request.body = read(f"samples/{sent}").encode()
        response = request.get_response(self.app)
        # Members are told in the order in which they are answered.
        self.assertEqual(
            json.dumps(json.loads(read(f"samples/{answered}")), indent=4),
            json.dumps(response.json, indent=4),
        )
