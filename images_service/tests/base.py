# SPDX-License-Identifier: Apache-2.0
"""What tests share: a service in a temporary folder, and a few images."""

import contextlib
import datetime
import functools
import io
import json
import logging
import os
import tempfile
import typing
import unittest
from unittest import mock

from oslo_config import cfg
import sqlalchemy as sa
import webob

from images_service import app
from images_service import config
from images_service import files
from images_service import model
from images_service.cmd import manage
from images_service.glance import records
from images_service.store import base as store_base
from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import keystone

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

_VALUES: dict[str, dict[str, typing.Any]] = {
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


def samples():
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
    """Provide a list of the statements that are sent, and their values.

    Of many rows that are inserted at once there is one entry.  What begins
    and ends transactions is left out.
    """
    found = []

    def note(_db, _cursor, text, values, _context, _many):
        if text not in ("BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"):
            found.append((text, values))

    run = cursor.Cursor._run

    def noted(db, result, text, *parameters):
        note(None, None, text, parameters[0] if parameters else (), None, 0)
        return run(db, result, text, *parameters)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        with mock.patch.object(cursor.Cursor, "_run", noted):
            yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


@functools.cache
def _migrated():
    """Return the file of a database of SQLite that is migrated and empty."""
    with tempfile.TemporaryDirectory() as folder:
        database = engine.Database(configuration(folder))
        run.sync(database)
        database.dispose()
        with open(f"{folder}/images.sqlite", "rb") as file:
            return file.read()


def migrate(database):
    """Bring a database to the schema of the code.

    Migrations take longer than most tests, so a new file of SQLite gets what
    they have made of another one.
    """
    url = database.writer.url
    if url.get_backend_name() != "sqlite" or os.path.getsize(url.database):
        run.sync(database)
        return
    with open(url.database, "wb") as file:
        file.write(_migrated())


_ANYBODY = model.Viewer("", is_admin=True)


def change_metadata(store, image_id, items, *, replace=False):
    """Change an image's metadata as an action does; return the image."""

    def act():
        image = store.get(image_id, _ANYBODY)
        before = {} if replace else json.loads(image.metadata)
        return store.change_metadata(image, {**before, **items})

    return store_base.retried(act)


def delete(store, image_id):
    """Delete an image as an action does."""
    store_base.retried(lambda: store.delete(store.get(image_id, _ANYBODY)))


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
        settled = mock.patch.object(files, "_SETTLED", 0)
        settled.start()
        self.addCleanup(settled.stop)

    def make_conf(self, **options):
        return configuration(self.make_folder(), **options)

    def make_store(self, conf: cfg.ConfigOpts, images=None):
        """Return a store with the images of IDS, or with other ones."""
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        migrate(database)
        store = SqlStore(database)
        results = store.add(
            [
                records.new_image(record, NOW)
                for record in (samples() if images is None else images)
            ]
        )
        self.assertEqual([None] * len(results), results)
        return store


class RequestTestCase(TestCase):
    """A test that sends requests through WSGI to an application of its own."""

    conf: cfg.ConfigOpts
    store: SqlStore
    app: typing.Any

    def make_keystone_conf(self, documents, policy=None):
        """Return a configuration with a stub of Keystone.

        :param documents: what it says of tokens.
        """
        stub = keystone.Keystone(documents)
        stub.start()
        self.addCleanup(stub.stop)
        return self.make_conf(
            policy=policy,
            api={"auth_strategy": "keystone"},
            keystone_authtoken=stub.options(),
        )

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
            tempfile.TemporaryFile("w+", encoding="utf-8") as given,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("sys.stdin", given),
            # The program sets logging up for a process of its own.
            mock.patch.object(logging.root, "handlers", []),
            mock.patch.object(logging.root, "setLevel"),
        ):
            # A lone surrogate stands for a byte that is not UTF-8.
            given.buffer.write(stdin.encode(errors="surrogateescape"))
            given.seek(0)
            try:
                status = manage.main(["--config-file", path, *args])
            except SystemExit as end:
                # An option that is wrong ends the program at once.
                status = int(end.code or 0)
        return status, out.getvalue(), err.getvalue()


class ApiTestCase(RequestTestCase):
    """A test of the whole service, through WSGI."""

    options: dict = {}

    def setUp(self):
        super().setUp()
        self.conf = self.make_conf(**self.options)
        self.store = self.make_store(self.conf)
        self.app = app.create(self.conf, self.store)


# What classes of tests that run on several servers are mixed into.
if typing.TYPE_CHECKING:
    Mixin = RequestTestCase
else:
    Mixin = object
