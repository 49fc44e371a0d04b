# SPDX-License-Identifier: Apache-2.0
"""Benchmarks.  They print what they measure and judge nothing."""

import argparse

import api
import cloud
import memory
import policy
import profiling
import servers
import writers

BENCHMARKS = {
    "api": api,
    "cloud": cloud,
    "memory": memory,
    "policy": policy,
    "profile": profiling,
    "servers": servers,
    "writers": writers,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="BENCHMARK")
    for name, module in BENCHMARKS.items():
        command = commands.add_parser(
            name,
            description=module.__doc__,
            help=module.__doc__.splitlines()[0],
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args()
    options.run(options)


main()
