# SPDX-License-Identifier: Apache-2.0
"""The mirror of Glance, and the API on it, in front of stubs."""

import concurrent.futures
import contextlib
import datetime
import io
import json
import threading
import time
from typing import Any
from unittest import mock

from oslo_config import cfg
from oslo_utils import timeutils
import prometheus_client
import sqlalchemy as sa
import webob

from images_service import app
from images_service import exception
from images_service import guard
from images_service import model
from images_service.cmd import mirror as mirror_command
from images_service.cmd import status as status_command
from images_service.glance import client
from images_service.glance import metrics
from images_service.glance import mirror
from images_service.glance import notifications
from images_service.glance import records
from images_service.glance import sync
from images_service.middleware import healthcheck
from images_service.store import base as store_base
from images_service.store.sql import engine
from images_service.store.sql import leases
from images_service.store.sql import mirror_runs
from images_service.store.sql import reconciling
from images_service.store.sql import schema
from images_service.store.sql.reconciling import Outcome
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base
from images_service.tests import glance
from images_service.tests import keystone

ANYBODY = model.Viewer("", is_admin=True, is_operator=True)
OWN = base.IDS["own"]
UPPER = "AAAAAAAA-0000-4000-8000-00000000000A"


def made(number, **members):
    image_id = f"00000000-0000-4000-8000-0000000001{number:02d}"
    return glance.image(image_id, base.OWNER, **members)


class MirrorTestCase(base.ManageTestCase, base.RequestTestCase):
    mode: dict[str, str] = {}

    def setUp(self):
        super().setUp()
        self.glance = glance.Glance()
        self.keystone = glance.Keystone(
            {
                "member": keystone.token_document(
                    "alice", base.OWNER, ["member"]
                ),
                "other": keystone.token_document(
                    "bob", base.OTHER, ["member"]
                ),
            },
            self.glance,
        )
        for stub in (self.glance, self.keystone):
            stub.start()
            self.addCleanup(stub.stop)
        self.conf = base.configuration(
            self.folder,
            connection=getattr(self, "connection", None),
            api={"auth_strategy": "keystone"},
            keystone_authtoken=self.keystone.options(),
            glance=self.keystone.glance_options() | self.mode,
        )
        self.store = self.make_store(self.conf, [])
        self.database = engine.Database(self.conf)
        self.addCleanup(self.database.dispose)
        with self.database.writer.begin() as db:
            # A server's database is that of all tests of a class.
            for table in reversed(schema.metadata.sorted_tables):
                db.execute(sa.delete(table))
        self.client = client.Glance(self.conf)
        self.sync = sync.Sync(self.database, self.client)

    def make_app(self):
        # Nothing keeps what the stub of Keystone says of tokens, so it is
        # slow where many ask.
        moment = mock.patch.object(guard, "_MOMENT", 10)
        moment.start()
        self.addCleanup(moment.stop)
        self.app = app.create(self.conf)

    def ask(self, method, path, body=None, token="member", **headers):
        headers["X_Auth_Token"] = token
        return self.request(method, path, None, body, **headers)

    def sweep(self, **options):
        counts = self.sync.sweep(10, members=True, **options)
        return {name: count for name, count in counts.items() if count}

    def wait(self, is_so, seconds=8):
        deadline = time.monotonic() + seconds
        while not is_so():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def stored(self):
        """Return the images of the store by id, with their metadata."""
        query = model.ListQuery(limit=100)
        return {
            image.id: (image, json.loads(image.metadata))
            for image in self.store.iterate(query, ANYBODY)
        }


