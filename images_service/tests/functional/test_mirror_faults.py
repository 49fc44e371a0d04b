# SPDX-License-Identifier: Apache-2.0
"""What an attack on the mirror has found; each test is named after it."""

import concurrent.futures
import threading
import time
from unittest import mock
import uuid

from oslo_config import cfg
from oslo_utils import timeutils
import sqlalchemy as sa
import webob

from images_service import exception
from images_service.glance import client
from images_service.glance import mirror
from images_service.glance import notifications
from images_service.glance import sync
from images_service.store.sql import leases
from images_service.store.sql import mirror_runs
from images_service.tests import backends
from images_service.tests import base
from images_service.tests import glance
from images_service.tests.functional import test_mirror
from images_service.tests.servers import processes

made = test_mirror.made


class Faults(test_mirror.MirrorTestCase):
    def setUp(self):
        super().setUp()
        self.glance.add(made(1, a="1"), made(2, a="1"))
        self.sweep()
        self.glance.requests.clear()

    def path(self, number):
        return f"/images/{made(number)['id']}"

    def put(self, number, key="a"):
        path = f"{self.path(number)}/metadata/{key}"
        return self.ask("PUT", path, {"meta": {key: "9"}}).status_int

    def get(self, number, **who):
        return self.ask("GET", self.path(number), **who).status_int

    def failing(self, number, error=exception.GlanceUnavailable):
        """Have questions for one image fail."""
        ask = client.Glance.image

        def image(asked, image_id):
            if image_id == made(number)["id"]:
                raise error
            return ask(asked, image_id)

        return mock.patch.object(client.Glance, "image", image)


