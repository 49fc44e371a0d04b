# SPDX-License-Identifier: Apache-2.0
"""images-service-api: serves the API."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from wsgiref import types as wsgi

from oslo_config import cfg
from oslo_log import log

from images_service import config
from images_service.cmd import arguments
from images_service.cmd import output
from images_service.files import FileError

LOG = log.getLogger(__name__)

# Variables by which gunicorn and systemd pass sockets.
_GIVEN_SOCKETS = frozenset({"GUNICORN_FD", "LISTEN_FDS"})
_UNCONFIGURED = """\
there is no configuration.
To try the service with sample images:
    images-service-api --demo
To serve your own images, write /etc/images_service/images_service.conf as
doc/source/install/index.rst says, or name a file with --config-file."""


def _parser() -> argparse.ArgumentParser:
    parser = arguments.server_parser(
        "images-service-api", "Serve the image API."
    )
    parser.add_argument(
        "--host",
        help="address to listen on (default: 127.0.0.1 with noauth2, "
        "else 0.0.0.0)",
    )
    count = arguments.number_up_to(1024)
    parser.add_argument(
        "--port",
        type=arguments.port,
        default=8774,
        help="port to listen on (default: 8774)",
    )
    parser.add_argument(
        "--workers", type=count, default=2, help="processes (default: 2)"
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=8,
        help="threads of each process; it needs more than its connections to "
        "a database (default: 8)",
    )
    parser.add_argument(
        "--timeout",
        type=count,
        default=300,
        metavar="SECONDS",
        help="replace a process that does not respond for so long; requests "
        "have deadlines of their own (default: 300)",
    )
    parser.add_argument(
        "--metrics-port",
        type=arguments.port,
        metavar="PORT",
        help="port of Prometheus' metrics, instead of [metrics] port; each "
        "service of a machine needs its own",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="serve a sample catalogue from a temporary folder, with no "
        "configuration and no authentication",
    )
    return parser


def _serve(options: argparse.Namespace, welcome: str) -> None:
    """Serve until a signal ends the process.

    :param welcome: text to print when the service is ready.
    """
    # These imports take half a second, which --help does not need.
    from images_service import app
    from images_service import startup
    from images_service.cmd import asgi
    from images_service.cmd import serving
    from images_service.middleware import metrics

    name = "demo" if options.demo else "main"

    def make(conf: cfg.ConfigOpts) -> asgi.Adapter:
        if (conf.metrics.port, conf.metrics.host) != metrics_address:
            LOG.warning(
                "[metrics] port and host stay %s and %s until a restart: a "
                "reload does not change the socket",
                *metrics_address,
            )
        conf.set_override("port", metrics_port, "metrics")
        return asgi.Adapter(
            app.create(conf, name=name, forks=True),
            options.threads,
            conf.oslo_middleware.max_request_body_size,
            on_ports,
        )

    conf = _configuration(options)
    if not (conf.config_file or conf.config_dir or conf.database.connection):
        raise startup.NotReady(_UNCONFIGURED)
    metrics_address = (conf.metrics.port, conf.metrics.host)
    metrics_port = _metrics_port(*metrics_address)
    trusts = conf.api.auth_strategy == "noauth2"
    host = options.host or ("127.0.0.1" if trusts else "0.0.0.0")  # noqa: S104  # nosec B104
    # gunicorn would try for five seconds, and its error lacks the option.
    problem = _problem(host, options.port)
    if problem:
        raise startup.NotReady(
            f"port {options.port} cannot be opened on {host}: {problem}. "
            "Choose another one with --port."
        )
    bind = [_address(host, options.port)]
    on_ports: dict[int, wsgi.WSGIApplication] = {}
    with contextlib.ExitStack() as stack:
        if metrics_port:
            bind.append(_address(conf.metrics.host, metrics_port))
            os.environ[metrics.FOLDER] = stack.enter_context(
                _folder("images-service-metrics-")
            )
            # It needs the folder, which may be gone when the service reloads.
            on_ports[metrics_port] = metrics.application()
        # The application is created before the fork of the workers: an error
        # is reported once, and they share its memory, but no connection.
        serving.Server(
            make(conf),
            lambda: make(_configuration(options)),
            bind=bind,
            workers=options.workers,
            timeout=options.timeout,
            # From now on, clients can connect, and wait for a worker.
            when_ready=lambda _arbiter: print(welcome, end="", flush=True),
        ).run()


def _configuration(options: argparse.Namespace) -> cfg.ConfigOpts:
    """Read the configuration, and set up the log."""
    from images_service.middleware import request_log

    args = config.file_arguments(options.config_file)
    conf = config.load(args, prog="images-service-api")
    request_log.set_up(conf)
    if options.metrics_port:
        conf.set_override("port", options.metrics_port, "metrics")
    return conf


def _metrics_port(port: int | None, host: str) -> int | None:
    """Return the port of ``[metrics]``, None if another process uses it.

    If several services have the same configuration, the first one uses the
    port, and the others serve the API without metrics.
    """
    problem = None if port is None else _problem(host, port)
    if problem:
        LOG.warning(
            "Metrics are off: [metrics] port %s cannot be opened on %s: %s. "
            "Set --metrics-port for each service of a machine.",
            *(port, host, problem),
        )
        return None
    return port


def _problem(host: str, port: int) -> str | None:
    """Return why a port cannot be opened, None if it can."""
    # A server that replaces another server gets its open sockets.
    if not _GIVEN_SOCKETS.isdisjoint(os.environ):
        return None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror
    return None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.contextmanager
def _folder(prefix: str) -> Iterator[str]:
    """Provide a temporary folder; only the process that created it removes it.

    Workers also leave this function when they end.
    """
    folder, pid = tempfile.mkdtemp(prefix=prefix), os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == pid:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _demo(options: argparse.Namespace) -> Iterator[str]:
    """Create a demonstration for the options, and remove it at the end.

    It provides the text to print when the demonstration is ready.
    """
    from images_service.cmd import demo

    host = options.host or "127.0.0.1"
    with _folder("images-service-demo-") as folder:
        options.config_file = [demo.prepare(folder)]
        yield demo.welcome(folder, host, _address(host, options.port))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    # The files that the program creates hold the data of all projects.
    os.umask(os.umask(0o077) | 0o027)
    if options.demo and options.config_file:
        parser.error("--demo takes no --config-file: it makes its own")
    try:
        demo = _demo(options) if options.demo else contextlib.nullcontext("")
        with output.no_waiting(), demo as welcome:
            _serve(options, welcome)
    except (cfg.Error, FileError, OSError) as error:
        print(f"images-service-api: {error}", file=sys.stderr)
        return 1
    return 0