class TestSweep(MirrorTestCase):
    def test_the_store_becomes_equal(self):
        self.glance.add(
            *(made(number, seq=str(number)) for number in range(7)),
            made(7, os_hidden=True),
            made(8, visibility="shared"),
            made(9, visibility="community", status="queued", size=None),
        )
        shares = {base.OTHER: "accepted", base.ADMIN: "pending"}
        self.glance.members[made(8)["id"]] = shares
        self.assertEqual({"created": 10}, self.sweep())
        found = self.stored()
        self.assertEqual(self.glance.images.keys(), found.keys())
        image, metadata = found[made(3)["id"]]
        self.assertEqual({"seq": "3"}, metadata)
        self.assertEqual(
            (base.OWNER, "active", datetime.datetime(2026, 1, 1)),
            (image.owner, image.status, image.created_at),
        )
        self.store.get(made(8)["id"], model.Viewer(base.OTHER))

        self.assertEqual({"same": 10}, self.sweep())
        self.assertEqual(found, self.stored())

    def test_many_are_stored_at_once(self):
        self.glance.page = 1000
        self.glance.add(
            *(
                glance.image(f"{number:08d}{OWN[8:]}", base.OWNER)
                for number in range(500)
            )
        )
        self.assertEqual({"created": 500}, self.sweep())
        self.assertLess(self.glance.asked("GET"), 20)

    def test_what_differs_is_stored_and_what_is_gone_deleted(self):
        self.glance.add(made(1), made(2), made(3))
        self.sweep()
        before = timeutils.utcnow()
        self.glance.add(made(2, name="new", a="b"))
        del self.glance.images[made(3)["id"]]
        self.assertEqual(
            {"different": 1, "same": 1, "deleted": 1},
            self.sweep(dry_run=True),
        )
        self.assertEqual({"same": 1, "changed": 1, "deleted": 1}, self.sweep())
        found = self.stored()
        self.assertEqual({made(1)["id"], made(2)["id"]}, found.keys())
        self.assertEqual("new", found[made(2)["id"]][0].name)
        # Its own times are of January.
        since = model.ListQuery(limit=10, changes_since=before)
        viewer = model.Viewer(base.OWNER)
        page = self.store.page(since, viewer, model.Image)
        ids = sorted(image.id for image in page.images)
        self.assertEqual([made(2)["id"], made(3)["id"]], ids)
        status, out, _ = self.manage("db", "check")
        self.assertEqual(
            (0, "0 images had wrong index entries\n"), (status, out)
        )

    def test_a_restored_image_is_there_again(self):
        self.glance.add(made(1))
        self.sweep()
        del self.glance.images[made(1)["id"]]
        self.sweep()
        self.assertEqual({}, self.stored())
        self.glance.add(made(1))
        self.assertEqual({"changed": 1}, self.sweep())
        self.assertEqual({made(1)["id"]}, self.stored().keys())

    def test_a_purged_image_is_there_again(self):
        self.glance.add(made(1))
        self.sweep()
        del self.glance.images[made(1)["id"]]
        self.sweep()
        status, out, _ = self.manage("db", "purge", "--older-than", "0m")
        self.assertEqual(0, status, out)
        self.glance.add(made(1))
        self.assertEqual({"created": 1}, self.sweep())
        self.assertEqual({made(1)["id"]}, self.stored().keys())

    def test_an_empty_glance_deletes_nothing(self):
        self.glance.add(*(made(number) for number in range(20)))
        self.sweep()
        known = dict(self.glance.images)
        self.glance.images.clear()
        with self.assertRaisesRegex(sync.TooManyDeletes, "lacks 20 of 20"):
            self.sweep()
        self.assertEqual(known.keys(), self.stored().keys())
        status, _, err = self.manage("mirror", "sync")
        self.assertEqual(1, status)
        self.assertIn("--allow-deletes", err)
        self.assertEqual(known.keys(), self.stored().keys())
        status, out, _ = self.manage("mirror", "sync", "--allow-deletes")
        self.assertEqual(
            (0, "0 created, 0 changed, 0 same, 20 deleted\n"), (status, out)
        )

    def test_tables_of_a_newer_release_are_accepted(self):
        """A cloud that went back to an older release had no mirror."""
        with self.database.writer.begin() as db:
            version = db.exec_driver_sql("SELECT * FROM alembic_version")
            known = version.scalar_one()
        self.addCleanup(self.set_version, known)
        self.set_version("9")
        self.glance.add(made(1))
        status, _, err = self.manage("mirror", "sync")
        self.assertEqual(0, status, err)
        self.assertEqual({made(1)["id"]}, self.stored().keys())
        with (
            mock.patch.object(mirror.Mirror, "run", autospec=True) as run,
            self.assertLogs("images_service.startup", "WARNING") as logs,
        ):
            path = f"{self.folder}/images_service.conf"
            self.assertEqual(0, mirror_command.main(["--config-file", path]))
        run.assert_called_once()
        self.assertIn("which this release does not know", logs.output[0])

    def set_version(self, version):
        with self.database.writer.begin() as db:
            db.exec_driver_sql(
                f"UPDATE alembic_version SET version_num = '{version}'"
            )

    def test_a_user_without_the_role_deletes_nothing(self):
        self.glance.add(made(1))
        self.sweep()
        self.keystone.service_roles = ["service"]
        self.client = client.Glance(self.conf)
        self.sync = sync.Sync(self.database, self.client)
        self.glance.images.clear()
        with self.assertRaises(client.NoRole) as caught:
            self.sweep()
        self.assertIn("lacks the role admin", caught.exception.reason)
        # Tenants need not know.
        self.assertNotIn("admin", str(caught.exception))
        with self.assertRaises(client.NoRole):
            self.sync.image(made(1)["id"], may_delete=True)
        self.assertEqual({made(1)["id"]}, self.stored().keys())
        self.assertEqual(1, self.manage("mirror", "sync")[0])

    def test_hostile_properties_hide_no_image(self):
        properties = {
            "members": "x",
            "properties": "y",
            "deleted_at": "2026-01-01T00:00:00Z",
            "stores": "fast",
            "long": "x" * 70_000,
            "null": "a\0b",
            "integer": 5,
            **{f"k{n}" + "x" * 250: "v" * 255 for n in range(128)},
        }
        self.glance.add(
            made(1, **properties),
            glance.image(UPPER, base.OWNER, visibility="new"),
            {**made(2), "owner": None, "status": "new", "name": "n" * 300},
        )
        self.assertEqual({"created": 3}, self.sweep())
        found = self.stored()
        _, metadata = found[made(1)["id"]]
        del properties["null"], properties["integer"]
        self.assertEqual(properties, metadata)
        self.assertEqual("private", found[UPPER.lower()][0].visibility)
        image, _ = found[made(2)["id"]]
        self.assertEqual(
            ("", "unknown", None), (image.owner, image.status, image.name)
        )
        self.assertEqual({"same": 3}, self.sweep())

    def test_without_a_usable_id_the_others_are_mirrored(self):
        self.glance.add({**made(1), "id": "../x"}, made(2))
        self.assertEqual({"created": 1}, self.sweep())

    def test_garbage_changes_nothing(self):
        self.glance.add(made(1))
        self.sweep()
        failures: tuple[tuple[int, Any], ...] = (
            (200, {}),
            (200, b"<html>"),
            (200, []),
            (500, {}),
            (302, {}),
            (401, {}),
        )
        for failure in failures:
            self.glance.failure = failure
            with self.assertRaises(exception.GlanceUnavailable):
                self.sweep()
            with self.assertRaises(exception.GlanceUnavailable):
                self.sync.image(made(1)["id"], may_delete=True)
        self.assertEqual({made(1)["id"]}, self.stored().keys())

    def test_the_store_has_changed_in_between(self):
        """What was read before a change is not stored after it."""
        self.glance.add(made(1))
        self.sweep()
        ask = client.Glance.image
        changes = ["first", "second"]

        def slow(asked, image_id):
            record = ask(asked, image_id)
            if changes:
                items = {"by": changes.pop()}
                base.change_metadata(self.store, made(1)["id"], items)
                self.glance.add(made(1, name="later", **items))
            return record

        with mock.patch.object(client.Glance, "image", slow):
            outcome = self.sync.image(made(1)["id"], may_delete=False)
        self.assertEqual(Outcome.CHANGED, outcome)
        image, metadata = self.stored()[made(1)["id"]]
        self.assertEqual(("later", {"by": "first"}), (image.name, metadata))

    def test_commands_that_change_images_of_glance(self):
        self.glance.add(made(1))
        self.sweep()
        for args in (
            ("delete", made(1)["id"]),
            ("set", "--public", made(1)["id"]),
            ("unset", "--property", "a", made(1)["id"]),
            ("share", made(1)["id"], base.OTHER),
            ("unshare", made(1)["id"], base.OTHER),
            ("import", "-"),
        ):
            status, _, err = self.manage("image", *args)
            self.assertEqual(1, status)
            self.assertIn("Glance owns the images", err)
        self.assertEqual({made(1)["id"]}, self.stored().keys())

    def test_commands_of_a_service_without_a_mirror(self):
        self.make_store(base.configuration(self.folder))
        status, _, err = self.manage("mirror", "sync")
        self.assertEqual(1, status)
        self.assertIn("[glance] mode is not mirror", err)


