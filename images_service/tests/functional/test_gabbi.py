# SPDX-License-Identifier: Apache-2.0
"""HTTP behaviour, told in YAML: see the files in gabbits."""

import os
import tempfile
import unittest

from gabbi import driver
from gabbi import fixture
import yaml

from images_service import app
from images_service import exception
from images_service.api import routes
from images_service.glance import records
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import base

FOLDER = os.path.join(os.path.dirname(__file__), "gabbits")

_services: list = []


def service():
    """Return the application of the fixture that is in force."""
    return _services[-1]


class ServiceFixture(fixture.GabbiFixture):
    """A service with the images of ``base.IDS``, for one file."""

    options: dict = {}

    def start_fixture(self):
        self.folder = tempfile.TemporaryDirectory()
        conf = base.configuration(self.folder.name, **self.options)
        self.database = engine.Database(conf)
        run.sync(self.database)
        store = SqlStore(self.database)
        store.add([records.new_image(r, base.NOW) for r in base.samples()])
        _services.append(app.create(conf, store))
        names = {
            **{
                f"ID_{k.upper().replace('-', '_')}": v
                for k, v in base.IDS.items()
            },
            **{f"TOKEN_{k.upper()}": v for k, v in base.TOKENS.items()},
            "OWNER": base.OWNER,
            "OTHER": base.OTHER,
            "UNKNOWN": base.UNKNOWN,
        }
        os.environ.update(names)

    def stop_fixture(self):
        _services.pop()
        self.database.dispose()
        self.folder.cleanup()


class SmallPagesFixture(ServiceFixture):
    """The same, with at most two images a page."""

    options = {"api": {"max_limit": 2}}


class HiddenSizeFixture(ServiceFixture):
    """The same, where only administrators see sizes."""

    options = {"policy": {"os_compute_api:image-size": "role:admin"}}


class SmallQuotaFixture(ServiceFixture):
    """The same, with at most two metadata items."""

    options = {"quota": {"metadata_items": 2}}


def load_tests(loader, tests, pattern):
    built = driver.build_tests(
        FOLDER,
        loader,
        intercept=lambda: _late,
        fixture_module=__import__(__name__, fromlist=["_"]),
        test_loader_name=__name__,
    )
    built.addTests(tests)
    return built


def _late(environ, start_response):
    """Hand a request to the service of the file's own fixture."""
    return service()(environ, start_response)


def _cases():
    for name in sorted(os.listdir(FOLDER)):
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            document = yaml.safe_load(file)
        defaults = document.get("defaults", {})
        for case in document["tests"]:
            yield {**defaults, **case}


class TestCoverage(unittest.TestCase):
    """The files leave no row of ROUTES and no fault out."""

    def test_every_row(self):
        asked = set()
        for case in _cases():
            method, url = next(
                (m, case[m])
                for m in (
                    "GET",
                    "POST",
                    "PUT",
                    "DELETE",
                    "HEAD",
                    "OPTIONS",
                    "PATCH",
                    "url",
                )
                if m in case
            )
            path = url.partition("?")[0]
            for image in ("ID_", "UNKNOWN"):
                path = path.replace(f"$ENVIRON['{image}", "{")
            segments = [
                "{image_id}" if segment.startswith("{") else segment
                for segment in path.split("/")[2:]
            ]
            if segments and segments[0] not in ("images",):
                segments = segments[1:]
            if segments[2:3] == ["metadata"] and len(segments) == 4:
                segments[3] = "{key}"
            status = case.get("status", 200)
            asked.add((method, "/" + "/".join(segments), status))
        for route in routes.ROUTES:
            with self.subTest(action=route.action):
                self.assertIn((route.method, route.path, route.success), asked)

    def test_every_fault(self):
        found = {case.get("status", 200) for case in _cases()}
        sent_by_the_api = {
            status
            for error, (status, _) in exception.FAULTS.items()
            # An import's, the server's and the database's have their own
            # tests: a file can't bring them about.
            if status not in (409, 500, 503)
        }
        self.assertLessEqual(sent_by_the_api, found)
