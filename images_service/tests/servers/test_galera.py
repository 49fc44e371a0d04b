# SPDX-License-Identifier: Apache-2.0
"""Three Galera nodes, an API process for each, and one node that is killed.

Nothing that was acknowledged is lost, no quota is exceeded, and callers see at
most 503s that a retry heals.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import random
import threading
import time

from images_service.glance import records
from images_service.store.sql import admin
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import base
from images_service.tests.servers import processes

PROVIDERS = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
)
NODES = 3
IMAGES = 10
QUOTA = 100
TOKEN = base.TOKENS["member"]


def provider():
    return next((path for path in PROVIDERS if os.path.exists(path)), None)


class Node(processes.MariaDB):
    """One node of a cluster, all on loopback."""

    def __init__(self, folder, number):
        super().__init__(folder, f"node{number}")
        self.number = number
        self.group_port = processes.free_port()
        self.transfer_port = processes.free_port()
        self.incremental_port = processes.free_port()
        self.cluster = []

    def command(self):
        members = ",".join(
            f"127.0.0.1:{node.group_port}" for node in self.cluster
        )
        options = ";".join(
            (
                f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port}",
                f"ist.recv_addr=127.0.0.1:{self.incremental_port}",
                "gcache.size=64M",
                # A node that is gone is noticed within seconds.
                "evs.suspect_timeout=PT2S",
                "evs.inactive_timeout=PT4S",
                "evs.keepalive_period=PT0.5S",
            )
        )
        return [
            *super().command(),
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={provider()}",
            "--wsrep-cluster-name=images",
            f"--wsrep-cluster-address=gcomm://{members}",
            f"--wsrep-node-name=node{self.number}",
            f"--wsrep-node-address=127.0.0.1:{self.group_port}",
            f"--wsrep-provider-options={options}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{self.transfer_port}",
            "--wsrep-slave-threads=2",
        ]

    def answers(self):
        return super().answers() and "ON" in self.sql(
            "SHOW STATUS LIKE 'wsrep_ready'"
        )


class TestGalera(base.TestCase):
    def setUp(self):
        super().setUp()
        if not processes.MariaDB.installed() or provider() is None:
            self.skipTest("MariaDB with galera-4 is not installed")
        if processes.find("rsync") is None:
            self.skipTest("rsync, which brings nodes in, is not installed")
        self.folder = self.make_folder()
        self.nodes = [Node(self.folder, number) for number in range(NODES)]
        for node in self.nodes:
            node.cluster = self.nodes
            self.addCleanup(node.stop)
        for node in self.nodes:
            node.start(*(["--wsrep-new-cluster"] if node.number == 0 else []))
            node.wait()
        self.nodes[0].create()
        self.apis = [
            processes.Api(self.folder, f"api{number}")
            for number in range(NODES)
        ]
        conf, *_ = [
            base.configuration(
                api.folder,
                connection=node.url(),
                quota={"metadata_items": QUOTA},
            )
            for api, node in zip(self.apis, self.nodes, strict=True)
        ]
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        run.sync(database)
        self.ids = [f"{n:08d}" + base.UNKNOWN[8:] for n in range(IMAGES)]
        SqlStore(database).add(
            [
                records.new_image({"id": i, "owner": base.OWNER}, base.NOW)
                for i in self.ids
            ]
        )
        for api in self.apis:
            self.addCleanup(api.stop)
            api.start()
            api.wait()
        self.ports = [api.port for api in self.apis]
        self.acknowledged = collections.defaultdict(set)
        self.outcomes: collections.Counter = collections.Counter()
        self.unhealed = []
        self.stopping = threading.Event()

    def send(self, port, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(
                method,
                f"/v2.1{path}",
                None if body is None else json.dumps(body),
                {"X-Auth-Token": TOKEN, "Content-Type": "application/json"},
            )
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def write_on(self, writer, count):
        """Add a key to some image, again and again, on a node of choice."""
        chance = random.Random(writer)
        for number in range(count):
            if self.stopping.is_set():
                return
            image_id = chance.choice(self.ids)
            key = f"w{writer}-{number}"
            port = self.ports[(writer + number) % NODES]
            self.write(port, image_id, key)
            time.sleep(0.05)

    def write(self, port, image_id, key):
        body = {"meta": {key: "x"}}
        path = f"/images/{image_id}/metadata/{key}"
        for _ in range(5):
            status, _ = self.send(port, "PUT", path, body)
            self.outcomes[status] += 1
            if status == 200:
                self.acknowledged[image_id].add(key)
            if status != 503:
                return
            # What a caller does with a 503: try again, elsewhere.
            port = self.ports[(self.ports.index(port) + 1) % NODES]
            time.sleep(0.5)
        self.unhealed.append((image_id, key))

    def stored(self, number, image_id):
        status, body = self.send(
            self.ports[number], "GET", f"/images/{image_id}/metadata"
        )
        self.assertEqual(200, status, body)
        return set(json.loads(body)["metadata"])

    def test_a_node_is_killed_and_comes_back(self):
        writers = [
            threading.Thread(target=self.write_on, args=(writer, 200))
            for writer in range(6)
        ]
        for writer in writers:
            writer.start()
        time.sleep(3)
        self.assertLess(sum(map(len, self.acknowledged.values())), 900)
        self.nodes[2].kill()
        time.sleep(8)
        self.nodes[2].start()
        self.nodes[2].wait()
        for writer in writers:
            writer.join(180)
            self.assertFalse(writer.is_alive())
        print(f"Galera: answers {dict(self.outcomes)}")
        self.assertLessEqual(set(self.outcomes), {200, 403, 503})
        self.assertGreater(self.outcomes[503], 0)
        self.assertEqual([], self.unhealed)
        # The last node to come in has what the first ones have.
        time.sleep(2)
        for image_id in self.ids:
            kept = [self.stored(n, image_id) for n in range(NODES)]
            self.assertEqual(kept[0], kept[1])
            self.assertEqual(kept[0], kept[2])
            self.assertLessEqual(len(kept[0]), QUOTA)
            self.assertLessEqual(self.acknowledged[image_id], kept[0])
            # A write that ended in a 503 may have been stored all the same,
            # and is acknowledged by the retry, or turned down by the quota.
            self.assertLessEqual(
                len(kept[0] - self.acknowledged[image_id]),
                self.outcomes[503],
            )

    def race(self, *actions):
        """Do actions at once, each in a thread; return their results."""
        with concurrent.futures.ThreadPoolExecutor(len(actions)) as pool:
            tasks = [pool.submit(*action) for action in actions]
            return [task.result(120) for task in tasks]

    def test_races_of_writers_on_all_nodes(self):
        full, deleted, *_ = self.ids
        body = {"metadata": {f"old{n}": "x" for n in range(QUOTA - 5)}}
        status, _ = self.send(
            self.ports[0], "POST", f"/images/{full}/metadata", body
        )
        self.assertEqual(200, status)
        self.race(
            *(
                (self.write, self.ports[n % NODES], full, f"new{n}")
                for n in range(20)
            )
        )
        print(f"Galera: 20 writers got {dict(self.outcomes)}")
        self.assertLessEqual(set(self.outcomes), {200, 403, 503})
        self.assertEqual([], self.unhealed)
        time.sleep(2)
        kept = [self.stored(n, full) for n in range(NODES)]
        self.assertEqual([kept[0]] * NODES, kept)
        self.assertEqual(QUOTA, len(kept[0]))
        self.assertLessEqual(self.acknowledged[full], kept[0])

        path = f"/images/{deleted}"
        self.outcomes.clear()
        deletes = [(self.send, port, "DELETE", path) for port in self.ports]
        answers = self.race(
            *deletes,
            *(
                (self.write, self.ports[n % NODES], deleted, f"new{n}")
                for n in range(17)
            ),
        )
        outcomes = [answer[0] for answer in answers[:NODES]]
        print(f"Galera: deletes got {outcomes}, writers {self.outcomes}")
        self.assertEqual(1, outcomes.count(204))
        self.assertLessEqual(set(outcomes), {204, 404, 503})
        self.assertLessEqual(set(self.outcomes), {200, 404, 503})
        time.sleep(2)
        for port in self.ports:
            self.assertEqual(404, self.send(port, "GET", path)[0])
        for node in self.nodes:
            conf = base.configuration(
                self.make_folder(), connection=node.url()
            )
            database = engine.Database(conf)
            self.addCleanup(database.dispose)
            self.assertEqual([], list(admin.check(database, repair=False)))
