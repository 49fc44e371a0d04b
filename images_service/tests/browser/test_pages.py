# SPDX-License-Identifier: Apache-2.0
"""The documentation as a reader has it, in Chromium without a window."""

import functools
import html.parser
import http.server
import json
import os
import threading
import unittest
import urllib.parse

from images_service.api import openapi
from images_service.tests.browser import chromium

if chromium.HAS_SELENIUM:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support import ui

SITE = os.path.abspath(
    os.path.join(
        os.path.dirname(__file__), *("..", "..", ".."), "doc/build/html"
    )
)
# A form leads to it, and it shows nothing without words to search for.
SEARCH = "search.html"
# Pixels: a desktop and a phone.
WIDTHS = (1280, 390)
# Pixels that a reader must scroll to the right.
BEYOND = """\
const page = document.documentElement;
return page.scrollWidth - page.clientWidth;
"""
# What sticks out of its box, and is hidden there.
CUT = """\
return [...document.querySelectorAll("body *")].filter(
    (box) => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 1
        && getComputedStyle(box).overflowX == "hidden"
).map((box) => box.outerHTML.slice(0, 200));
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/favicon.ico":
            # Browsers ask for it, and the pages name none.
            self.send_response(204)
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *args):
        pass


class Page(html.parser.HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links = set()
        self.ids = set()
        with open(os.path.join(SITE, path), encoding="utf-8") as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id"))
        if tag == "a" and values.get("href"):
            self.links.add(values["href"])


def built():
    """Return the paths of all pages."""
    return {
        os.path.relpath(os.path.join(folder, name), SITE)
        for folder, _, names in os.walk(SITE)
        for name in names
        if name.endswith(".html") and "/_" not in folder.removeprefix(SITE)
    }


class TestPages(unittest.TestCase):
    url: str
    browser: "webdriver.Chrome"

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(f"{SITE}/index.html"):
            raise unittest.SkipTest("tox -e browser builds the pages first")
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=SITE)
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.url = f"http://127.0.0.1:{server.server_port}"
        cls.browser = chromium.start()
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.set_page_load_timeout(30)

    def resize(self, width):
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": 900,
                "deviceScaleFactor": 1,
                "mobile": width < 600,
            },
        )

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def script(self, text):
        return self.browser.execute_script(text)

    def test_links_reach_every_page(self):
        """From the start page, and none leads to nothing."""
        pages, found = {}, ["index.html"]
        while found:
            path = found.pop()
            if path in pages:
                continue
            pages[path] = page = Page(path)
            for link in page.links:
                target = urllib.parse.urljoin(f"/{path}", link)
                parts = urllib.parse.urlsplit(target)
                if parts.scheme:
                    continue
                other = parts.path[1:]
                self.assertTrue(
                    os.path.isfile(f"{SITE}/{other}"), (path, link)
                )
                if other.endswith(".html"):
                    found.append(other)
        wanted = {path for path in built() if not path.endswith(SEARCH)}
        self.assertEqual(set(), wanted - pages.keys())
        for path, page in pages.items():
            for link in page.links:
                target = urllib.parse.urljoin(f"/{path}", link)
                parts = urllib.parse.urlsplit(target)
                if parts.path[1:] in pages and parts.fragment:
                    name = urllib.parse.unquote(parts.fragment)
                    self.assertIn(
                        name, pages[parts.path[1:]].ids, (path, link)
                    )

    def test_each_page_fits_and_has_a_search_box(self):
        for path in sorted(built()):
            self.browser.get(f"{self.url}/{path}")
            for width in WIDTHS:
                with self.subTest(path, width=width):
                    self.resize(width)
                    self.assertEqual(0, self.script(BEYOND))
                    self.assertEqual([], self.script(CUT))
                    self.assertEqual([], self.browser.get_log("browser"))
                    shown = "input.sidebar-search"
                    if width == WIDTHS[1]:
                        # The menu has the search box.
                        self.find(shown)
                        shown = ".mobile-header .nav-overlay-icon"
                    self.assertTrue(self.find(shown).is_displayed())

    def test_a_search_on_a_phone(self):
        self.resize(WIDTHS[1])
        self.browser.get(f"{self.url}/index.html")
        self.find(".mobile-header .nav-overlay-icon").click()
        wait = ui.WebDriverWait(self.browser, 10)
        box = self.find("input.sidebar-search")
        # The menu slides in.
        wait.until(lambda _: box.rect["x"] >= 0)
        box.send_keys("max_sweep_deletes")
        box.submit()
        wait.until(lambda _: self.find("#search-results li a"))
        self.assertIn(
            "admin/glance.html",
            self.find("#search-results").get_attribute("innerHTML"),
        )

    def test_the_document_is_beside_the_reference(self):
        page = Page("api-ref/index.html")
        self.assertIn("openapi.json", page.links)
        with open(f"{SITE}/api-ref/openapi.json", encoding="utf-8") as file:
            there = json.load(file)
        wanted = openapi.document()
        self.assertEqual(wanted["paths"], there["paths"])
        self.assertEqual(wanted["components"], there["components"])
