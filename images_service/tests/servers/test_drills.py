# SPDX-License-Identifier: Apache-2.0
"""Databases, Keystone and a remote policy check that hang under load."""

import contextlib
import json
import os
import tempfile
import threading
import time
import unittest

import psycopg
import pymysql

from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.servers import drills
from images_service.tests.servers import processes
from images_service.tests.servers import stubs
from images_service.tests.servers import tcp_proxy

WORKERS, THREADS = 2, 8
# Seconds for which a server hangs, and for which tables are locked.
FROZEN, LOCKED = 40, 20
IMAGES = [
    {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "name": f"image {number}",
        "owner": base.OWNER,
        "visibility": "private",
        "status": "active",
    }
    for number in range(8)
]


def session(server):
    """Return an administrator's connection to the database, of a driver."""
    if isinstance(server, processes.MariaDB):
        socket = f"{server.folder}/socket"
        return pymysql.connect(
            unix_socket=socket, user="root", database="images"
        )
    return psycopg.connect(server.url().replace("+psycopg", ""))


@contextlib.contextmanager
def held(server, statement):
    """Keep what a statement locks, in a transaction of its own."""
    with contextlib.closing(session(server)) as connection:
        connection.cursor().execute(statement)
        yield


@contextlib.contextmanager
def waiting_ddl(server):
    """Have a change of a table wait for a transaction, and others for it."""

    def change():
        with contextlib.closing(session(server)) as connection:
            connection.cursor().execute("ALTER TABLE images ADD drill INT")

    thread = threading.Thread(target=change)
    with held(server, "SELECT COUNT(*) FROM images"):
        thread.start()
        yield
    thread.join()


ANSWER, CUT, REQUEST = tcp_proxy.ANSWER, tcp_proxy.CUT, tcp_proxy.REQUEST


