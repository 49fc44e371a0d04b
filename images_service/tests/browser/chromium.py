# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window."""

import importlib.util
import typing
import unittest

from images_service.tests.servers import processes

# Of tox -e browser alone; other environments only look which tests there are.
HAS_SELENIUM = importlib.util.find_spec("selenium") is not None
if HAS_SELENIUM or typing.TYPE_CHECKING:
    from selenium import webdriver

_OPTIONS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic"),
    *("no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "window-size=1400,2000"),
)


def start() -> "webdriver.Chrome":
    """Start Chromium; skip the tests that need it where there is none."""
    if not HAS_SELENIUM:
        raise unittest.SkipTest("selenium is not installed")
    driver = processes.find("chromedriver")
    if not driver:
        raise unittest.SkipTest("chromium-driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = processes.find("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in _OPTIONS:
        options.add_argument(f"--{option}")
    return webdriver.Chrome(options, webdriver.ChromeService(driver))
