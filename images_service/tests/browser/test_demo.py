# SPDX-License-Identifier: Apache-2.0
"""The demonstration's page as a newcomer uses it: edit policy.json, look."""

import json
import subprocess
import sys
import time

from images_service.tests import base
from images_service.tests.browser import chromium
from images_service.tests.servers import processes

if chromium.HAS_SELENIUM:
    from selenium import webdriver
    from selenium.webdriver.common.by import By

MANAGE = processes.START.replace("api", "manage")
SIZE = '"os_compute_api:image-size": '
NOTHING = "nothing changed since you opened this page"
# Seconds for an edit to be shown: two of the service, and a busy machine.
PATIENCE = 10
MARKUP = "<img src=x onerror=\"document.title='bad'\">"


class TestDemo(base.TestCase):
    browser: "webdriver.Chrome"

    @classmethod
    def setUpClass(cls):
        cls.browser = chromium.start()
        cls.addClassCleanup(cls.browser.quit)

    def setUp(self):
        super().setUp()
        self.demo = processes.Demonstration(self.make_folder())
        self.addCleanup(self.demo.stop)
        self.demo.start()
        self.demo.wait()
        self.folder = self.demo.find_folder()
        self.path = f"{self.folder}/policy.json"
        self.first = self.read()
        # The page of one test does not ask the service of the next one.
        self.addCleanup(self.browser.get, "about:blank")
        self.browser.get_log("browser")
        self.browser.get(f"{self.demo.url}/demo")
        self.wait_for(NOTHING)

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def edit(self, old, new):
        """Replace a part of the policy file as it was."""
        self.assertEqual(1, self.first.count(old))
        self.write(self.first.replace(old, new))

    def wait_for(self, text, selector="#headline"):
        """Wait until a part of the page contains a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text(selector):
            if time.monotonic() > deadline:
                self.fail(f"no {text!r}: {self.text('body')}")
            time.sleep(0.1)

    def find(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.browser.execute_script(
            "return document.querySelector(arguments[0]).innerText", selector
        )

    def texts(self, selector):
        return [found.text for found in self.find(selector)]

    def images(self):
        """Return the cells of each image by its name."""
        return {
            row.find_element(By.TAG_NAME, "th").text.splitlines()[0]: [
                cell.text for cell in row.find_elements(By.TAG_NAME, "td")
            ]
            for row in self.find("#images tbody tr")
        }

    def assertQuiet(self):
        """Check that the browser refused nothing, and no script failed."""
        self.assertEqual([], self.browser.get_log("browser"))

    def test_what_a_newcomer_sees(self):
        images = self.images()
        self.assertEqual(["390 MiB"] * 4, images.pop("debian-13-generic"))
        self.assertEqual(
            ["1.0 GiB", "1.0 GiB", "hidden", "1.0 GiB"],
            images.pop("appliance"),
        )
        self.assertEqual(4, len(images))
        self.assertEqual(self.path, self.text("#file"))
        self.assertEqual(
            self.first.splitlines(),
            [
                line.get_property("textContent")
                for line in self.find("#text li")
            ],
        )
        self.assertQuiet()

    def test_an_edit_flips_cells(self):
        self.edit(f'{SIZE}""', f'{SIZE}"role:admin"')
        self.wait_for("5 cells changed")
        self.assertEqual(
            ["no size"] * 3 + ["390 MiB"],
            self.images()["debian-13-generic"],
        )
        self.assertEqual(["refused"] * 5, self.texts("#actions td.less"))
        changes = self.texts("#changes li")
        self.assertEqual(5, len(changes))
        self.assertRegex(
            changes[0],
            r"^alice: See the size .* \(web-1 .*\) is refused, was allowed$",
        )
        self.edit(
            'images:delete": "rule:context_is_admin or (role:member and ',
            'images:delete": "rule:context_is_admin or (role:reader and ',
        )
        self.wait_for("1 cell changed")
        self.assertEqual(["allowed"], self.texts("#actions td.more"))
        (change,) = self.texts("#changes li")
        self.assertTrue(change.startswith("carol: Delete an image (web-1"))
        self.write(self.first)
        self.wait_for(NOTHING)
        self.assertEqual([], self.texts("#actions td.more, #actions td.less"))
        self.assertQuiet()

    def test_a_mistake_is_shown_with_its_line(self):
        before = self.texts("#actions td")
        self.edit(
            'images:delete": "rule:context_is_admin or',
            'images:delete": "role or',
        )
        self.wait_for("The file is not in effect")
        self.assertRegex(
            self.text("#problem"),
            f"^{self.path}:6: rule os_compute_api:images:delete",
        )
        (line,) = self.texts("#text .mistake")
        self.assertIn('images:delete": "role or', line)
        self.assertEqual(before, self.texts("#actions td"))
        self.write(self.first[:-20])
        self.wait_for(f"{self.path}:13: ", "#problem")
        self.write(self.first)
        self.wait_for(NOTHING)
        self.assertEqual("", self.text("#problem"))
        self.assertEqual([], self.texts("#text .mistake"))
        self.assertQuiet()

    def test_a_condition_that_never_passes_is_shown(self):
        self.edit('images:show": ""', 'images:show": "tenant:%(owner)s"')
        self.wait_for("cells changed")
        self.assertIn(f"{self.path}:5: ", self.text("#problem"))
        (line,) = self.texts("#text .mistake")
        self.assertIn("tenant", line)

    def test_values_are_text(self):
        image = {
            "id": base.UNKNOWN,
            "name": MARKUP,
            "owner": MARKUP,
            "visibility": "public",
            "status": "active",
        }
        subprocess.run(
            [
                *(sys.executable, "-c", MANAGE),
                *("--config-file", f"{self.folder}/images_service.conf"),
                *("image", "import", "-"),
            ],
            input=json.dumps([image]),
            text=True,
            check=True,
            capture_output=True,
        )
        self.wait_for(MARKUP, "#images")
        self.assertEqual([], self.find("img"))
        self.write(f"{self.first}{MARKUP}")
        self.wait_for("The file is not in effect")
        self.assertIn(MARKUP, self.text("#text"))
        self.assertEqual([], self.find("img"))
        self.assertQuiet()

    def test_it_is_as_wide_as_a_phone(self):
        for width in (360, 1400):
            with self.subTest(width):
                self.browser.execute_cdp_cmd(
                    "Emulation.setDeviceMetricsOverride",
                    {
                        "width": width,
                        "height": 800,
                        "deviceScaleFactor": 1,
                        "mobile": False,
                    },
                )
                wide = self.browser.execute_script(
                    "return document.documentElement.scrollWidth"
                )
                self.assertLessEqual(wide, width)
        self.browser.execute_cdp_cmd(
            "Emulation.clearDeviceMetricsOverride", {}
        )

    def test_the_demonstration_ends_and_is_started_again(self):
        self.demo.stop()
        self.wait_for("does not answer")
        self.demo.start()
        self.demo.wait()
        self.wait_for(NOTHING)
        self.assertEqual(
            f"{self.demo.find_folder()}/policy.json", self.text("#file")
        )
