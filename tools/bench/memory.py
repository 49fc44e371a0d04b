# SPDX-License-Identifier: Apache-2.0
"""What a worker keeps of memory, as it answers.

One worker, with Keystone and memcached or without, on 1,001 images; requests
of all kinds take turns, pages of a thousand among them. Printed is the
worker's memory after each ten thousand: what is resident (RSS), and that with
its part of what it shares with other processes (PSS).
"""

import argparse
import contextlib

import api
import deployment
import load

ROUND = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--driver", choices=deployment.DRIVERS, default="psycopg"
    )
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--keystone", action="store_true")


def run(options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        folder, connection, images = deployment.catalogue(
            options.driver, stack
        )
        start = (
            deployment.keystone_service
            if options.keystone
            else deployment.service
        )
        service = start(folder, connection, stack, 1, options.threads)
        cases = api.cases(images, options.threads)
        mixed = [
            [request for each in every for request in each]
            for every in zip(*(case.requests for case in cases), strict=True)
        ]
        rss, pss = deployment.memory_of(service)
        print(f"{'requests':>8}  {'RSS, MB':>7}  {'PSS, MB':>7}")
        print(f"{0:8}  {rss:7.1f}  {pss:7.1f}", flush=True)
        for sent in range(0, options.requests, ROUND):
            count = min(ROUND, options.requests - sent)
            load.run(service.port, mixed, count=count)
            rss, pss = deployment.memory_of(service)
            print(f"{sent + count:8}  {rss:7.1f}  {pss:7.1f}", flush=True)