class TestDrills(base.TestCase):
    servers: list[processes.Database]
    # Services that were started late, and what each answered then.
    late: list[tuple[processes.Api, drills.Answer]]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="images-service-test-")
        )
        cls.servers = []
        for kind in (processes.MariaDB, processes.PostgreSQL):
            if not kind.installed():
                raise unittest.SkipTest(f"{kind.__name__} is not installed")
            cls.servers.append(kind(folder))
            cls.addClassCleanup(cls.servers[-1].stop)
            cls.servers[-1].start()
        for server in cls.servers:
            server.wait()

    def setUp(self):
        super().setUp()
        self.others = {}
        for server in self.servers:
            server.sql("DROP DATABASE IF EXISTS images")
            conf = self.make_conf(connection=server.create())
            self.make_store(conf, IMAGES)
            self.others[server] = server.connections()

    def service(self, server, proxy=None, *, workers=WORKERS, **options):
        """Start a service on a database, or on a proxy before it."""
        port = (proxy or server).port
        url = server.url().replace(f":{server.port}/", f":{port}/")
        folder = self.make_folder()
        threads = options.pop("threads", THREADS)
        api = processes.Api(folder, workers=workers, threads=threads)
        self.conf = base.configuration(api.folder, connection=url, **options)
        self.addCleanup(api.stop)
        api.start()
        return api

    def proxy(self, server):
        proxy = tcp_proxy.Proxy(server.port)
        self.addCleanup(proxy.close)
        return proxy

    def drill(self, what, server, proxy=None, *, token=None, **options):
        """Return a drill of a service on a database.

        :param options: the service's groups, and ``spared`` of the drill.
        """
        spared = options.pop("spared", ())
        api = self.service(server, proxy, **options)
        start = time.monotonic()
        api.wait()
        self.usual = time.monotonic() - start
        pool = self.conf.database
        return drills.Drill(
            f"{type(server).__name__} {what}",
            api,
            token or base.TOKENS["member"],
            [image["id"] for image in IMAGES],
            spared,
            lambda: server.connections() - self.others[server],
            WORKERS * (pool.max_pool_size + pool.max_overflow),
        )

    def assertServiceHolds(self, cases, seconds, places=()):
        """Run drills; the services that start during them serve as well.

        :param places: where to start services, as ``start_late`` takes them.
        """
        self.late = []
        problems = drills.run(cases, seconds, lambda: self.start_late(places))
        problems += self.late_problems()
        if problems:
            self.fail("\n".join(["", *problems]))

    def start_late(self, places):
        """Start services whose databases hang already, and ask them."""
        start = time.monotonic()
        late = [self.service(*place, workers=1) for place in places]
        for api in late:
            api.wait()
        self.took = time.monotonic() - start
        self.late = [(api, self.ask(api, "GET", "/images")) for api in late]

    def late_problems(self):
        """Yield what is wrong with services that have started late."""
        if not self.late:
            return
        print(
            f"Started meanwhile in {self.took:.2f} s, else {self.usual:.2f} s"
        )
        # They start at the same time, so each takes longer than one alone.
        if self.took > len(self.late) * self.usual + drills.PATIENCE:
            yield f"a service took {self.took:.2f} s to start"
        for api, hung in self.late:
            if hung.status != 503 or hung.end - hung.start > drills.PATIENCE:
                yield f"a late service answered {hung}"
            well, waits = self.watch(api, "GET", "/images")
            if well.status != 200:
                again = [self.ask(api, "GET", "/images").status for _ in "12"]
                yield (
                    f"a late service answers {well}, then {again}; it waited "
                    f"in {waits}: {api.last_words()}"
                )

    def watch(self, api, *request):
        """Return an answer, and where the threads wait that take long."""
        waits: list[list[str]] = []

        def look():
            waits.extend(processes.state(pid) for pid in api.workers())

        timer = threading.Timer(2, look)
        timer.start()
        answer = self.ask(api, *request)
        timer.cancel()
        return answer, waits

    def ask(self, api, *request):
        token = base.TOKENS["member"]
        return drills.Drill("", api, token, IMAGES).ask(*request)

    def test_a_database_is_frozen(self):
        cases = [
            # What asks the database itself is to be as fast.
            (
                self.drill("frozen", server, healthcheck={"detailed": True}),
                server.frozen(),
            )
            for server in self.servers
        ]
        places = [(server,) for server in self.servers]
        self.assertServiceHolds(cases, FROZEN, places)

    def test_a_proxy_swallows(self):
        places = [(server, self.proxy(server)) for server in self.servers]
        cases = [
            (self.drill(what, *place), place[1].swallowing(cut=cut))
            for place, (what, cut) in zip(
                places,
                (("swallowed", False), ("swallowed, then cut", True)),
                strict=True,
            )
        ]
        self.assertServiceHolds(cases, FROZEN, places)

    def test_answers_trickle(self):
        """Drivers count their time-outs anew for each byte."""
        places = [(server, self.proxy(server)) for server in self.servers]
        cases = [
            (self.drill("trickles", *place), place[1].trickling())
            for place in places
        ]
        self.assertServiceHolds(cases, LOCKED, places)

    def test_tables_are_locked(self):
        statements = (
            "FLUSH TABLES WITH READ LOCK",
            "LOCK TABLE images IN ACCESS EXCLUSIVE MODE",
        )
        cases = [
            (self.drill("locked", server), held(server, statement))
            for server, statement in zip(self.servers, statements, strict=True)
        ]
        self.assertServiceHolds(cases, LOCKED)

    def test_a_change_of_a_table_waits(self):
        cases = [
            (self.drill("changed", server), waiting_ddl(server))
            for server in self.servers
        ]
        self.assertServiceHolds(cases, LOCKED)

    def test_keystone_and_a_remote_policy_check_are_frozen(self):
        identity = self.stub(
            keystone.__name__,
            {"member": ["alice", base.OWNER, ["member", "reader"]]},
        )
        remote = self.stub(stubs.__name__)
        options = {
            **keystone.Keystone.options(identity),
            # Each request asks it.
            "token_cache_time": -1,
        }
        mariadb, postgresql = self.servers
        behind_keystone = self.drill(
            "behind Keystone",
            mariadb,
            token="member",
            api={"auth_strategy": "keystone"},
            keystone_authtoken=options,
        )
        asking = self.drill(
            "behind a remote policy check",
            postgresql,
            policy={"os_compute_api:images:show": f"{remote.url}/"},
            spared=("images:index", "images:detail", "image-metadata"),
        )
        cases = [
            (behind_keystone, identity.frozen()),
            (asking, remote.frozen()),
        ]
        self.assertServiceHolds(cases, FROZEN)

    def stub(self, module, tokens=None):
        folder = self.make_folder()
        path = os.path.join(folder, "tokens.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(tokens, file)
        stub = processes.Stub(folder, module, path)
        self.addCleanup(stub.stop)
        stub.start()
        stub.wait()
        return stub

    def test_a_commit_has_no_answer(self):
        """Whether it was executed is unknown, so the answer is 503."""
        image = f"/images/{IMAGES[0]['id']}"
        metadata = f"{image}/metadata"
        item = f"{metadata}/key"
        before, after = {"key": "before"}, {"key": "after"}
        for server in self.servers:
            proxy = self.proxy(server)
            api = self.service(server, proxy, workers=1, threads=1)
            api.wait()
            for fate, sent, expected in (
                (CUT, ("POST", metadata, {"metadata": after}), after),
                (ANSWER, ("DELETE", item), {}),
                (REQUEST, ("PUT", item, {"meta": after}), before),
                (CUT, ("DELETE", image), None),
            ):
                known = self.ask(api, "PUT", item, {"meta": before})
                self.assertEqual(200, known.status)
                first = self.generation(api, image)
                proxy.commit = fate
                answer = self.ask(api, *sent)
                self.assertIsNone(proxy.commit)
                self.assertEqual(503, answer.status, answer)
                self.assertIn("Retry-After", answer.headers)
                self.assertLess(answer.end - answer.start, drills.PATIENCE)
                found = self.ask(api, "GET", metadata)
                if expected is None:
                    self.assertEqual(404, found.status)
                    continue
                self.assertEqual(expected, json.loads(found.text)["metadata"])
                # It was executed once, or not at all.
                last = first + (expected != before)
                self.assertEqual(last, self.generation(api, image))

    def generation(self, api, image):
        return int(self.ask(api, "GET", image).headers["ETag"].strip('"'))
