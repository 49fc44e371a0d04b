# SPDX-License-Identifier: Apache-2.0
"""What a request costs in a cloud, beside Nova's own answer to it.

Starts Keystone, Glance and Nova from their packages, on MariaDB and memcached;
this service inside Nova, and beside it: with and without the mirror, on
PostgreSQL, and in uWSGI, which Nova has here, too. All have the same 1,000
images of five properties, two workers, tokens in memcached, and log each
request. They take turns, case by case and round by round; wrk sends
the requests. CPU is that of all processes, in milliseconds for a request, as
the operating system counts it. It needs wrk, and CLOUD_ENVIRONMENT: a folder
that tox -e functional-cloud-environments makes.
"""

import argparse
import collections
import contextlib
import datetime
import json
import os
import statistics
import subprocess
from typing import ClassVar
from unittest import mock
import uuid

import deployment
import plot
import sqlalchemy as sa
import table
import wrk

from images_service.store.sql import engine
from images_service.store.sql.migrations import run as migrations
from images_service.tests import backends
from images_service.tests.cloud import cloud
from images_service.tests.cloud import novas
from images_service.tests.servers import guide
from images_service.tests.servers import processes

IMAGES = 1000
USER = "amber"
_PROPERTIES = {
    "os_distro": "ubuntu",
    "architecture": "x86_64",
    "hw_disk_bus": "virtio",
    "hw_vif_model": "virtio",
    wrk.KEY: "24.04",
}


class Release(processes.Api):
    """images-service-api of another release, with images of its own.

    :param environment: the folder in which it is installed.
    """

    def __init__(self, folder, environment, *, workers, threads):
        super().__init__(folder, "other", workers=workers, threads=threads)
        self._programs = f"{environment}/bin"

    def command(self):
        _, _, _, *arguments = super().command()
        return [f"{self._programs}/images-service-api", *arguments]

    def manage(self, *args):
        """Run a command of its images-service-manage."""
        conf = f"{self.folder}/images_service.conf"
        program = f"{self._programs}/images-service-manage"
        subprocess.run(
            [program, "--config-file", conf, *args],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=600,
        )


class Case:
    """Requests of one kind.

    :param paths: below the endpoint, which take turns.
    :param count: how many are sent in a round.
    :param at_nova: how many where Nova answers them.
    :param is_novas: whether this service has no answer.
    """

    def __init__(
        self, name, paths, count, at_nova, method="GET", *, is_novas=False
    ):
        self.name = name
        self.paths = paths
        self.count, self.at_nova = count, at_nova
        self.method = method
        self.is_novas = is_novas


def cases(ids):
    """Return the cases, for the ids of images."""
    shown = [f"/v2.1/images/{image_id}" for image_id in ids[:100]]
    detail = "/v2.1/images/detail?limit="
    return [
        Case("show", shown, 2000, 200),
        Case("detail, 20 images", [f"{detail}20"], 1000, 60),
        Case("detail, 100", [f"{detail}100"], 600, 30),
        Case("detail, 1,000", [f"{detail}1000"], 100, 4),
        Case("index, 1,000", ["/v2.1/images?limit=1000"], 200, 4),
        Case(
            "metadata GET", [f"{path}/metadata" for path in shown], 2000, 200
        ),
        Case(
            "metadata PUT of a key",
            [f"{path}/metadata/{wrk.KEY}" for path in shown],
            200,
            60,
            "PUT",
        ),
        Case("version document", ["/"], 2000, 300),
        Case("flavors", ["/v2.1/flavors"], 300, 300, is_novas=True),
    ]


class Side:
    """A server, and the processes that work for it.

    :param others: names of processes' command lines beside those of the
        cloud.
    :param is_crowded: whether more and more clients ask it.
    """

    def __init__(self, name, server, others=(), *, is_crowded=False):
        self.name = name
        self.server = server
        self._others = others
        self.is_crowded = is_crowded
        self.own: list[float] = []
        self.all: list[float] = []

    def measure(self, case, count, connections, token, salt, keep):
        shared = cloud.running()
        parts = [
            shared.keystone,
            shared.glance,
            shared.memcached,
            shared.database,
        ]
        roots = [part.process.pid for part in parts]
        before = self._seconds(roots)
        failed = wrk.count(
            self.server.port,
            case.paths,
            case.method,
            count,
            connections,
            token,
            salt,
        )
        own, others = (
            (after - then) / count * 1e3
            for after, then in zip(self._seconds(roots), before, strict=True)
        )
        # A server that is new to it all may fail.
        if keep and failed:
            raise SystemExit(
                f"{self.name}, {case.name}: {failed} failed\n"
                + self.server.last_words()
            )
        if keep:
            self.own.append(own)
            self.all.append(own + others)

    def _seconds(self, roots):
        own = sum(map(seconds, tree(self.server.process.pid)))
        pids = {pid for root in roots for pid in tree(root)}
        for name in self._others:
            pids |= processes_of(name)
        return own, sum(map(seconds, pids))


