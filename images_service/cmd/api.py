# SPDX-License-Identifier: Apache-2.0
"""images-service-api: serves the API."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from importlib import metadata
import sys
import tempfile

from oslo_config import cfg

from images_service import config
from images_service.watched import FileError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="images-service-api", description="Serve the image API."
    )
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
    parser.add_argument(
        "--host",
        help="address to listen on (default: 127.0.0.1 with noauth2, "
        "else 0.0.0.0)",
    )
    parser.add_argument("--port", type=_port, default=8774)
    parser.add_argument(
        "--workers", type=_count, default=2, help="processes (default: 2)"
    )
    parser.add_argument(
        "--threads",
        type=_count,
        default=4,
        help="threads of each process (default: 4)",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="serve a sample catalogue from a temporary folder, with no "
        "configuration and no authentication",
    )
    return parser


def _port(text: str) -> int:
    return _between(text, 1, 65535)


def _count(text: str) -> int:
    return _between(text, 1, 1024)


def _between(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise argparse.ArgumentTypeError(f"not a number: {text!r}")
    if not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"not in {least}..{most}: {text}")
    return int(text)


def _serve(options: argparse.Namespace) -> None:
    # What serves takes half a second to import, which --help need not wait
    # for.
    from oslo_log import log

    from images_service import app
    from images_service import metrics
    from images_service.cmd import serving

    def read() -> cfg.ConfigOpts:
        args = config.file_arguments(options.config_file)
        conf = config.load(args, prog="images-service-api")
        log.setup(conf, config.PROJECT)
        if not conf.database.connection:
            raise cfg.RequiredOptError("connection", cfg.OptGroup("database"))
        return conf

    conf = read()
    host = options.host
    if host is None:
        trusting = conf.api.auth_strategy == "noauth2"
        # A service is there to be reached; one that trusts everybody isn't.
        host = "127.0.0.1" if trusting else "0.0.0.0"  # noqa: S104  # nosec B104
    address = f"[{host}]" if ":" in host else host
    with metrics.served(conf):
        # Made before the workers are forked: what is wrong with it is said
        # once, and they share its memory.  It connects to nothing until asked.
        serving.serve(
            app.create(conf),
            lambda: app.create(read()),
            f"{address}:{options.port}",
            options.workers,
            options.threads,
        )


@contextlib.contextmanager
def _demo(options: argparse.Namespace) -> Iterator[None]:
    """Point the options at a demonstration, and clear it away at the end."""
    from images_service.cmd import demo

    with tempfile.TemporaryDirectory(prefix="images-service-demo-") as folder:
        options.config_file = [demo.prepare(folder)]
        print(demo.welcome(folder, options.host or "127.0.0.1", options.port))
        sys.stdout.flush()
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.demo and options.config_file:
        parser.error("--demo takes no --config-file: it makes its own")
    try:
        with _demo(options) if options.demo else contextlib.nullcontext():
            _serve(options)
    except (cfg.Error, FileError, OSError) as error:
        print(f"images-service-api: {error}", file=sys.stderr)
        return 1
    return 0
