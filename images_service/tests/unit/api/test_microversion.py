# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service import errors
from images_service.api import microversion


def requested(standard=None, legacy=None):
    environ = {}
    if standard is not None:
        environ["HTTP_OPENSTACK_API_VERSION"] = standard
    if legacy is not None:
        environ["HTTP_X_OPENSTACK_NOVA_API_VERSION"] = legacy
    return microversion.requested(environ, "2.38")


class TestRequested(unittest.TestCase):
    def test_versions(self):
        for standard, legacy, version in (
            (None, None, "2.1"),
            ("", "", "2.1"),
            ("compute 2.35", None, "2.35"),
            (None, "2.35", "2.35"),
            (None, " 2.35 ", "2.35"),
            ("compute 2.35", "2.36", "2.35"),
            ("compute latest", None, "2.38"),
            (None, "latest", "2.38"),
            ("image 2.3", "2.5", "2.5"),
            ("image 2.3, compute 2.35", None, "2.35"),
            ("compute 2.1, compute 2.36", None, "2.36"),
            ("COMPUTE\t2.35", None, "2.35"),
            ("compute", None, "2.1"),
        ):
            with self.subTest(standard=standard, legacy=legacy):
                self.assertEqual(version, requested(standard, legacy))

    def test_not_a_version(self):
        for text in (
            "abc",
            "2",
            "2.",
            "2.01",
            "02.1",
            "2.1.0",
            "-2.1",
            "LATEST",
            "2.35 foo",
            "2.\N{ARABIC-INDIC DIGIT THREE}",
            "2." + "1" * 30,
        ):
            with (
                self.subTest(text=text),
                self.assertRaisesRegex(
                    errors.Invalid,
                    f"^API Version String {text} is of invalid format. "
                    "Must be of format MajorNum.MinorNum.$",
                ),
            ):
                requested(f"compute {text}")


class TestMinor(unittest.TestCase):
    def test_in_range(self):
        self.assertEqual(1, microversion.minor("2.1", "2.38"))
        self.assertEqual(38, microversion.minor("2.38", "2.38"))
        self.assertEqual(104, microversion.minor("2.104", "2.104"))

    def test_out_of_range(self):
        for version in ("2.0", "2.39", "1.5", "3.1", "9.9", "2.380"):
            with (
                self.subTest(version=version),
                self.assertRaisesRegex(
                    errors.NotAcceptable,
                    f"^Version {version} is not supported by the API. "
                    "Minimum is 2.1 and maximum is 2.38.$",
                ),
            ):
                microversion.minor(version, "2.38")
