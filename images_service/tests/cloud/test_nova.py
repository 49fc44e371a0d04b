# SPDX-License-Identifier: Apache-2.0
"""Nova answers as ever with this service in its process."""

import itertools
import typing

from images_service.tests import base
from images_service.tests.cloud import novas

PUBLIC_KEY = (
    "ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIJ1cHEFTzkhFC8cWqgpXzv1mvTqyX1vZ5FQzVY2Zx0kB"
)
# Method, path below the version, and body.
OTHERS: tuple[tuple[str, str, typing.Any], ...] = (
    ("GET", "", None),
    ("GET", "/", None),
    ("POST", "/", None),
    ("GET", "/servers", None),
    ("GET", "/servers/detail?limit=1", None),
    ("GET", f"/servers/{base.UNKNOWN}", None),
    ("GET", f"/servers/{base.UNKNOWN}/images", None),
    ("POST", "/servers", {"server": {"name": "incomplete"}}),
    (
        "POST",
        f"/servers/{base.UNKNOWN}/action",
        {"createImage": {"name": "x"}},
    ),
    ("GET", "/flavors", None),
    ("GET", "/flavors/detail", None),
    ("GET", "/flavors/small", None),
    ("HEAD", "/flavors", None),
    ("PATCH", "/flavors", None),
    ("OPTIONS", "/flavors", None),
    ("GET", "/limits", None),
    ("GET", "/extensions", None),
    ("GET", "/extensions/os-keypairs", None),
    ("GET", "/os-keypairs", None),
    ("POST", "/os-keypairs", {"keypair": {"nickname": "images"}}),
    # A name of something of Nova's that is no project.
    ("GET", "/os-keypairs/images", None),
    ("GET", "/flavors/images", None),
    ("DELETE", "/servers/images", None),
    ("GET", "/os-availability-zone", None),
    ("GET", "/os-quota-sets/images", None),
    # Paths like those of images that lead nowhere.
    ("GET", "/os-images", None),
    ("GET", "/images/", None),
    ("GET", "/images.json", None),
    ("GET", f"/images/{base.UNKNOWN}/members", None),
    ("POST", f"/images/{base.UNKNOWN}/action", {"images": {}}),
    # What the filter sizelimit refuses.
    ("POST", "/servers", b"x" * 200_000),
)


class TestOthers(novas.NovaTestCase):
    def assertSame(self, *request, **headers):
        expected = self.ask("plain", *request, **headers)
        for kind in ("front", "behind"):
            with self.subTest(kind=kind, request=request, headers=headers):
                self.assertEqual(expected, self.ask(kind, *request, **headers))

    def test_other_requests(self):
        project = self.cloud.projects["amber"]
        for prefix, (method, path, body) in itertools.product(
            ("/v2.1", "/v2", f"/v2.1/{project}"), OTHERS
        ):
            self.assertSame(method, prefix + path, body)

    def test_what_is_changed(self):
        keypair = {"name": "images", "public_key": PUBLIC_KEY}
        self.addCleanup(
            self.ask, "plain", "DELETE", "/v2.1/os-keypairs/images"
        )
        answers = {
            kind: [
                self.ask(kind, method, f"/v2.1/os-keypairs{path}", body)
                for method, path, body in (
                    ("POST", "", {"keypair": keypair}),
                    ("POST", "", {"keypair": keypair}),
                    ("GET", "", None),
                    ("DELETE", "/images", None),
                    ("DELETE", "/images", None),
                )
            ]
            for kind in self.kinds
        }
        self.assertEqual(
            [200, 409, 200, 202, 404],
            [status for status, _, _ in answers["plain"]],
        )
        for kind in self.kinds:
            with self.subTest(kind=kind):
                self.assertEqual(answers["plain"], answers[kind])

    def test_version_documents(self):
        for path in ("/", "/v2.1", "/v2.1/", "/v2", "/v2/", "/v3", "//"):
            for accept in ("application/json", "application/xml", "text/html"):
                self.assertSame("GET", path, Accept=accept)

    def test_versions_of_other_requests(self):
        for version in ("2.1", "2.36", "2.96", "latest", *novas.NO_VERSIONS):
            for path in ("/flavors/detail", "/servers/detail", "/limits", "/"):
                self.assertSame(
                    "GET",
                    f"/v2.1{path}",
                    OpenStack_API_Version=f"compute {version}",
                )
