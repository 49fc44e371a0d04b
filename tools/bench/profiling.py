# SPDX-License-Identifier: Apache-2.0
"""Where a worker's time in Python goes, case by case.

One worker with Keystone's tokens in memcached, on 1,001 images; py-spy notes
500 times a second what holds Python's lock. Each part is printed in per cent
of what was noted. It needs the right to look into other processes.
"""

import argparse
import collections
import contextlib
import os
import re
import subprocess

import api
import deployment
import load
import table

# Part -> the files that are its own. What none of them matches is its
# caller's; the first part that matches has it.
PARTS = {
    "log line": r"\blogging/|oslo_log/|request_log\.py",
    "threads": r"concurrent/futures/|\bthreading\.py|\bqueue\.py",
    "server: connections, HTTP": (
        r"gunicorn/|uvloop/|asyncio/|\bselectors\.py|cmd/(asgi|serving)\.py"
    ),
    "driver": r"MySQLdb/|pymysql/|psycopg|sql/cursor\.py|\bsqlite3/",
    "store and connection pool": r"images_service/store/|sqlalchemy/|oslo_db/",
    "JSON": r"\bjson/|orjson|api/views\.py",
    "identity": r"middleware/(auth|keystone)\.py|keystone",
    "filters, routing, dispatch": r"images_service/|webob/|oslo_middleware/",
}
# A frame in py-spy's output.
_FILE = re.compile(r"\((.*):\d+\)$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--driver", choices=deployment.DRIVERS, default="mysqlclient"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=8)


def run(options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        folder, connection, images = deployment.catalogue(
            options.driver, stack
        )
        service = deployment.keystone_service(
            folder, connection, stack, 1, options.threads
        )
        cases = api.cases(images, options.threads)
        shares = {}
        for case in cases:
            load.run(service.port, case.requests, options.seconds / 10)
            with recorded(service, f"{folder}/stacks", options) as stacks:
                load.run(service.port, case.requests, options.seconds)
            shares[case.name] = parts(stacks)
    table.print_table(
        ("part", *shares),
        *(
            (part, *(f"{100 * each[part]:.0f}" for each in shares.values()))
            for part in (*PARTS, "other")
        ),
    )


@contextlib.contextmanager
def recorded(service, path, options):
    """Note what a worker does; give the list that has it at the end."""
    (worker,) = service.workers()
    stacks: list[str] = []
    spy = subprocess.Popen(
        [
            *("py-spy", "record", "--gil", "--rate", "500", "--nonblocking"),
            *("--format", "raw", "--output", path, "--pid", str(worker)),
            *("--duration", str(max(round(options.seconds), 1))),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield stacks
        said, _ = spy.communicate(timeout=60)
    finally:
        spy.kill()
    if spy.returncode:
        raise SystemExit(f"py-spy has failed: {said}")
    with open(path, encoding="utf-8") as file:
        stacks += file
    os.unlink(path)


def parts(stacks):
    """Return each part's share of the samples.

    :param stacks: lines of frames, the outermost first, and how often they
        were seen.
    """
    counts: collections.Counter[str] = collections.Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        counts[part_of(frames.split(";"))] += int(count)
    total = counts.total() or 1
    return {part: counts[part] / total for part in (*PARTS, "other")}


def part_of(frames):
    for frame in reversed(frames):
        found = _FILE.search(frame)
        for part, files in PARTS.items():
            if found and re.search(files, found[1]):
                return part
    return "other"
