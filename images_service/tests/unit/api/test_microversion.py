# SPDX-License-Identifier: Apache-2.0
import unittest

from images_service import exception
from images_service.api import microversion


def negotiate(standard=None, legacy=None, maximum="2.38"):
    environ = {}
    if standard is not None:
        environ["HTTP_OPENSTACK_API_VERSION"] = standard
    if legacy is not None:
        environ["HTTP_X_OPENSTACK_NOVA_API_VERSION"] = legacy
    return microversion.negotiate(environ, maximum)


class TestNegotiate(unittest.TestCase):
    def test_versions(self):
        for standard, legacy, minor in (
            (None, None, 1),
            ("", None, 1),
            ("", "2.35", 35),
            ("compute 2.35", "", 35),
            ("compute 2.35", None, 35),
            (None, "2.35", 35),
            (None, " 2.35 ", 35),
            ("compute 2.35", "2.36", 35),
            ("compute latest", None, 38),
            (None, "latest", 38),
            ("image 2.3", "2.5", 5),
            ("image 2.3, compute 2.35", None, 35),
            ("compute 2.1, compute 2.36", None, 36),
            ("COMPUTE\t2.35", None, 35),
            ("compute", None, 1),
        ):
            with self.subTest(standard=standard, legacy=legacy):
                self.assertEqual(minor, negotiate(standard, legacy))

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
                    exception.Invalid,
                    f"^API Version String {text} is of invalid format. "
                    "Must be of format MajorNum.MinorNum.$",
                ),
            ):
                negotiate(f"compute {text}")

    def test_an_empty_legacy_header_is_not_a_version(self):
        for standard in (None, "", "image 2.3"):
            for legacy in ("", " "):
                with (
                    self.subTest(standard=standard, legacy=legacy),
                    self.assertRaisesRegex(
                        exception.Invalid,
                        "^API Version String  is of invalid format. "
                        "Must be of format MajorNum.MinorNum.$",
                    ),
                ):
                    negotiate(standard, legacy)


class TestRange(unittest.TestCase):
    def test_in_range(self):
        self.assertEqual(1, negotiate("compute 2.1"))
        self.assertEqual(38, negotiate("compute 2.38"))
        self.assertEqual(104, negotiate("compute 2.104", maximum="2.104"))

    def test_out_of_range(self):
        for version in ("2.0", "2.39", "1.5", "3.1", "9.9", "2.380"):
            with (
                self.subTest(version=version),
                self.assertRaisesRegex(
                    exception.NotAcceptable,
                    f"^Version {version} is not supported by the API. "
                    "Minimum is 2.1 and maximum is 2.38.$",
                ),
            ):
                negotiate(f"compute {version}")
