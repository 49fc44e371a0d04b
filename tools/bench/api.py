# SPDX-License-Identifier: Apache-2.0
"""What a request costs, beside the least that it could.

Starts the service as it is deployed, and beside it the floor (see floor.py),
in the same server with as many workers, on the same database: 1,001 public
images of five properties. They take turns, case by case; CPU is the workers',
in microseconds for a request, as the operating system counts it. Ratios are of
the medians of all rounds, and from the smallest to the largest of a round.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import statistics
import sys
import tempfile
import uuid

import floor
import load
import plot

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
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Case:
    """Requests of one kind.

    :param paths: below the project; each connection has one of its own.
    """

    def __init__(self, name, paths, method="GET", bodies=(b"",)):
        self.name = name
        self.requests = [
            [self._request(method, path, body) for body in bodies]
            for path in paths
        ]

    def _request(self, method, path, body):
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n"
        )
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode() + body


def cases(images, connections):
    """Return the cases, for some images of the catalogue."""
    below = f"/v2.1/{floor.PROJECT}/images"
    shown = [f"{below}/{image.id}" for image in images[:connections]]
    items = [
        json.dumps({"meta": {floor.KEY: value}}).encode()
        for value in floor.VALUES
    ]
    found = [
        Case("version document", ["/"] * connections),
        Case("show", shown),
        Case("metadata GET", [f"{path}/metadata" for path in shown]),
    ]
    for limit in (20, 100, 1000):
        path = f"{below}/detail?limit={limit}"
        found.append(Case(f"detail, {limit}", [path] * connections))
    found += [
        Case("index, 100", [f"{below}?limit=100"] * connections),
        Case(
            "metadata PUT of a key",
            [f"{path}/metadata/{floor.KEY}" for path in shown],
            "PUT",
            items,
        ),
    ]
    return found


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


def cpu_of(server):
    """Return the seconds of CPU that a server's workers have used."""
    ticks = 0
    for pid in server.workers():
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def memory_of(server):
    """Return the resident memory of a server's largest worker, in MB."""
    sizes = []
    for pid in server.workers():
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            sizes.append(int(file.read().split()[1]) * _PAGE)
    return max(sizes) / 1e6


