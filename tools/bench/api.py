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
import http.client
import json
import statistics
import sys
import tempfile

import deployment
import floor
import load
import table

from images_service.tests import base
from images_service.tests.servers import processes


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
            f"X-Auth-Token: {deployment.TOKEN}\r\n"
            "Content-Type: application/json\r\n"
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


class Figures:
    """What was measured of a case on one server, a value for each round."""

    def __init__(self):
        self.cpu, self.rate, self.latencies = [], [], []

    def measure(self, server, requests, seconds):
        before = server.seconds_of_cpu()
        found = load.run(server.port, requests, seconds)
        # A short round may use less than is counted.
        used = max(server.seconds_of_cpu() - before, deployment.LEAST)
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
    """Measure a case, and print its line."""
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
    table.print_row(
        COLUMNS.values(),
        case.name,
        *ours.told(),
        f"{floor_cpu:.0f}",
        f"{constant_cpu:.0f}",
        f"{service_cpu / floor_cpu:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        f"{(service_cpu - floor_cpu) / constant_cpu:.1f}",
    )


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


def add_deployment(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is started."""
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument(
        "--driver",
        action="append",
        choices=deployment.DRIVERS,
        help="may be repeated",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=4)
    add_deployment(parser)
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument(
        "--keystone", action="store_true", help="show with a cached token, too"
    )


def run(options: argparse.Namespace) -> None:
    for driver in options.driver or ("sqlite", "mysqlclient", "psycopg"):
        with contextlib.ExitStack() as stack:
            print(f"\n{driver}\n{'-' * len(driver)}\n")
            _run(driver, options, stack)


def _run(driver, options, stack):
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    connection = stack.enter_context(deployment.database(driver))
    service = processes.Api(
        folder, workers=options.workers, threads=options.threads
    )
    conf = base.configuration(
        service.folder,
        connection=connection,
        api={
            "compute_link_prefix": deployment.ROOT,
            "auth_strategy": "noauth2",
        },
    )
    images = deployment.fill(conf)
    conf_file = f"{service.folder}/images_service.conf"
    lowest = deployment.Floor(
        folder, conf_file, options.workers, options.threads
    )
    for server in (service, lowest):
        stack.callback(server.stop)
        server.start()
        server.wait()
    constant = Case("constant", ["/constant"] * options.connections)
    table.print_rule(COLUMNS.values())
    table.print_row(COLUMNS.values(), *COLUMNS)
    table.print_rule(COLUMNS.values())
    for case in cases(images, options.connections):
        if options.only and options.only not in case.name:
            continue
        _compare(case, service, lowest)
        measure(case, service, lowest, constant, options)
    if options.keystone:
        _with_keystone(folder, connection, images, lowest, options, stack)
    table.print_rule(COLUMNS.values())
    sizes = [deployment.memory_of(side)[0] for side in (service, lowest)]
    print(
        f"\nA worker has {sizes[0]:.0f} MB of resident memory, the floor's "
        f"{sizes[1]:.0f} MB."
    )


def _with_keystone(folder, connection, images, lowest, options, stack):
    """Measure show with tokens that memcached knows."""
    service = deployment.keystone_service(
        folder, connection, stack, options.workers, options.threads
    )
    constant = Case("constant", ["/constant"] * options.connections)
    _, case, *_ = cases(images, options.connections)
    case.name = "show, Keystone"
    measure(case, service, lowest, constant, options)


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
            {
                "X-Auth-Token": deployment.TOKEN,
                "Content-Type": "application/json",
            },
        )
        answers.append(connection.getresponse().read())
        connection.close()
    if answers[0] != answers[1]:
        print(lowest.last_words(), file=sys.stderr)
        sys.exit(
            f"{case.name}: {answers[0][:500]!r} is not {answers[1][:500]!r}"
        )