class TestMysqlSweep(backends.OnBackend, TestSweep):
    backend = "mysql"


class TestPostgresqlSweep(backends.OnBackend, TestSweep):
    backend = "postgresql"


class TestMirror(MirrorTestCase):
    """The daemon, without a broker."""

    def start(self, **options):
        for name, value in options.items():
            self.conf.set_override(name, value, "mirror")
        made_mirror = mirror.Mirror(self.conf, self.database, self.client)
        thread = threading.Thread(target=made_mirror.run)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(made_mirror.stop)
        return made_mirror

    def test_polls_find_changes_and_sweeps_deletions(self):
        self.glance.add(made(1), made(2))
        self.start(poll_interval=1, sweep_interval=1)
        self.wait(lambda: len(self.stored()) == 2)
        now = timeutils.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
        self.glance.add(made(1, name="new", updated_at=now))
        self.wait(lambda: self.stored()[made(1)["id"]][0].name == "new")
        del self.glance.images[made(2)["id"]]
        self.wait(lambda: len(self.stored()) == 1)
        self.wait(
            lambda: (
                {"poll", "sweep", "members"}
                <= mirror_runs.load(self.database).keys()
            )
        )
        status, out, _ = self.manage("mirror", "status")
        self.assertEqual(0, status)
        self.assertIn("sweep", out)

    def test_hints(self):
        self.glance.add(made(1))
        made_mirror = self.start(poll_interval=1000, sweep_interval=1000)
        self.wait(self.stored)
        endpoint = notifications.Endpoint(made_mirror.hints)

        def tell(event, payload):
            sent = {"timestamp": str(timeutils.utcnow())}
            endpoint.info({}, "glance", event, payload, sent)

        self.glance.add(made(2))
        tell("image.create", {"id": made(2)["id"]})
        self.wait(lambda: len(self.stored()) == 2)
        shared = made(1, visibility="shared")
        self.glance.add(shared)
        self.glance.members[shared["id"]] = {base.OTHER: "accepted"}
        tell("image.member.create", {"image_id": shared["id"]})
        other = model.Viewer(base.OTHER)

        def is_shared():
            with contextlib.suppress(exception.ImageNotFound):
                return self.store.get(shared["id"], other)

        self.wait(is_shared)
        # One that lost its image to an error deletes nothing.
        del self.glance.images[made(2)["id"]]
        tell("image.update", {"id": made(2)["id"]})
        tell("image.upload", "a text")
        del self.glance.images[shared["id"]]
        deleted = {"id": shared["id"], "deleted_at": "2026-05-05T00:00:00Z"}
        tell("image.delete", deleted)
        self.wait(lambda: self.stored().keys() == {made(2)["id"]})
        page = self.store.page(
            model.ListQuery(
                limit=9, changes_since=datetime.datetime(2026, 1, 1)
            ),
            model.Viewer(base.OWNER),
            model.Image,
        )
        (at,) = (i.deleted_at for i in page.images if i.deleted_at)
        self.assertEqual(datetime.datetime(2026, 5, 5), at)

    def test_a_hint_waits_for_a_glance_that_is_away(self):
        made_mirror = self.start(poll_interval=1000, sweep_interval=1000)
        runs = lambda: mirror_runs.load(self.database)  # noqa: E731
        self.wait(lambda: "sweep" in runs())
        self.glance.failure = (503, {})
        self.glance.add(made(1))
        made_mirror.hints.put(
            notifications.Hint(made(1)["id"], timeutils.utcnow())
        )
        time.sleep(1.5)
        self.glance.failure = None
        self.wait(self.stored)

    def test_an_empty_glance_is_an_alarm(self):
        self.glance.add(*(made(number) for number in range(20)))
        self.sweep()
        self.glance.images.clear()
        self.start(sweep_interval=1)
        self.wait(lambda: "sweep failed" in mirror_runs.load(self.database))
        problem = mirror_runs.load(self.database)["sweep failed"].result
        self.assertIn("lacks 20 of 20", problem["problem"])
        self.assertEqual(20, len(self.stored()))


