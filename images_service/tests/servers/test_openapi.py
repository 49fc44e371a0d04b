# SPDX-License-Identifier: Apache-2.0
"""The service, held by schemathesis against the document of its API."""

import json
import os
import subprocess
import sys
import uuid

from images_service.api import microversion
from images_service.api import openapi
from images_service.tests import base
from images_service.tests.servers import processes

HOOKS = "images_service.tests.servers.schemathesis_hooks"


# An If-Match that doesn't match is none the schema could forbid.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "412"]
"""


class TestOpenAPI(base.TestCase):
    def test_schemathesis_finds_nothing(self):
        folder = self.make_folder()
        api = processes.Api(folder, workers=2)
        conf = base.configuration(api.folder)
        images = [str(uuid.UUID(int=number)) for number in range(1000)]
        self.make_store(
            conf,
            [
                {"id": image_id, "owner": base.OWNER, "foo": "bar"}
                for image_id in images
            ],
        )
        self.addCleanup(api.stop)
        api.start()
        api.wait()
        document = os.path.join(folder, "openapi.json")
        with open(document, "w", encoding="utf-8") as file:
            json.dump(_for_caller(openapi.document(), images), file)
        with open(
            f"{folder}/schemathesis.toml", "w", encoding="utf-8"
        ) as file:
            file.write(SETTINGS)
        found = subprocess.run(
            [
                # Tests with limits may run beside.
                *("nice", "-n", "10"),
                os.path.join(os.path.dirname(sys.executable), "schemathesis"),
                *("run", document, "--url", api.url),
                *("--header", f"X-Auth-Token: {base.TOKENS['member']}"),
                *("--max-examples", "200", "--continue-on-failure"),
            ],
            cwd=folder,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": HOOKS,
                "OPENAPI_IMAGES": json.dumps(images),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        print(found.stdout[-2000:])
        self.assertEqual(0, found.returncode, found.stdout + found.stderr)
        with open(api.log, encoding="utf-8") as file:
            self.assertNotIn("Traceback", file.read())


def _for_caller(document, images):
    """Return the document with what a caller knows, and a schema can't say.

    The project is the token's, a marker the id of an image that is there, and
    one of the two headers that name a version is not read beside the other.
    """
    known = {
        "project_id": {"enum": [base.OWNER]},
        "marker": {"enum": ["", *images[-2:]]},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [
                {**each, "schema": known.get(each["name"], each["schema"])}
                for each in operation["parameters"]
                if each["name"] != microversion.LEGACY_HEADER
            ]
    return document
