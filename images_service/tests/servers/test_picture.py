# SPDX-License-Identifier: Apache-2.0
"""The README's picture shows what the demonstration does."""

import os
import subprocess
import sys

from images_service.tests import base

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")


class TestPicture(base.TestCase):
    def test_it_is_what_its_script_draws(self):
        path = os.path.join(self.make_folder(), "demo.svg")
        subprocess.run(
            [sys.executable, f"{ROOT}/tools/terminal_picture.py", path],
            check=True,
            timeout=240,
        )
        with open(path, encoding="utf-8") as file:
            drawn = file.read()
        shown = f"{ROOT}/doc/source/_static/demo.svg"
        with open(shown, encoding="utf-8") as file:
            self.assertEqual(drawn, file.read())