class TestApi(MirrorTestCase):
    def setUp(self):
        super().setUp()
        self.glance.add(made(1, a="1", b="2"), made(2, protected=True))
        self.sweep()
        self.glance.requests.clear()
        self.make_app()
        self.path = f"/images/{made(1)['id']}"
        self.metadata = f"{self.path}/metadata"

    def of_glance(self, number=1):
        image = self.glance.images[made(number)["id"]]
        return {key: image[key] for key in image.keys() - made(number).keys()}

    def test_changes_reach_glance(self):
        for method, path, body, expected in (
            ("PUT", "/a", {"meta": {"a": "~/x"}}, {"a": "~/x", "b": "2"}),
            ("DELETE", "/a", None, {"b": "2"}),
            ("POST", "", {"metadata": {"b": "4"}}, {"b": "4"}),
            ("PUT", "", {"metadata": {"c": "5"}}, {"c": "5"}),
        ):
            response = self.ask(method, self.metadata + path, body)
            self.assertIn(response.status_int, (200, 204), response.body)
            self.assertEqual(expected, self.of_glance())
            shown = self.ask("GET", self.metadata).json["metadata"]
            self.assertEqual(expected, shown)
        tokens = {
            headers["X-Auth-Token"]
            for method, _, headers in self.glance.requests
            if method == "PATCH"
        }
        self.assertEqual({"member"}, tokens)

    def test_no_service_token_arrives_with_a_change(self):
        self.keystone.tokens["nova"] = keystone.token_document(
            "nova", "services", ["service"]
        )
        response = self.ask(
            "PUT",
            f"{self.metadata}/a",
            {"meta": {"a": "new"}},
            X_Service_Token="nova",
        )
        self.assertEqual(200, response.status_int)
        for method, _, headers in self.glance.requests:
            if method != "GET":
                self.assertNotIn("X-Service-Token", headers)

    def test_a_delete_reaches_glance(self):
        self.assertEqual(204, self.ask("DELETE", self.path).status_int)
        self.assertNotIn(made(1)["id"], self.glance.images)
        self.assertEqual(404, self.ask("GET", self.path).status_int)
        self.assertEqual(404, self.ask("DELETE", self.path).status_int)
        self.assertEqual({"same": 1}, self.sweep())

    def test_a_delete_that_the_mirror_has_seen_first(self):
        """Notifications arrive before Glance's own answer."""
        ask = client.Glance.delete

        def slow(asked, image_id, token):
            self.glance.add(made(1, name="changed before"))
            self.sync.image(image_id, may_delete=False)
            ask(asked, image_id, token)

        with mock.patch.object(client.Glance, "delete", slow):
            self.assertEqual(204, self.ask("DELETE", self.path).status_int)
        self.assertEqual(404, self.ask("GET", self.path).status_int)

    def test_a_change_that_the_mirror_has_seen_first(self):
        ask = client.Glance.change

        def slow(asked, image_id, changes, token):
            record = ask(asked, image_id, changes, token)
            self.sync.image(image_id, may_delete=False)
            return record

        with mock.patch.object(client.Glance, "change", slow):
            response = self.ask(
                "PUT", f"{self.metadata}/a", {"meta": {"a": "9"}}
            )
        self.assertEqual(200, response.status_int)
        shown = self.ask("GET", self.metadata).json["metadata"]
        self.assertEqual({"a": "9", "b": "2"}, shown)
        self.assertEqual(1, self.glance.asked("PATCH"))

    def test_what_the_mirror_does_not_know_yet(self):
        """A key was removed in Glance; the change is tried on what is so."""
        self.glance.add(made(1, b="2"))
        response = self.ask("DELETE", f"{self.metadata}/a")
        self.assertFault(response, 404, "itemNotFound", "Invalid metadata key")
        self.assertEqual({"b": "2"}, self.of_glance())

    def test_refusals_are_the_right_faults(self):
        for status, expected in (
            (400, (400, "badRequest")),
            (401, (401, "unauthorized")),
            (403, (403, "forbidden")),
            (404, (404, "itemNotFound")),
            (409, (409, "conflictingRequest")),
            (413, (403, "forbidden")),
            (500, (503, "serviceUnavailable")),
            (302, (503, "serviceUnavailable")),
        ):

            def refuse(*_args, answer=status):
                text = "Bad.<br /><br />\n\nReason"
                return answer, {"message": text, "internal": "secret"}

            with mock.patch.object(client.Glance, "_write", refuse):
                response = self.ask("DELETE", self.path)
            self.assertFault(response, *expected)
            self.assertNotIn(b"<", response.body)
            self.assertNotIn(b"secret", response.body)
            if status == 400:
                text = response.json["badRequest"]["message"]
                self.assertEqual("Bad. Reason", text)
            if response.status_int == 503:
                self.assertIn("Retry-After", response.headers)

    def test_a_protected_image(self):
        path = f"/images/{made(2)['id']}"
        self.assertEqual(403, self.ask("DELETE", path).status_int)
        self.assertEqual(0, self.glance.asked("DELETE"))
        # The mirror may not know it yet.
        self.glance.add(made(1, protected=True))
        self.assertEqual(403, self.ask("DELETE", self.path).status_int)
        self.assertEqual(1, self.glance.asked("DELETE"))

    def test_what_glance_cannot_hold(self):
        for key, value, part in (
            ("name", "x", "is the name of an attribute"),
            ("status", "x", "is the name of an attribute"),
            (" a", "x", "space"),
            ("A", "x", "case of letters"),
            ("c", "\U0001f600", "beyond U+FFFF"),
            ("os_glance_x", "x", "reserved"),
            ("deleted", "x", "reserved"),
        ):
            body = {"metadata": {key: value}}
            response = self.ask("POST", self.metadata, body)
            self.assertFault(response, 400, "badRequest")
            message = response.json["badRequest"]["message"]
            self.assertIn(repr(key), message)
            self.assertIn(part, message)
        self.assertEqual(0, self.glance.asked("PATCH"))

    def test_an_image_that_the_mirror_lacks(self):
        self.glance.add(made(3))
        path = f"/images/{made(3)['id']}"
        self.assertEqual(200, self.ask("GET", path).status_int)
        self.assertEqual(200, self.ask("GET", path).status_int)
        self.assertEqual(1, self.glance.asked("GET", made(3)["id"]))

    def test_another_projects_image_that_the_mirror_lacks(self):
        self.glance.add({**made(3), "owner": base.ADMIN})
        path = f"/images/{made(3)['id']}"
        for _ in range(5):
            self.assertEqual(404, self.ask("GET", path).status_int)
        self.assertEqual(1, self.glance.asked("GET", made(3)["id"]))

    def test_an_image_that_nobody_has_is_asked_for_once_a_second(self):
        path = f"/images/{base.UNKNOWN}"
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = list(
                pool.map(lambda _: self.ask("GET", path).status_int, range(40))
            )
        self.assertEqual({404}, set(statuses))
        asked = self.glance.asked("GET", base.UNKNOWN)
        self.assertLessEqual(asked, 1 + (time.monotonic() - start))
        time.sleep(1.1)
        self.ask("GET", path)
        asked += 1
        self.assertEqual(asked, self.glance.asked("GET", base.UNKNOWN))
        for path in ("/images/1", "/images/..%2f..%2fv3"):
            self.assertEqual(404, self.ask("GET", path).status_int)
        self.assertEqual(asked, self.glance.asked("GET"))

    def test_a_glance_that_hangs_stops_no_reads(self):
        self.glance.delay = 8
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            writes = [
                pool.submit(
                    self.ask,
                    *("PUT", f"{self.metadata}/a", {"meta": {"a": "9"}}),
                )
                for _ in range(12)
            ]
            time.sleep(0.5)
            for _ in range(20):
                self.assertEqual(200, self.ask("GET", self.path).status_int)
                self.assertEqual(200, self.ask("GET", "/images").status_int)
            reads = time.monotonic() - start
            for write in writes:
                response = write.result(timeout=10)
                self.assertFault(response, 503, "serviceUnavailable")
                self.assertIn("Retry-After", response.headers)
        self.assertLess(reads, 3)
        self.assertLess(time.monotonic() - start, 6)
        # What has had no answer is asked for again, later.
        self.glance.delay = 0
        time.sleep(2)

    def test_a_change_without_an_answer_is_read_again(self):
        # Glance takes its time, and stores it all the same.
        ask = client.Glance._write

        def slow(asked, *args):
            ask(asked, *args)
            raise exception.GlanceUnavailable

        with mock.patch.object(client.Glance, "_write", slow):
            response = self.ask(
                "PUT", f"{self.metadata}/a", {"meta": {"a": "9"}}
            )
        self.assertEqual(503, response.status_int)
        deadline = time.monotonic() + 5
        while self.stored()[made(1)["id"]][1]["a"] != "9":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        response = self.ask("PUT", f"{self.metadata}/b", {"meta": {"b": "9"}})
        self.assertEqual(200, response.status_int)

    def test_writers_of_one_image_lose_nothing(self):
        def write(number):
            key = f"k{number}"
            for _ in range(100):
                response = self.ask(
                    "PUT", f"{self.metadata}/{key}", {"meta": {key: "v"}}
                )
                if response.status_int != 503:
                    return response.status_int
                # Not so many at the same time.
                time.sleep(0.1)
            return 503

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(write, range(20)))
        self.assertEqual([200] * 20, statuses)
        expected = {"a", "b"} | {f"k{number}" for number in range(20)}
        self.assertEqual(expected, self.of_glance().keys())
        shown = self.ask("GET", self.metadata).json["metadata"]
        self.assertEqual(self.of_glance(), shown)

    def test_an_etag_lives_while_nothing_changes(self):
        etag = self.ask("GET", self.path).headers["ETag"]
        self.assertEqual({"same": 2}, self.sweep())
        response = self.ask("GET", self.path, If_None_Match=etag)
        self.assertEqual(304, response.status_int)
        response = self.ask(
            "PUT",
            f"{self.metadata}/a",
            {"meta": {"a": "9"}},
            If_Match='"999"',
        )
        self.assertEqual(412, response.status_int)
        self.assertEqual(0, self.glance.asked("PATCH"))