def crowd(side, token, path, options):
    """Show an image on more and more connections, and print rows."""
    for connections in (4, 64, 256):
        with open(side.server.log, encoding="utf-8") as log:
            log.seek(0, os.SEEK_END)
            found = wrk.time(
                side.server.port, path, options.seconds, connections, token
            )
            workers = collections.Counter(
                line.split()[2] for line in log if "request_log" in line
            )
        shares = [n / found.requests for _, n in workers.most_common()]
        table.print_row(
            CROWD_WIDTHS,
            side.name,
            str(connections),
            f"{found.requests / found.duration * 1e6:.0f}",
            f"{found.p50 / 1e3:.1f}",
            f"{found.p99 / 1e3:.1f}",
            f"{found.p99 / found.p50:.1f}",
            str(found.errors),
            ", ".join(f"{share:.0%}" for share in shares),
        )


def tree(pid):
    """Return a process and those below it."""
    found = [pid]
    for each in found:
        found += processes.children(each)
    return found


def seconds(pid):
    """Return the seconds of CPU of a process, none if it has ended."""
    with contextlib.suppress(FileNotFoundError):
        return processes.seconds_of_cpu(pid)
    return 0.0


def processes_of(name):
    """Return the processes whose command line has a name."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{pid}/cmdline", "rb") as file,
        ):
            if name.encode() in file.read():
                found.add(int(pid))
    return found


def fill(glance, project_id):
    """Write public images into Glance's database; return their ids."""
    start = datetime.datetime(2026, 1, 1)
    images, properties = [], []
    for number in range(IMAGES):
        at = {
            "created_at": start + datetime.timedelta(seconds=number),
            "updated_at": start + datetime.timedelta(seconds=number),
        }
        image_id = str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))
        images.append(
            {
                "id": image_id,
                "name": f"image {number}",
                "size": number * 1000,
                "status": "active",
                "disk_format": "qcow2",
                "container_format": "bare",
                "owner": project_id,
                "visibility": "public",
                "min_ram": 512,
                "min_disk": 10,
                "protected": 0,
                "os_hidden": 0,
                "deleted": 0,
                **at,
            }
        )
        properties += [
            {
                "image_id": image_id,
                "name": name,
                "value": value,
                "deleted": 0,
                **at,
            }
            for name, value in _PROPERTIES.items()
        ]
    glance.insert("images", images)
    glance.insert("image_properties", properties)
    return [image["id"] for image in images]


class Stand(novas.NovaTestCase):
    """The cloud and the configurations, as the tests have them.

    :cvar elsewhere: URL of the database that has the store, where it is not
        the cloud's.
    """

    nodes = 0
    kinds = ()
    options: ClassVar[dict[str, dict]] = {}
    elsewhere: str | None = None

    @classmethod
    def store_server(cls):
        if cls.elsewhere is None:
            return cls.cloud.database
        return mock.Mock(**{"url.return_value": cls.elsewhere})


def start(options, stack):
    """Start all; return the sides, and the ids of images."""
    Stand.setUpClass()
    stack.callback(Stand.doClassCleanups)
    stand = Stand()
    stack.callback(stand.doCleanups)
    running = Stand.cloud
    running.glance.wipe()
    ids = fill(running.glance, running.projects[USER])
    postgresql = stack.enter_context(backends.database("postgresql"))
    postgresql = f"postgresql+psycopg:{postgresql.partition(':')[2]}"
    # As the documentation recommends it for MariaDB.
    mysqlclient = running.database.url().replace("pymysql", "mysqldb")
    Stand.elsewhere = mysqlclient
    sides = [
        Side(name, Stand.make_nova(kind, workers=2))
        for name, kind in (
            ("Nova", "plain"),
            ("in front", "front"),
            ("behind", "behind"),
        )
    ]
    for name, connection, mode, is_uwsgi in (
        ("beside", mysqlclient, "mirror", False),
        ("no mirror", mysqlclient, "none", False),
        ("PostgreSQL", postgresql, "mirror", False),
        ("uWSGI", mysqlclient, "mirror", True),
        ("uWSGI, PostgreSQL", postgresql, "mirror", True),
    ):
        Stand.elsewhere = connection
        folder = running.make_folder()
        if is_uwsgi:
            server = guide.Server(
                folder, running.environment, guide.command("uwsgi")
            )
        else:
            server = processes.Api(folder, workers=2, threads=options.threads)
        conf = Stand.configure(
            server.folder,
            glance={"mode": mode},
            oslo_middleware={"enable_proxy_headers_parsing": "True"},
        )
        others = []
        if connection == postgresql:
            others.append(connection.rpartition("/")[2].partition("?")[0])
            database = engine.Database(conf)
            migrations.sync(database)
            database.dispose()
        stand.sync()
        # uWSGI is for proxies, which keep connections from its threads.
        sides.append(Side(name, server, others, is_crowded=not is_uwsgi))
    if options.other:
        sides.append(Side("other", other_release(options)))
    running.launch(*(side.server for side in sides))
    return sides, ids


