# SPDX-License-Identifier: Apache-2.0
"""What tests share: a service in a temporary folder, and a few images."""

import contextlib
import datetime
import io
import json
import logging
import os
import tempfile
import unittest
from unittest import mock

from oslo_config import cfg
import webob

from images_service import app
from images_service import config
from images_service import glance
from images_service import watched
from images_service.cmd import manage
from images_service.store.sql import connections
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore

# Projects, and the tokens of people in them, as noauth2 has them.
OWNER, OTHER, ADMIN = "owner-project", "other-project", "admin-project"
TOKENS = {
    "member": f"alice:{OWNER}",
    "reader": f"rob:{OWNER}:reader",
    "other": f"bob:{OTHER}",
    "admin": f"admin:{ADMIN}",
}

NOW = datetime.datetime(2026, 3, 1, 12, 0, 0)

# Ids whose number says when they were created, the lowest first.
IDS = {
    name: f"00000000-0000-4000-8000-{number:012d}"
    for number, name in enumerate(
        (
            "public",
            "own",
            "own-shared",
            "own-community",
            "hidden",
            "killed",
            "protected",
            "shared-accepted",
            "shared-pending",
            "community",
            "others-private",
            "gone",
            "snapshot",
        ),
        1,
    )
}
UNKNOWN = "99999999-9999-4999-8999-999999999999"

_VALUES = {
    "public": {"visibility": "public", "owner": OTHER, "os": "linux"},
    "own": {"foo": "bar", "size": 1024, "min_ram": 512, "min_disk": 10},
    "own-shared": {
        "visibility": "shared",
        "members": [{"member_id": OTHER, "status": "accepted"}],
    },
    "own-community": {"visibility": "community"},
    "hidden": {"os_hidden": True},
    "killed": {"status": "killed"},
    "protected": {"protected": True},
    "shared-accepted": {
        "visibility": "shared",
        "owner": OTHER,
        "members": [{"member_id": OWNER, "status": "accepted"}],
    },
    "shared-pending": {
        "visibility": "shared",
        "owner": OTHER,
        "members": [{"member_id": OWNER, "status": "pending"}],
    },
    "community": {"visibility": "community", "owner": OTHER},
    "others-private": {"owner": OTHER, "secret": "x"},
    "gone": {"deleted_at": "2026-02-01T00:00:00Z", "foo": "bar"},
    "snapshot": {
        "image_type": "snapshot",
        "instance_uuid": "11111111-2222-4333-8444-555555555555",
        "auto_disk_config": "True",
        "block_device_mapping": '[{"device_name": "vda"}]',
        "mappings": "not JSON",
        "nothing": None,
    },
}


def records():
    """Return the images of IDS, as Glance lists them."""
    return [
        {
            "id": image_id,
            "name": name,
            "owner": OWNER,
            "visibility": "private",
            "status": "active",
            "created_at": f"2026-01-{number:02d}T00:00:00Z",
            **_VALUES[name],
        }
        for number, (name, image_id) in enumerate(IDS.items(), 1)
    ]


def configuration(folder, *, policy=None, connection=None, **groups):
    """Return the configuration of a service in a folder.

    :param policy: rules of its policy file, None for one that isn't there.
    :param groups: options by group.
    """
    groups = {name: dict(options) for name, options in groups.items()}
    groups.setdefault("api", {}).setdefault("auth_strategy", "noauth2")
    groups.setdefault("database", {})["connection"] = (
        connection or f"sqlite:///{folder}/images.sqlite"
    )
    path = os.path.join(folder, "images_service.conf")
    with open(path, "w", encoding="utf-8") as file:
        for group, options in groups.items():
            file.write(f"[{group}]\n")
            for name, value in options.items():
                file.write(f"{name} = {value}\n")
    policy_path = os.path.join(folder, "policy.json")
    with open(policy_path, "w", encoding="utf-8") as file:
        json.dump(policy or {}, file)
    return config.load(["--config-file", path])


@contextlib.contextmanager
def recorded_statements():
    """Provide a list of the statements that requests send, and their values.

    Of many rows that are inserted at once there is one entry.
    """
    found = []
    session = connections.Session

    def send(db, clause, values, original=session._send):
        statement = original(db, clause, values)
        found.append((statement.text, statement.arguments(values)))
        return statement

    def insert(db, clause, rows, original=session.insert):
        original(db, clause, rows)
        if len(rows) > 1:
            found.append((db._statement(clause).text, list(rows)))

    with (
        mock.patch.object(session, "_send", send),
        mock.patch.object(session, "insert", insert),
    ):
        yield found


class TestCase(unittest.TestCase):
    """A test with a folder of its own."""

    maxDiff = None

    def make_folder(self):
        folder = tempfile.TemporaryDirectory(prefix="images-service-test-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def take_edits_at_once(self):
        """See to it that what a test has just written is taken for all of it.

        Files that were written a moment ago are else left alone for another.
        """
        settled = mock.patch.object(watched, "_SETTLED", 0)
        settled.start()
        self.addCleanup(settled.stop)

    def make_conf(self, **options):
        return configuration(self.make_folder(), **options)

    def make_store(self, conf: cfg.ConfigOpts, images=None):
        """Return a store with the images of IDS, or with other ones."""
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        run.sync(database)
        store = SqlStore(database)
        results = store.add(
            [
                glance.new_image(record, NOW)
                for record in (records() if images is None else images)
            ]
        )
        self.assertEqual([None] * len(results), results)
        return store


class ManageTestCase(TestCase):
    """A test of images-service-manage, on a configuration of its own."""

    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.conf = configuration(self.folder)

    def manage(self, *args, stdin=""):
        """Run a command; return its status, output and error output."""
        out, err = io.StringIO(), io.StringIO()
        path = os.path.join(self.folder, "images_service.conf")
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("sys.stdin", io.StringIO(stdin)),
            # The program sets logging up for a process of its own.
            mock.patch.object(logging.root, "handlers", []),
            mock.patch.object(logging.root, "setLevel"),
        ):
            try:
                status = manage.main(["--config-file", path, *args])
            except SystemExit as end:
                # An option that is wrong ends the program at once.
                status = end.code
        return status, out.getvalue(), err.getvalue()


class ApiTestCase(TestCase):
    """A test of the whole service, through WSGI."""

    options: dict = {}

    def setUp(self):
        super().setUp()
        self.conf = self.make_conf(**self.options)
        self.store = self.make_store(self.conf)
        self.app = app.create(self.conf, self.store)

    def request(self, method, path, token="member", body=None, **headers):
        """Send a request; a path without a version is below /v2.1.

        :param token: a person of TOKENS, or None.
        :param body: bytes, or what is sent as JSON.
        :param headers: with underscores for their hyphens.
        """
        if not path.startswith("/v"):
            path = f"/v2.1{path}"
        req = webob.Request.blank(path, method=method)
        if token is not None:
            req.headers["X-Auth-Token"] = TOKENS[token]
        if isinstance(body, bytes):
            req.body = body
        elif body is not None:
            req.body = json.dumps(body).encode()
            req.headers["Content-Type"] = "application/json"
        for name, value in headers.items():
            req.headers[name.replace("_", "-")] = value
        return req.get_response(self.app)

    def assertFault(self, response, status, name, message=None):
        self.assertEqual(status, response.status_int, response.body)
        self.assertEqual("application/json", response.content_type)
        self.assertEqual([name], list(response.json))
        fault = response.json[name]
        self.assertEqual({"code", "message"}, set(fault))
        self.assertEqual(status, fault["code"])
        if message is not None:
            self.assertEqual(message, fault["message"])