class TestApi(Faults):
    def setUp(self):
        super().setUp()
        self.make_app()

    def test_concurrent_misses_were_404_while_glance_failed(self):
        self.glance.add(made(3))
        self.glance.delay, self.glance.failure = 0.5, (500, {})
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            found = set(pool.map(self.get, [3] * 3))
        self.assertEqual({503}, found)

    def test_one_image_took_all_slots(self):
        image_id = made(1)["id"]
        held = leases.Lease(self.database, image_id, time.monotonic() + 1)
        self.glance.add(made(3))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(self.put, 1) for _ in range(6)]
            time.sleep(0.5)
            # One that is missing has slots of its own.
            self.assertEqual(200, self.get(3))
            self.assertEqual({503}, {each.result() for each in waiting})
        self.assertEqual(200, self.put(2))
        held.end()
        self.assertEqual(200, self.put(1))

    def test_a_delete_without_an_answer_was_undone(self):
        ask = client.Glance._write

        def slow(asked, *args):
            ask(asked, *args)
            raise exception.GlanceUnavailable

        with mock.patch.object(client.Glance, "_write", slow):
            response = self.ask("DELETE", self.path(1))
        self.assertEqual(503, response.status_int)
        time.sleep(2)
        self.assertEqual(404, self.get(1))

    def test_an_image_that_glance_lacks_was_shown_after_a_404(self):
        del self.glance.images[made(1)["id"]]
        self.assertEqual(404, self.put(1))
        self.assertEqual(404, self.get(1))

    def test_a_lease_ended_while_glance_wrote(self):
        go = threading.Event()
        patch = glance.Handler.patch

        def late(handler, image, changes):
            if changes[0]["path"] != "/slow":
                patch(handler, image, changes)
                return
            old = dict(image)
            handler.server.lock.release()
            go.wait(20)
            handler.server.lock.acquire()
            patch(handler, old, changes)

        with mock.patch.object(glance.Handler, "patch", late):
            self.assertEqual(503, self.put(1, "slow"))
            time.sleep(1.5)
            # Glance would lose one of both.
            self.assertEqual(503, self.put(1, "fast"))
            go.set()
            time.sleep(2)
            self.assertEqual(200, self.put(1, "fast"))
        now = self.glance.images[made(1)["id"]]
        self.assertEqual(("9", "9"), (now["slow"], now["fast"]))

    def test_an_image_was_locked_when_nothing_was_sent(self):
        url = f"http://127.0.0.1:{processes.free_port()}"
        self.conf.set_override("endpoint_override", url, "glance")
        self.make_app()
        self.assertEqual(503, self.put(1))
        held = leases.Lease(
            self.database, made(1)["id"], time.monotonic() + 0.1
        )
        held.end()

    def test_what_imports_leave_was_removed(self):
        self.glance.add(made(3, os_glance_failed_import="", x="1"))
        self.assertEqual(200, self.get(3))
        response = self.ask(
            "PUT", f"{self.path(3)}/metadata", {"metadata": {"x": "2"}}
        )
        self.assertEqual(200, response.status_int)
        image = self.glance.images[made(3)["id"]]
        self.assertEqual("", image["os_glance_failed_import"])

    def test_tenants_were_told_of_the_role(self):
        self.keystone.service_roles = ["service"]
        self.make_app()
        response = self.ask("GET", self.path(3))
        self.assertEqual(503, response.status_int)
        self.assertNotIn(b"role", response.body)

    def test_a_request_took_seven_seconds(self):
        held = leases.Lease(self.database, made(1)["id"], time.monotonic() + 1)
        threading.Timer(1.2, held.end).start()
        self.glance.delay = 3.5
        self.glance.add(made(3, visibility="shared"))
        for ask in (lambda: self.put(1), lambda: self.get(3)):
            start = time.monotonic()
            self.assertEqual(503, ask())
            self.assertLess(time.monotonic() - start, 5)
        self.glance.delay = 0
        time.sleep(2)

    def test_a_failing_glance_made_threads(self):
        self.glance.failure = (500, {})
        before = threading.active_count()
        for number in range(10, 40):
            self.glance.add(made(number))
        self.glance.failure = None
        self.sweep()
        self.glance.failure = (500, {})
        for number in range(10, 40):
            self.ask("DELETE", self.path(number))
        # There were 68; some are the stub's own.
        self.assertLess(threading.active_count() - before, 20)
        self.glance.failure = None
        time.sleep(2)

    def test_a_slow_glance_took_the_threads(self):
        """Eight threads, as images-service-api has; misses of random ids."""
        self.glance.delay = 1.5
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            misses = [
                pool.submit(self.ask, "GET", f"/images/{uuid.uuid4()}")
                for _ in range(24)
            ]
            start = time.monotonic()
            read = pool.submit(self.get, 1)
            self.assertEqual(200, read.result())
            took = time.monotonic() - start
            statuses = {miss.result().status_int for miss in misses}
        self.assertLess(took, 3)
        self.assertEqual({404, 503}, statuses)

    def test_a_health_check_that_cannot_ask_was_500(self):
        error = sa.exc.DBAPIError("x", {}, Exception("denied"))
        with mock.patch.object(mirror_runs, "load", side_effect=error):
            req = webob.Request.blank("/healthcheck")
            self.assertEqual(200, req.get_response(self.app).status_int)

    def test_a_timeout_longer_than_a_lease(self):
        for name, value, part in (
            ("timeout", 30, "timeout is 30"),
            ("auth_type", "none", "a token without roles"),
        ):
            self.conf.set_override(name, value, "glance")
            with self.assertRaisesRegex(cfg.Error, part):
                client.Glance(self.conf)
            self.conf.clear_override(name, "glance")