def other_release(options):
    """Return a server of another release, with the images that Glance lists.

    It is without the mirror, which it may not have.
    """
    running = Stand.cloud
    server = Release(
        running.make_folder(),
        options.other,
        workers=2,
        threads=options.threads,
    )
    running.database.sql(
        "CREATE DATABASE other_images; "
        "GRANT ALL ON other_images.* TO images@'127.0.0.1'"
    )
    url = sa.make_url(running.database.url())
    url = url.set(drivername="mysql+mysqldb", database="other_images")
    Stand.elsewhere = url.render_as_string(hide_password=False)
    Stand.configure(
        server.folder,
        glance={"mode": None},
        oslo_middleware={"enable_proxy_headers_parsing": "True"},
    )
    server.manage("db", "sync")
    listed = os.path.join(server.folder, "images.json")
    with open(listed, "w", encoding="utf-8") as file:
        images = list(Stand().at_glance().every().values())
        json.dump({"images": images}, file)
    server.manage("image", "import", listed)
    return server


CROWD = (
    *("show", "connections", "req/s", "p50 ms", "p99 ms", "p99/p50"),
    *("errors", "workers' shares"),
)
CROWD_WIDTHS = [max(len(name), 10) for name in CROWD]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    # uWSGI has as many as the guide gives it.
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the usual requests"
    )
    parser.add_argument(
        "--seconds", type=int, default=10, help="of each number of connections"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the CPU; needs matplotlib"
    )
    parser.add_argument(
        "--other",
        metavar="ENVIRONMENT",
        help="where another release of this service is installed",
    )
    parser.add_argument("--only", help="cases whose name holds this")


def run(options: argparse.Namespace) -> None:
    wrk.check()
    with contextlib.ExitStack() as stack:
        sides, ids = start(options, stack)
        token = Stand.cloud.session(USER).get_token()
        names = [side.name for side in sides]
        widths = [22, *(max(len(name), 21) for name in names)]
        table.print_rule(widths)
        table.print_row(widths, "request", *names)
        table.print_rule(widths)
        measured = {}
        for case in cases(ids):
            if not options.only or options.only in case.name:
                measured[case.name] = measure(
                    case, sides, token, options, widths
                )
        table.print_rule(widths)
        table.print_row(CROWD_WIDTHS, *CROWD)
        for side in sides:
            if side.is_crowded:
                crowd(side, token, f"/v2.1/images/{ids[0]}", options)
        for side in sides:
            rss, pss = deployment.memory_of(side.server)
            print(f"{side.name}: a worker has {rss:.0f} MB, PSS {pss:.0f}")
    if options.plot:
        plot.draw(
            {
                name: {
                    "Nova": costs["Nova"],
                    "this service on MariaDB": costs["beside"],
                    "on PostgreSQL": costs["PostgreSQL"],
                }
                for name, costs in measured.items()
                if "beside" in costs
            },
            options.plot,
        )


def measure(case, sides, token, options, widths):
    """Measure a case on all sides, print its row, and return the costs."""
    if case.is_novas:
        sides = sides[:3]
    for side in sides:
        side.own, side.all = [], []
    for number in range(options.rounds + 1):
        for place, side in enumerate(sides):
            # The first one is Nova.
            count = case.count if place else case.at_nova
            count = max(int(count * options.share), 4)
            # Those that are under way at the end are not counted.
            connections = options.connections if count >= 100 else 1
            # The first round only warms up.
            side.measure(
                case,
                count if number else max(count // 4, 4),
                connections,
                token,
                (number * len(sides) + place) * 10000,
                keep=number,
            )
    cells = []
    first = statistics.median(sides[0].all)
    for side in sides:
        own, all_ = map(statistics.median, (side.own, side.all))
        cells.append(f"{own:.2f}, {all_:.2f} ({_ratio(first / all_)})")
    table.print_row(widths[: len(cells) + 1], case.name, *cells)
    return {side.name: statistics.median(side.all) for side in sides}


def _ratio(number):
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"