class TestMysqlApi(backends.OnBackend, TestApi):
    backend = "mysql"


class TestPostgresqlApi(backends.OnBackend, TestApi):
    backend = "postgresql"


class TestHealth(MirrorTestCase):
    def reason(self):
        req = webob.Request.blank("/healthcheck", accept="application/json")
        with mock.patch.object(healthcheck, "_MIRROR_INTERVAL", -1):
            response = req.get_response(self.app)
        self.assertEqual(200, response.status_int)
        return response.json["reasons"][-1]

    def test_warnings(self):
        self.conf.set_override("max_staleness", 60, "mirror")
        self.make_app()
        store = SqlStore(self.database)
        self.assertIsNone(store.warning())
        self.assertIn("WARNING", self.reason())
        mirror_runs.save(self.database, "poll", {"same": 5})
        self.assertEqual("OK", self.reason())
        mirror_runs.save(self.database, "sweep failed", {"problem": "x"})
        self.assertIn("WARNING", self.reason())
        mirror_runs.save(self.database, "sweep", {"same": 5})
        self.assertEqual("OK", self.reason())
        later = timeutils.utcnow() + datetime.timedelta(seconds=61)
        with mock.patch.object(timeutils, "utcnow", return_value=later):
            self.assertIn("WARNING", self.reason())
        with mock.patch.object(
            mirror_runs, "load", side_effect=exception.StoreUnavailable
        ):
            self.assertIn("WARNING", self.reason())