class TestSync(Faults):
    def test_one_image_stopped_the_mirror(self):
        self.glance.add(*(made(number) for number in range(3, 9)))
        del self.glance.images[made(1)["id"]]
        with self.failing(3):
            self.assertEqual(
                {"same": 1, "created": 5, "failed": 1, "deleted": 1},
                self.sweep(),
            )
            status, out, _ = self.manage("mirror", "sync")
            self.assertEqual((1, True), (status, "1 failed" in out), out)
        self.assertEqual({"same": 6, "created": 1}, self.sweep())

    def test_an_image_with_the_same_id_in_upper_case(self):
        """On PostgreSQL Glance has both, and they may be of two tenants."""
        known = glance.image(
            test_mirror.UPPER.lower(), base.OWNER, visibility="public"
        )
        twin = glance.image(test_mirror.UPPER, base.OTHER)
        self.glance.add(known)
        self.sweep()
        self.glance.add(twin)
        self.sync.image(twin["id"], may_delete=False)
        self.sweep()
        self.assertEqual(base.OWNER, self.stored()[known["id"]][0].owner)
        del self.glance.images[twin["id"]]
        self.sync.image(twin["id"], may_delete=True)
        self.assertIn(known["id"], self.stored())

    def test_all_of_a_few_images_were_deleted(self):
        self.glance.images.clear()
        with self.assertRaises(sync.TooManyDeletes):
            self.sweep()
        self.assertEqual(2, len(self.stored()))
        # One that is the only one may be gone.
        self.glance.add(made(1))
        self.sweep()
        self.glance.images.clear()
        self.assertEqual({"deleted": 1}, self.sweep())

    def test_the_image_between_two_pages_was_deleted(self):
        self.glance.add(*(made(number) for number in range(3, 9)))
        self.sweep()
        show_all = glance.Handler.show_all
        gone = [made(3)["id"]]

        def show(handler, query):
            if query.get("marker", made(2)["id"]) not in self.glance.images:
                handler.answer(400, {"message": "marker"})
                return
            show_all(handler, query)
            if gone:
                del self.glance.images[gone.pop()]

        with mock.patch.object(glance.Handler, "show_all", show):
            # The first page was read before the deletion.
            self.assertNotIn("failed", self.sweep())
            self.assertEqual({"same": 7, "deleted": 1}, self.sweep())

    def test_members_were_asked_for_twice(self):
        shared = [
            glance.image(f"{n:08d}{base.UNKNOWN[8:]}", base.OWNER)
            for n in range(30)
        ]
        self.glance.page = 100
        self.glance.add(*({**i, "visibility": "shared"} for i in shared))
        self.assertEqual({"same": 2, "created": 30}, self.sweep())
        self.assertEqual(
            30, sum("members" in path for _, path, _ in self.glance.requests)
        )


