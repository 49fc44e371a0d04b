# SPDX-License-Identifier: Apache-2.0
"""Arguments that several programs have."""

import argparse
from collections.abc import Callable
from importlib import metadata


def server_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a program that runs until a signal ends it.

    It has ``--version`` and ``--config-file``.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument(
        "--version",
        action="version",
        version=metadata.version("images-service"),
    )
    parser.add_argument(
        "--config-file",
        action="append",
        metavar="PATH",
        help="configuration file, instead of the usual ones; may be "
        "repeated, later ones win",
    )
    return parser


def number_up_to(most: int) -> Callable[[str], int]:
    """Return the type of an argument: a number from 1 to a maximum.

    :param most: the maximum.
    """

    def number(text: str) -> int:
        if not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"not in 1..{most}: {text}")
        return int(text)

    return number


port = number_up_to(65535)