class TestUpgradeCheck(MirrorTestCase):
    def check(self, **mode):
        base.configuration(
            self.folder,
            api={"auth_strategy": "keystone"},
            keystone_authtoken=self.keystone.options(),
            glance=self.keystone.glance_options() | mode,
            mirror={"transport_url": "rabbit://127.0.0.1:1"},
        )
        out = io.StringIO()
        path = f"{self.folder}/images_service.conf"
        with contextlib.redirect_stdout(out), mock.patch("oslo_log.log.setup"):
            status_command.main(["--config-file", path, "upgrade", "check"])
        text = " ".join(out.getvalue().replace("|", " ").split())
        return text.partition("Check: Glance")[2]

    def test_what_it_finds(self):
        self.assertIn("no notification of Glance was ever seen", self.check())
        mirror_runs.save(self.database, "hint", {"lag": 0.1})
        self.assertIn("Result: Success", self.check())
        self.assertIn(
            "property_protection_file",
            self.check(property_protection_file="/nowhere"),
        )
        self.keystone.service_roles = ["service"]
        self.assertIn("lacks the role admin", self.check())
        self.keystone.stop()
        self.assertIn("Keystone does not answer", self.check())


class TestMetrics(MirrorTestCase):
    def test_what_is_counted(self):
        counts = metrics.Metrics()
        self.glance.add(made(1), made(2))
        made_mirror = mirror.Mirror(
            self.conf, self.database, self.client, counts
        )
        made_mirror._swept.sweep(10)
        made_mirror.refresh(
            notifications.Hint(made(1)["id"], timeutils.utcnow())
        )
        made_mirror._fail("poll", "x")
        text = prometheus_client.generate_latest(counts.registry).decode()
        for line in (
            "images_service_mirror_images_total"
            '{found_by="sweep",outcome="created"} 2.0',
            "images_service_mirror_images_total"
            '{found_by="hint",outcome="same"} 1.0',
            "images_service_mirror_lag_seconds_count 1.0",
            "images_service_mirror_runs_total"
            '{kind="poll",result="failed"} 1.0',
            "images_service_mirror_waiting_hints 0.0",
        ):
            self.assertIn(line, text)


