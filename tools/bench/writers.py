# SPDX-License-Identifier: Apache-2.0
"""What writers cost each other: twenty of one image, and of twenty images.

Each of twenty connections sets a key of an image again and again.  Writers of
one image come one after the other; a run of an action that another one came
before is repeated.  CPU is the workers', in microseconds for an answer.
"""

import argparse
import contextlib
import json

import api
import deployment
import floor

WRITERS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=5.0)
    api.add_deployment(parser)


def run(options: argparse.Namespace) -> None:
    print("req/s, p50 ms, p99 ms, CPU")
    for driver in options.driver or ("sqlite", "mysqlclient", "psycopg"):
        with contextlib.ExitStack() as stack:
            folder, connection, images = deployment.catalogue(driver, stack)
            service = deployment.service(
                folder, connection, stack, options.workers, options.threads
            )
            for count in (1, WRITERS):
                requests = _requests(images[:count])
                figures = api.Figures()
                figures.measure(service, requests, options.seconds)
                print(f"{driver}, images: {count}:", *figures.told())


def _requests(images):
    """Return what each writer sends in turn."""
    found = []
    for number in range(WRITERS):
        image = images[number % len(images)]
        path = f"/v2.1/{floor.PROJECT}/images/{image.id}/metadata/w{number}"
        bodies = [
            json.dumps({"meta": {f"w{number}": value}}).encode()
            for value in floor.VALUES
        ]
        case = api.Case("", [path], "PUT", bodies)
        found += case.requests
    return found
