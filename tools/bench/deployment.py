# SPDX-License-Identifier: Apache-2.0
"""What is measured: databases with a catalogue, and servers on them."""

import contextlib
import datetime
import os
import sys
import tempfile
import uuid

import floor

from images_service import model
from images_service.store.sql import engine
from images_service.store.sql.migrations import run as migrations
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.servers import processes

TOKEN = f"alice:{floor.PROJECT}"
ROOT = "http://127.0.0.1:8774"
DRIVERS = {
    "sqlite": None,
    "mysqlclient": "mysql+mysqldb",
    "pymysql": "mysql+pymysql",
    "psycopg": "postgresql+psycopg",
    "psycopg2": "postgresql+psycopg2",
}
# Seconds of CPU that the operating system counts.
LEAST = 1 / os.sysconf("SC_CLK_TCK")


class Floor(processes.HTTPServer):
    """floor.py, in the service's own server."""

    def __init__(self, folder, conf_file, workers, threads):
        super().__init__(folder, "floor")
        script = os.path.join(os.path.dirname(__file__), "floor.py")
        self._command = [
            *(sys.executable, script, conf_file, str(self.port)),
            *(str(workers), str(threads)),
        ]

    def command(self):
        return self._command


def memory_of(server):
    """Return the memory of a server's largest worker, in MB.

    :returns: what is resident, and of that its share: of what other processes
        use, too, such as the code of libraries, each has a part.
    """
    found = []
    for pid in server.workers():
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            sizes = {line.split(":")[0]: line.split() for line in file}
        found.append(
            tuple(int(sizes[name][1]) * 1024 / 1e6 for name in ("Rss", "Pss"))
        )
    return max(found)


def service(folder, connection, stack, workers, threads):
    """Start a service that believes each token; return it, ready."""
    found = processes.Api(folder, "noauth2", workers=workers, threads=threads)
    base.configuration(
        found.folder, connection=connection, api={"compute_link_prefix": ROOT}
    )
    stack.callback(found.stop)
    found.start()
    found.wait()
    return found


def keystone_service(folder, connection, stack, workers, threads):
    """Start a service whose tokens memcached knows; return it, ready."""
    service = processes.Api(
        folder, "keystone", workers=workers, threads=threads
    )
    start_with_keystone(folder, connection, stack, service)
    return service


def start_with_keystone(folder, connection, stack, *servers):
    """Start servers whose tokens one memcached knows, and wait for them.

    :param servers: each has its configuration in its own folder.
    """
    stub = keystone.Keystone(
        {
            TOKEN: keystone.token_document(
                "alice", floor.PROJECT, ["member", "reader"]
            )
        }
    )
    stub.start()
    stack.callback(stub.stop)
    memcached = processes.Memcached(folder)
    for server in servers:
        base.configuration(
            server.folder,
            connection=connection,
            api={"compute_link_prefix": ROOT, "auth_strategy": "keystone"},
            keystone_authtoken={
                **stub.options(),
                "memcached_servers": memcached.address,
            },
        )
    for server in (memcached, *servers):
        stack.callback(server.stop)
        server.start()
    for server in (memcached, *servers):
        server.wait()


@contextlib.contextmanager
def database(driver):
    name = {"sqlite": "sqlite", "mysqlclient": "mysql", "pymysql": "mysql"}
    with backends.database(name.get(driver, "postgresql")) as url:
        dialect = DRIVERS[driver] or "sqlite"
        yield f"{dialect}:{url.partition(':')[2]}"


def catalogue(driver, stack):
    """Make a database with the images.

    :returns: a folder for servers, the database's URL, the images, newest
        first.
    """
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    connection = stack.enter_context(database(driver))
    images = fill(base.configuration(folder, connection=connection))
    return folder, connection, images


def fill(conf):
    """Store the images and return them, newest first."""
    database = engine.Database(conf, engine.COMMANDS)
    migrations.sync(database)
    start = datetime.datetime(2026, 3, 1)
    made = [
        model.NewImage(
            model.Image(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
                name=f"image {number}",
                status="active",
                visibility="public",
                owner=floor.PROJECT,
                size=number * 1000,
                min_ram=512,
                min_disk=10,
                protected=False,
                os_hidden=False,
                created_at=start + datetime.timedelta(seconds=number),
                updated_at=start + datetime.timedelta(seconds=number),
                deleted_at=None,
                generation=1,
                metadata="",
            ),
            {
                "os_distro": "ubuntu",
                "os_version": "24.04",
                "architecture": "x86_64",
                "hw_disk_bus": "virtio",
                floor.KEY: floor.VALUES[0],
            },
            {},
        )
        for number in range(1001)
    ]
    store = SqlStore(database)
    store.add(made)
    found = store.page(
        model.ListQuery(limit=1000),
        model.Viewer(floor.PROJECT),
        model.Image,
    ).images
    database.dispose()
    return found