class TestNoReadThrough(MirrorTestCase):
    mode = {"read_through": "false"}

    def test_glance_is_not_asked(self):
        self.make_app()
        self.glance.add(made(3))
        path = f"/images/{made(3)['id']}"
        self.assertEqual(404, self.ask("GET", path).status_int)
        self.assertEqual([], self.glance.requests)


PROTECTIONS = """
[^x_own_]
create = admin,member
read = admin,member
update = admin,member
delete = admin,member
[^secret]
create = admin
read = admin, billing
update = admin
delete = admin
[.*]
create = @
read = @
update = @
delete = @
"""


class TestProtections(MirrorTestCase):
    def setUp(self):
        super().setUp()
        path = f"{self.make_folder()}/protections.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(PROTECTIONS)
        self.conf.set_override("property_protection_file", path, "glance")
        self.glance.add(made(1, secret="s", x_own_a="o", free="f"))
        self.sweep()
        self.make_app()
        self.path = f"/images/{made(1)['id']}"

    def shown(self, token="member"):
        return self.ask("GET", f"{self.path}/metadata", None, token).json

    def test_what_a_caller_may_not_read_is_not_shown(self):
        self.assertEqual(
            {"metadata": {"x_own_a": "o", "free": "f"}}, self.shown()
        )
        image = self.ask("GET", self.path).json["image"]
        self.assertNotIn("secret", image["metadata"])
        (image,) = self.ask("GET", "/images/detail").json["images"]
        self.assertNotIn("secret", image["metadata"])
        item = self.ask("GET", f"{self.path}/metadata/secret")
        self.assertEqual(404, item.status_int)
        self.keystone.tokens["billing"] = keystone.token_document(
            "bill", base.OWNER, ["Billing"]
        )
        self.assertEqual(
            {"metadata": {"secret": "s", "free": "f"}}, self.shown("billing")
        )

    def test_a_filter_tells_nothing_of_it(self):
        for query, expected in (("property-secret=s", 0), ("free=f", 1)):
            name, _, value = query.partition("=")
            name = name.removeprefix("property-")
            for path in ("/images", "/images/detail"):
                response = self.ask("GET", f"{path}?property-{name}={value}")
                self.assertEqual(expected, len(response.json["images"]))

    def test_a_replacement_leaves_it(self):
        response = self.ask(
            "PUT", f"{self.path}/metadata", {"metadata": {"new": "n"}}
        )
        self.assertEqual(200, response.status_int)
        self.assertEqual({"metadata": {"new": "n"}}, self.shown())
        _, items = self.stored()[made(1)["id"]]
        self.assertEqual({"new": "n", "secret": "s"}, items)

    def test_a_file_that_is_missing_or_wrong(self):
        path = f"{self.make_folder()}/none"
        self.conf.set_override("property_protection_file", path, "glance")
        with self.assertRaisesRegex(cfg.Error, f"property_pro.*{path}"):
            self.make_app()
        with open(path, "w", encoding="utf-8") as file:
            file.write("[(]\nread = @\n")
        with self.assertRaisesRegex(cfg.Error, r"\[\(\]"):
            self.make_app()


