# SPDX-License-Identifier: Apache-2.0
"""Microversions of this API's actions are those of Nova."""

from concurrent import futures
import json

from images_service.api import routes
from images_service.tests import base
from images_service.tests.cloud import novas

BODIES = {
    "image-metadata:create": {"metadata": {"key": "value"}},
    "image-metadata:update_all": {"metadata": {"key": "value"}},
    "image-metadata:update": {"meta": {"key": "value"}},
}
HEADERS = {
    "OpenStack_API_Version": "compute {}",
    "X_OpenStack_Nova_API_Version": "{}",
}
# Where actions end, and what is around it.
AROUND = ("2.1", "2.35", "2.36", "2.38", "2.39", "latest")


def said(answer):
    """Return an answer's status, and what it says of its version and type."""
    headers = {name.lower(): value for name, value in answer.headers}
    kind = headers.get("content-type", "").partition(";")[0]
    return (
        answer.status,
        # Nova gives 204 the type of a body, too.
        kind if answer.status != 204 else None,
        headers.get("openstack-api-version"),
        headers.get("x-openstack-nova-api-version"),
    )


def depends_on(answer):
    """Return the headers of a request that an answer depends on."""
    return {
        name.strip()
        for header, value in answer.headers
        if header.lower() == "vary"
        for name in value.split(",")
    }


class TestVersions(novas.NovaTestCase):
    def setUp(self):
        super().setUp()
        documents = json.loads(self.ask("plain", "GET", "/").body)["versions"]
        (latest,) = (d["version"] for d in documents if d["id"] == "v2.1")
        self.latest = int(latest.partition(".")[2])

    def requests(self, versions, images, headers=HEADERS):
        """Yield requests of each action with each version.

        :param images: their ids, one for all requests with a version.
        """
        for version, image_id in zip(versions, images, strict=True):
            for name in headers:
                for route in routes.ROUTES:
                    if route.action == "images:delete":
                        # Other actions need the image.
                        continue
                    path = route.path.format(image_id=image_id, key="key")
                    yield (
                        route.method,
                        f"/v2.1{path}",
                        BODIES.get(route.action),
                        {name: HEADERS[name].format(version)},
                    )
            yield (
                "DELETE",
                f"/v2.1/images/{image_id}",
                None,
                {name: HEADERS[name].format(version)},
            )

    def answers(self, requests):
        """Return what each Nova answers.

        :param requests: by kind.
        """

        def ask(kind):
            return [
                self.ask(kind, method, path, body, **headers)
                for method, path, body, headers in requests[kind]
            ]

        with futures.ThreadPoolExecutor(3) as pool:
            found = list(pool.map(ask, self.kinds))
        return zip(*requests.values(), *found, strict=True)

    def assertSameAnswers(self, requests):
        """Check that each Nova answers alike; return the statuses."""
        statuses = []
        for request, _, _, plain, *others in self.answers(requests):
            statuses.append(plain.status)
            for kind, answer in zip(self.kinds[1:], others, strict=True):
                with self.subTest(kind=kind, request=request):
                    self.assertEqual(said(plain), said(answer))
                    # It says more where Nova can't tell the version.
                    self.assertLessEqual(depends_on(plain), depends_on(answer))
                    if plain.status != 200:
                        self.assertEqual(
                            plain.body and json.loads(plain.body),
                            answer.body and json.loads(answer.body),
                        )
        return statuses

    def test_all_versions(self):
        versions = [f"2.{minor}" for minor in range(1, self.latest + 2)]
        versions += ["latest", *novas.NO_VERSIONS]
        requests = list(
            self.requests(
                versions,
                [base.UNKNOWN] * len(versions),
                ["OpenStack_API_Version"],
            )
        )
        statuses = self.assertSameAnswers(dict.fromkeys(self.kinds, requests))
        self.assertEqual({200, 400, 404, 406}, set(statuses))

    def test_of_an_image(self):
        glance = self.at_glance("amber")
        requests = {
            kind: list(
                self.requests(
                    AROUND, [glance.create(key="value") for _ in AROUND]
                )
            )
            for kind in self.kinds
        }
        statuses = self.assertSameAnswers(requests)
        self.assertEqual({200, 204, 404}, set(statuses))
