# SPDX-License-Identifier: Apache-2.0
"""images-service-mirror, and images-service-manage mirror."""

import argparse
from collections.abc import Sequence
import os
import signal
import sys
from typing import Any
from typing import TYPE_CHECKING

from cliff import lister
from oslo_config import cfg
from oslo_utils import timeutils
import tqdm

from images_service import config
from images_service import exception
from images_service import startup
from images_service.cmd import arguments
from images_service.cmd import output
from images_service.cmd.manage import DatabaseCommand

if TYPE_CHECKING:
    from images_service.glance.client import Glance

PROGRAM = "images-service-mirror"
_WORKERS = 8


def _glance(conf: cfg.ConfigOpts) -> "Glance":
    """Return the cloud's Glance.

    :raises startup.NotReady: the service does not mirror Glance.
    """
    from images_service.glance import client

    if conf.glance.mode != "mirror":
        raise startup.NotReady(
            "[glance] mode is not mirror: this service has its own images."
        )
    startup.check_options(conf)
    return client.Glance(conf)


class Sync(DatabaseCommand):
    """Compare all images with Glance's once, and store what differs.

    The shares of images are compared as well. The command can run beside
    images-service-mirror. If Glance lacks so many images that an error is more
    likely, no image is deleted. The exit status is 1 in this case, and if
    Glance does not answer, or some images could not be stored.
    """

    examples = ("mirror sync", "mirror sync --dry-run")
    arguments = {
        "--dry-run": {
            "action": "store_true",
            "help": "count what differs, and change nothing",
        },
        "--allow-deletes": {
            "action": "store_true",
            "help": "delete all images that Glance lacks, however many",
        },
    }

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from images_service.glance import sync

        startup.accept_schema(self.database)
        conf = self.app.conf
        percent = 100
        if not parsed_args.allow_deletes:
            percent = conf.mirror.max_sweep_deletes
        work = sync.Sync(self.database, _glance(conf), _WORKERS)
        with tqdm.tqdm(unit=" images", disable=None, leave=False) as bar:
            try:
                counts = work.sweep(
                    percent,
                    members=True,
                    dry_run=parsed_args.dry_run,
                    progress=bar.update,
                )
            except exception.GlanceUnavailable as error:
                reason = getattr(error, "reason", "It can't be asked.")
                print(f"Glance: {reason}", file=sys.stderr)
                return 1
            except sync.TooManyDeletes as error:
                print(error, file=sys.stderr)
                return 1
        names = ["created", "changed", "same", "deleted"]
        if parsed_args.dry_run:
            names = ["different", "same", "deleted"]
        if counts[sync.FAILED]:
            names.append(sync.FAILED)
        print(", ".join(f"{counts[name]} {name}" for name in names))
        return int(counts[sync.FAILED] > 0)


class Status(DatabaseCommand, lister.Lister):
    """Show what the mirror has done last, when, and with which result.

    "poll" finds changed images, "sweep" and "members" compare all of them,
    "hint" is the last notification. A failure is older than the success that
    followed it.
    """

    examples = ("mirror status",)

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        from images_service.store.sql import mirror_runs

        now = timeutils.utcnow()
        runs = sorted(mirror_runs.load(self.database).items())
        return ("what", "seconds ago", "result"), [
            (
                kind,
                round((now - run.ended_at).total_seconds()),
                ", ".join(f"{k}: {v}" for k, v in run.result.items()),
            )
            for kind, run in runs
        ]


def _parser() -> argparse.ArgumentParser:
    parser = arguments.server_parser(
        PROGRAM, "Keep the images in step with Glance, until SIGTERM."
    )
    parser.add_argument(
        "--metrics-port",
        type=arguments.port,
        metavar="PORT",
        help="port of Prometheus' metrics, on [metrics] host",
    )
    return parser


def _run(args: Sequence[str], metrics_port: int | None) -> None:
    # These imports take a second, which --help does not need.
    from oslo_log import log

    from images_service.glance import metrics
    from images_service.glance import mirror
    from images_service.store.sql import engine

    conf = config.load(args, prog=PROGRAM)
    log.setup(conf, config.PROJECT)
    glance = _glance(conf)
    database = startup.open_database(conf, engine.MIRROR)
    counts = metrics.Metrics()
    if metrics_port:
        counts.serve(metrics_port, conf.metrics.host)
    work = mirror.Mirror(conf, database, glance, counts)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: work.stop())
    work.run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run images-service-mirror and return its exit status."""
    options = _parser().parse_args(argv)
    os.umask(os.umask(0o077) | 0o027)
    try:
        with output.no_waiting():
            files = config.file_arguments(options.config_file)
            _run(files, options.metrics_port)
    except (cfg.Error, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0