class TestStart(MirrorTestCase):
    def test_options_that_are_missing(self):
        for group, name, value, part in (
            ("api", "auth_strategy", "noauth2", "auth_strategy = keystone"),
            ("glance", "auth_type", None, "auth_type"),
        ):
            with self.subTest(name):
                self.conf.set_override(name, value, group)
                with self.assertRaisesRegex(cfg.Error, part):
                    self.make_app()
                self.conf.clear_override(name, group)

    def test_an_unknown_option(self):
        folder = self.make_folder()
        self.conf = base.configuration(
            folder,
            api={"auth_strategy": "keystone"},
            keystone_authtoken=self.keystone.options(),
            glance={**self.keystone.glance_options(), "read_trough": "1"},
        )
        with self.assertRaisesRegex(cfg.Error, "Did you mean read_through"):
            self.make_app()


class TestLease(MirrorTestCase):
    def test_one_holder_at_a_time(self):
        deadline = time.monotonic() + 1
        lease = leases.Lease(self.database, OWN, deadline)
        leases.Lease(self.database, base.IDS["public"], deadline)
        with self.assertRaises(exception.StoreUnavailable):
            leases.Lease(self.database, OWN, time.monotonic() + 0.2)
        lease.end()
        leases.Lease(self.database, OWN, time.monotonic() + 0.2)

    def test_it_ends_by_itself(self):
        leases.Lease(self.database, OWN, time.monotonic())
        later = timeutils.utcnow() + datetime.timedelta(
            seconds=leases.SECONDS + 1
        )
        with mock.patch.object(timeutils, "utcnow", return_value=later):
            leases.Lease(self.database, OWN, time.monotonic())

    def test_another_process_is_faster(self):
        """Two reconcile an image that neither of them has found."""
        new = records.mirrored(made(1), None)[0]
        reconciling.reconcile(self.database, [new], {new.image.id: 0})
        with self.assertRaises(store_base.Changed):
            reconciling.reconcile(self.database, [new], {new.image.id: 0})


class TestMysqlLease(backends.OnBackend, TestLease):
    backend = "mysql"


class TestPostgresqlLease(backends.OnBackend, TestLease):
    backend = "postgresql"
