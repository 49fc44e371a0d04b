# SPDX-License-Identifier: Apache-2.0
"""The API reference as a reader has it, in Chromium without a window."""

import functools
import http.server
import json
import os
import threading
import unittest
import urllib.request

from images_service.api import openapi
from images_service.api import routes
from images_service.tests.browser import chromium

if chromium.HAS_SELENIUM:
    from selenium import webdriver
    from selenium.common import exceptions
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support import ui

PAGE = os.path.abspath(
    os.path.join(
        os.path.dirname(__file__), "..", "..", "..", "api-ref/build/html"
    )
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class TestPage(unittest.TestCase):
    url: str
    browser: "webdriver.Chrome"

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(f"{PAGE}/index.html"):
            raise unittest.SkipTest("tox -e browser builds the page first")
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=PAGE)
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.url = f"http://127.0.0.1:{server.server_port}/index.html"
        cls.browser = chromium.start()
        cls.addClassCleanup(cls.browser.quit)

    def setUp(self):
        self.browser.get(self.url)

    def test_details_open(self):
        buttons = self.browser.find_elements(By.CSS_SELECTOR, ".btn-detail")
        sections = self.browser.find_elements(By.CSS_SELECTOR, ".api-detail")
        # Each action, and two version documents.
        self.assertEqual(len(routes.ROUTES) + 2, len(buttons))
        self.assertEqual(len(buttons), len(sections))
        wait = ui.WebDriverWait(self.browser, 10)
        for button, section in zip(buttons, sections, strict=True):
            self.assertFalse(section.is_displayed())
            # The page's own way to scroll takes its time.
            self.browser.execute_script(
                "arguments[0].scrollIntoView("
                "{block: 'center', behavior: 'instant'})",
                button,
            )
            wait.until(lambda _, button=button: self.clicked(button))
            wait.until(
                lambda _, section=section: (
                    "show" in section.get_attribute("class").split()
                )
            )

    def clicked(self, button):
        try:
            button.click()
        except exceptions.ElementClickInterceptedException:
            return False
        return True

    def test_the_document_is_beside_it(self):
        link = self.browser.find_element(By.LINK_TEXT, "openapi.json")
        with urllib.request.urlopen(link.get_attribute("href")) as response:
            there = json.load(response)
        wanted = openapi.document()
        self.assertEqual(wanted["paths"], there["paths"])
        self.assertEqual(wanted["components"], there["components"])

    def test_links_lead_somewhere(self):
        links = {
            link.get_attribute("href")
            for link in self.browser.find_elements(By.TAG_NAME, "a")
            # os-api-ref leaves links in the contents that nobody can see.
            if link.get_attribute("textContent").strip()
        }
        own = {
            link.partition("#")[2]
            for link in links
            if link and link.startswith(f"{self.url}#")
        }
        self.assertGreater(len(own), 20)
        there = {
            element.get_attribute("id")
            for element in self.browser.find_elements(By.CSS_SELECTOR, "[id]")
        }
        self.assertEqual(set(), {name for name in own if name} - there)