class TestMirror(Faults):
    def setUp(self):
        super().setUp()
        self.mirror = mirror.Mirror(self.conf, self.database, self.client)
        self.threads = []
        self.addCleanup(self.stop)

    def start(self, *parts):
        for part in parts:
            thread = threading.Thread(target=part, daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self):
        self.mirror.stop()
        for thread in self.threads:
            thread.join(10)

    def tell(self, event, number):
        payload = {"id": made(number)["id"]}
        endpoint = notifications.Endpoint(self.mirror.hints)
        endpoint.info({}, "", event, payload, {})

    def test_an_image_that_was_deleted_at_once_stayed(self):
        """A poll had read it before, and stored it after the deletion."""
        self.glance.add(made(3))
        ask = client.Glance.image
        self.start(self.mirror._work)

        def slow(asked, image_id):
            record = ask(asked, image_id)
            if record is not None:
                del self.glance.images[made(3)["id"]]
                self.tell("image.delete", 3)
                time.sleep(0.5)
            return record

        with mock.patch.object(client.Glance, "image", slow):
            self.sync.image(made(3)["id"], may_delete=False)
        self.assertIn(made(3)["id"], self.stored())
        self.wait(lambda: made(3)["id"] not in self.stored())

    def test_a_member_that_was_removed_stayed(self):
        shared = made(3, visibility="shared")
        self.glance.add(shared)
        self.sync.image(shared["id"], may_delete=False)
        self.glance.members[shared["id"]] = {base.OTHER: "accepted"}
        ask = client.Glance.members
        self.start(self.mirror._work)
        first = [1]

        def slow(asked, image_id):
            found = ask(asked, image_id)
            if first:
                first.pop()
                self.glance.members[shared["id"]] = {}
                self.tell("image.member.delete", 3)
                time.sleep(0.5)
            return found

        with mock.patch.object(client.Glance, "members", slow):
            self.sync.image(shared["id"], may_delete=False)
        self.make_app()
        self.assertEqual(200, self.get(3, token="other"))
        self.wait(lambda: self.get(3, token="other") == 404)

    def test_a_thread_died_when_nothing_could_be_saved(self):
        self.conf.set_override("sweep_interval", 1, "mirror")
        error = sa.exc.DBAPIError("x", {}, Exception("denied"))
        with mock.patch.object(mirror_runs, "save", side_effect=error):
            self.start(self.mirror._sweeps)
            time.sleep(1.5)
            self.assertTrue(self.threads[0].is_alive())

    def test_a_good_hint_waited_behind_bad_ones(self):
        ask = client.Glance.image

        def bad(asked, image_id):
            if image_id != made(50)["id"]:
                raise exception.GlanceUnavailable
            return ask(asked, image_id)

        self.glance.add(made(50))
        with mock.patch.object(client.Glance, "image", bad):
            for number in range(10, 50):
                self.tell("image.update", number)
            self.start(*[self.mirror._work] * 4)
            time.sleep(0.5)
            self.tell("image.update", 50)
            self.wait(lambda: made(50)["id"] in self.stored(), 2)
            self.assertEqual(40, len(self.mirror.hints))
            self.stop()

    def test_what_a_sweep_could_not_store_is_asked_for_again(self):
        self.glance.add(made(3))
        self.conf.set_override("poll_interval", 1000, "mirror")
        with self.failing(3):
            self.start(self.mirror._sweeps)
            runs = lambda: mirror_runs.load(self.database)  # noqa: E731
            self.wait(lambda: "sweep" in runs())
        self.start(self.mirror._work)
        self.wait(lambda: made(3)["id"] in self.stored())

    def test_it_ended_after_a_page(self):
        self.glance.page = 1000
        self.glance.add(
            *(
                {**made(n), "visibility": "shared", "id": str(uuid.uuid4())}
                for n in range(100)
            )
        )
        self.glance.delay = 0.3
        self.start(self.mirror.run)
        time.sleep(1)
        start = time.monotonic()
        self.stop()
        self.assertFalse(self.threads[0].is_alive())
        self.assertLess(time.monotonic() - start, 4)

    def test_the_lag_counts_from_the_first_hint(self):
        hints = notifications.Hints()
        now = timeutils.utcnow()
        hints.put(notifications.Hint("a", now, None, looks_again=True))
        hints.put(notifications.Hint("A", None, now))
        self.assertEqual(
            notifications.Hint("A", now, now, looks_again=True),
            hints.take(0),
        )
        hints.put(notifications.Hint("a", now))
        self.assertIsNone(hints.take(0))
        hints.done(notifications.Hint("A", now))
        self.assertIsNotNone(hints.take(0))


class TooLong(Faults, base.Mixin):
    def test_an_image_that_no_statement_holds(self):
        long = {f"k{n}": '\x01\\"' * 21_845 for n in range(128)}
        self.glance.add(made(3, **long), made(4))
        self.assertEqual({"same": 2, "created": 2}, self.sweep())
        items = self.stored()[made(3)["id"]][1]
        self.assertGreater(len(items), 2)
        self.assertLess(len(items), 128)
        self.assertEqual({"same": 4}, self.sweep())


class TestSqlite(TooLong):
    pass


class TestMysql(backends.OnBackend, TooLong):
    backend = "mysql"


class TestPostgresql(backends.OnBackend, TooLong):
    backend = "postgresql"
