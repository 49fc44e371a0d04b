# SPDX-License-Identifier: Apache-2.0
"""What a request costs under each server of the installation guide.

Each has two workers, Keystone's tokens in memcached and 1,001 images, and logs
each request. They take turns, case by case and round by round; wrk sends the
requests on four connections. CPU is that of the server's processes, in
microseconds for a request, as the operating system counts it: the median of
the rounds. PSS is a worker's memory, with its part of what it shares. It needs
wrk, and CLOUD_ENVIRONMENT: a folder that tox -e functional-cloud-environments
makes.
"""

import argparse
import contextlib
import os
import statistics
import sys

import deployment
import floor
import table
import wrk

from images_service.tests.servers import guide
from images_service.tests.servers import processes

OWN = "images-service-api --workers 2 --threads 8 --host 127.0.0.1 --port 8775"
CONNECTIONS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--driver", choices=deployment.DRIVERS, default="mysqlclient"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)


def run(options: argparse.Namespace) -> None:
    wrk.check()
    environment = os.environ.get("CLOUD_ENVIRONMENT", "")
    if not environment:
        sys.exit("CLOUD_ENVIRONMENT names no folder")
    commands = {
        "images-service-api": OWN.split(),
        "uWSGI": guide.command("uwsgi"),
        "gunicorn, threads": guide.command("gunicorn"),
        "granian, WSGI": guide.command("granian"),
    }
    with contextlib.ExitStack() as stack:
        folder, connection, images = deployment.catalogue(
            options.driver, stack
        )
        servers = {
            name: guide.Server(folder, environment, command, name=name)
            for name, command in commands.items()
        }
        deployment.start_with_keystone(
            folder, connection, stack, *servers.values()
        )
        below = f"/v2.1/{floor.PROJECT}/images"
        cases = {
            "version document": "/",
            "show": f"{below}/{images[0].id}",
            "detail, 100": f"{below}/detail?limit=100",
        }
        costs: dict[str, list[float]] = {}
        for path in cases.values():
            for name, cost in measure(servers, path, options).items():
                costs.setdefault(name, []).append(cost)
        for name, server in servers.items():
            _, pss = deployment.memory_of(server)
            costs[name].append(pss)
    table.print_table(
        ("server", *cases, "PSS, MB"),
        *(
            (name, *(f"{figure:.0f}" for figure in figures))
            for name, figures in costs.items()
        ),
    )


def measure(servers, path, options):
    """Return what a request costs under each server."""
    found: dict[str, list[float]] = {name: [] for name in servers}
    # The first round only warms up.
    for number in range(options.rounds + 1):
        for name, server in servers.items():
            before = cpu(server)
            failed = wrk.count(
                server.port,
                [path],
                "GET",
                options.requests,
                CONNECTIONS,
                deployment.TOKEN,
                0,
            )
            if failed:
                sys.exit(f"{name}, {path}: {failed} failed")
            if number:
                used = cpu(server) - before
                found[name].append(used / options.requests * 1e6)
    return {name: statistics.median(each) for name, each in found.items()}


def cpu(server):
    """Return the seconds of CPU of a server's processes."""
    own = processes.seconds_of_cpu(server.process.pid)
    return own + server.seconds_of_cpu()