class Figures:
    """What was measured of a case on one server, a value for each round."""

    def __init__(self):
        self.cpu, self.rate, self.latencies = [], [], []

    def measure(self, server, requests, seconds):
        before = cpu_of(server)
        found = load.run(server.port, requests, seconds)
        used = cpu_of(server) - before
        self.cpu.append(used / len(found.latencies) * 1e6)
        self.rate.append(len(found.latencies) / found.seconds)
        self.latencies += found.latencies

    def told(self):
        """Return requests a second, p50 and p99 in ms, and CPU in us."""
        ordered = sorted(self.latencies)
        p50 = ordered[len(ordered) // 2] * 1e3
        p99 = ordered[len(ordered) * 99 // 100] * 1e3
        rate, cpu = map(statistics.median, (self.rate, self.cpu))
        return f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{cpu:.0f}"


def measure(case, service, lowest, constant, options):
    """Measure a case, print its line, and return its three medians of CPU."""
    sides = [
        (service, case.requests, Figures()),
        (lowest, case.requests, Figures()),
        (lowest, constant.requests, Figures()),
    ]
    for number in range(options.rounds + 1):
        for server, requests, figures in sides:
            # The first round only warms up.
            into = figures if number else Figures()
            seconds = options.seconds if number else options.seconds / 4
            into.measure(server, requests, seconds)
    ours, least, nothing = (figures for _, _, figures in sides)
    ratios = [a / b for a, b in zip(ours.cpu, least.cpu, strict=True)]
    medians = [statistics.median(each.cpu) for each in (ours, least, nothing)]
    service_cpu, floor_cpu, constant_cpu = medians
    print_row(
        case.name,
        *ours.told(),
        f"{floor_cpu:.0f}",
        f"{constant_cpu:.0f}",
        f"{service_cpu / floor_cpu:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        f"{(service_cpu - floor_cpu) / constant_cpu:.1f}",
    )
    return medians


# A table as the documentation has it.
COLUMNS = {
    "case": 21,
    "req/s": 6,
    "p50 ms": 6,
    "p99 ms": 6,
    "CPU": 6,
    "floor": 6,
    "constant": 8,
    "ratio": 22,
    "above": 5,
}


def print_row(*cells):
    widths = COLUMNS.values()
    row = "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True))
    print(row.rstrip(), flush=True)


def print_rule():
    print_row(*("=" * width for width in COLUMNS.values()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument(
        "--driver", action="append", choices=DRIVERS, help="may be repeated"
    )
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the CPU; needs matplotlib"
    )
    parser.add_argument(
        "--keystone", action="store_true", help="show with a cached token, too"
    )


def run(options: argparse.Namespace) -> None:
    measured = {}
    for driver in options.driver or ("sqlite", "mysqlclient", "psycopg"):
        with contextlib.ExitStack() as stack:
            print(f"\n{driver}\n{'-' * len(driver)}\n")
            measured[driver] = _run(driver, options, stack)
    if options.plot:
        plot.draw(measured, options.plot)


def _run(driver, options, stack):
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    connection = stack.enter_context(database(driver))
    service = processes.Api(
        folder, workers=options.workers, threads=options.threads
    )
    conf = base.configuration(
        service.folder,
        connection=connection,
        api={"compute_link_prefix": ROOT, "auth_strategy": "noauth2"},
    )
    images = fill(conf)
    conf_file = f"{service.folder}/images_service.conf"
    lowest = Floor(folder, conf_file, options.workers, options.threads)
    for server in (service, lowest):
        stack.callback(server.stop)
        server.start()
        server.wait()
    constant = Case("constant", ["/constant"] * options.connections)
    medians = {}
    print_rule()
    print_row(*COLUMNS)
    print_rule()
    for case in cases(images, options.connections):
        if options.only and options.only not in case.name:
            continue
        _compare(case, service, lowest)
        medians[case.name] = measure(case, service, lowest, constant, options)
    if options.keystone:
        medians["show, Keystone"] = _with_keystone(
            folder, connection, images, lowest, options, stack
        )
    print_rule()
    print(
        f"\nA worker has {memory_of(service):.0f} MB of resident memory, "
        f"the floor's {memory_of(lowest):.0f} MB."
    )
    return medians


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
    service = processes.Api(
        folder, "keystone", workers=workers, threads=threads
    )
    base.configuration(
        service.folder,
        connection=connection,
        api={"compute_link_prefix": ROOT, "auth_strategy": "keystone"},
        keystone_authtoken={
            **stub.options(),
            "memcached_servers": memcached.address,
        },
    )
    for server in (memcached, service):
        stack.callback(server.stop)
        server.start()
        server.wait()
    return service


def _with_keystone(folder, connection, images, lowest, options, stack):
    """Measure show with tokens that memcached knows."""
    service = keystone_service(
        folder, connection, stack, options.workers, options.threads
    )
    constant = Case("constant", ["/constant"] * options.connections)
    _, case, *_ = cases(images, options.connections)
    case.name = "show, Keystone"
    return measure(case, service, lowest, constant, options)


@contextlib.contextmanager
def database(driver):
    name = {"sqlite": "sqlite", "mysqlclient": "mysql", "pymysql": "mysql"}
    with backends.database(name.get(driver, "postgresql")) as url:
        dialect = DRIVERS[driver] or "sqlite"
        yield f"{dialect}:{url.partition(':')[2]}"


def fill(conf):
    """Store the images and return them, newest first."""
    database = engine.Database(conf)
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
        model.ListQuery(limit=1000), model.Viewer(floor.PROJECT)
    ).images
    database.dispose()
    return found


def _compare(case, service, lowest):
    """See that both sides answer the same, byte for byte."""
    first = case.requests[0][-1]
    head, _, body = first.partition(b"\r\n\r\n")
    method, path, _ = head.split(b" ", 2)
    answers = []
    for server in (service, lowest):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request(
            method.decode(),
            path.decode(),
            body or None,
            {"X-Auth-Token": TOKEN, "Content-Type": "application/json"},
        )
        answers.append(connection.getresponse().read())
        connection.close()
    if answers[0] != answers[1]:
        print(lowest.last_words(), file=sys.stderr)
        sys.exit(
            f"{case.name}: {answers[0][:500]!r} is not {answers[1][:500]!r}"
        )
