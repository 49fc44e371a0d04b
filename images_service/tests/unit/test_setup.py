# SPDX-License-Identifier: Apache-2.0
"""What pip runs first."""

import configparser
import os
import runpy
import sys
import unittest
from unittest import mock

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")


class TestPython(unittest.TestCase):
    def setup_with(self, *version):
        with (
            mock.patch.object(sys, "version_info", version),
            mock.patch("setuptools.setup") as setup,
        ):
            runpy.run_path(f"{ROOT}/setup.py")
        return setup

    def test_an_older_one_is_told_what_is_needed(self):
        with self.assertRaises(SystemExit) as caught:
            self.setup_with(3, 10, 13, "final", 0)
        self.assertEqual(
            "images_service needs Python 3.11 or newer; this is Python "
            "3.10.13",
            caught.exception.code,
        )

    def test_the_oldest_is_the_one_of_the_metadata(self):
        self.setup_with(3, 11, 0, "final", 0).assert_called_once()
        metadata = configparser.ConfigParser()
        metadata.read(f"{ROOT}/setup.cfg")
        self.assertEqual(">=3.11", metadata["metadata"]["python_requires"])
