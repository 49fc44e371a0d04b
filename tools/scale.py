# SPDX-License-Identifier: Apache-2.0
"""Measure what a page of images costs, from a thousand images to a million.

Starts a MariaDB and a PostgreSQL of its own, with memory for the largest
catalogue, and makes catalogues of 1k, 10k and 100k images (with --big 1M, too)
on each, and on SQLite. Asks for a page in every way that the cost could depend
on; the catalogues take turns. Prints the median time of ten kinds of pages;
--csv has all, with the rows that the database examined.

Rows examined are, on MariaDB, the Handler_read counters; on PostgreSQL, what
EXPLAIN ANALYZE says the scans have read, filtered rows included; on SQLite,
which tells no rows, the steps of its virtual machine.
"""

import argparse
import collections
import contextlib
import csv
import datetime
import functools
import json
import os
import statistics
import sys
import tempfile
import time

import made_up_images
import sqlalchemy as sa

from images_service import config
from images_service import model
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import base
from images_service.tests.servers import processes

LIMIT = 10
PROJECTS = 10
# With memory for a million images, and no wait for the disk.
SERVERS = {
    "mysql": (
        processes.MariaDB,
        ("--innodb-buffer-pool-size=4G", "--innodb-log-file-size=1G"),
    ),
    "postgresql": (processes.PostgreSQL, ("-c", "shared_buffers=4GB")),
}
NAMES = {"sqlite": "SQLite", "mysql": "MariaDB", "postgresql": "PostgreSQL"}
COLUMNS = ("database", "images", "page", "rows", "median_ms", "least_ms")
SHOWN = (
    *("own, first page", "own, middle page", "admin, first page"),
    *("public only", "own, name, many", "own, property, some"),
    *("own, two properties, some", "own, name, status, property"),
    *("own, changes-since, all", "own, changes-since, few"),
)
DRAWN = (
    *("own, first page", "own, property, some"),
    *("own, two properties, some", "own, changes-since, all"),
)

MEMBER = model.Viewer("project-0")
STRANGER = model.Viewer("nobody")
ADMIN = model.Viewer("project-0", is_admin=True)
ALL_TIME = datetime.datetime(2000, 1, 1)


def listings(store, database, count):
    """Yield a name, a query and a viewer for each kind of page."""
    places = {"first": None}
    for name, part in (("middle", 2), ("last", 1)):
        places[name] = marker(database, part)
    for name, place in places.items():
        yield f"own, {name} page", model.ListQuery(LIMIT, place), MEMBER
    yield "public only", model.ListQuery(LIMIT), STRANGER
    for name, place in places.items():
        yield f"admin, {name} page", model.ListQuery(LIMIT, place), ADMIN
    recent = changed_last(database, 5)
    filters = {
        "name, few": {"name": f"image-{count - count // 10}"},
        "name, many": {"name": "image-1"},
        "name, none": {"name": "no such name"},
        "status, most": {"status": "active"},
        "status, few": {"status": "importing"},
        "minRam, most": {"min_ram": 0},
        "minDisk, some": {"min_disk": 10},
        "minRam and minDisk": {"min_ram": 512, "min_disk": 10},
        "type or server, none": {"properties": (("instance_uuid", "x"),)},
        "property, all": {"properties": (("batch", "all"),)},
        "property, some": {"properties": (("os_distro", "debian"),)},
        "property, few": {"properties": (("build", "build-7"),)},
        "two properties, some": {
            "properties": (("os_distro", "debian"), ("batch", "all"))
        },
        "two properties, all and few": {
            "properties": (("batch", "all"), ("build", "build-7"))
        },
        "two properties, all and oldest": {
            "properties": (("batch", "all"), ("team", "first"))
        },
        "two properties, oldest and all": {
            "properties": (("team", "first"), ("batch", "all"))
        },
        "name, status, property": {
            "name": "image-1",
            "status": "active",
            "properties": (("batch", "all"),),
        },
        "changes-since, all": {"changes_since": ALL_TIME},
        "changes-since, few": {"changes_since": recent},
        "changes-since, none": {
            "changes_since": datetime.datetime(2100, 1, 1)
        },
        "changes-since, all, property": {
            "changes_since": ALL_TIME,
            "properties": (("batch", "all"),),
        },
        "changes-since, all, oldest": {
            "changes_since": ALL_TIME,
            "properties": (("team", "first"),),
        },
        "changes-since, few, property": {
            "changes_since": recent,
            "properties": (("batch", "all"),),
        },
    }
    for who, viewer in (("own", MEMBER), ("admin", ADMIN)):
        for name, values in filters.items():
            yield f"{who}, {name}", model.ListQuery(LIMIT, **values), viewer


def marker(database, part):
    """Return the id of a public image in the middle or near the end."""
    public = [
        schema.images.c.visibility == "public",
        schema.images.c.state == schema.State.LISTED,
    ]
    with database.writer.connect() as db:
        total = db.execute(
            sa.select(sa.func.count())
            .select_from(schema.images)
            .where(*public)
        ).scalar_one()
        skip = total // 2 if part == 2 else max(total - 3, 0)
        return db.execute(
            sa.select(schema.images.c.id)
            .where(*public)
            .order_by(
                schema.images.c.created_at.desc(), schema.images.c.id.desc()
            )
            .offset(skip)
            .limit(1)
        ).scalar_one()


def changed_last(database, number):
    """Return the time since which few images have changed."""
    with database.writer.connect() as db:
        return db.execute(
            sa.select(schema.images.c.changed_at)
            .order_by(schema.images.c.changed_at.desc())
            .offset(number)
            .limit(1)
        ).scalar_one()


class Counter:
    """Counts the rows that the statements of a page examine."""

    def __init__(self, database):
        self.database = database
        self.backend = database.writer.dialect.name
        self.steps = 0
        if self.backend == "sqlite":
            sa.event.listen(database.primary.engine, "connect", self.watch)
            # Those that are there aren't watched.
            database.primary.engine.dispose()

    def stop(self):
        sa.event.remove(self.database.primary.engine, "connect", self.watch)
        self.database.primary.engine.dispose()

    def watch(self, connection, _record):
        def step():
            self.steps += 1

        connection.set_progress_handler(step, 1)

    def examined(self, work):
        """Do some work and return how many rows it has examined."""
        if self.backend == "sqlite":
            self.steps = 0
            work()
            return self.steps
        if self.backend == "postgresql":
            with base.recorded_statements() as statements:
                work()
            return sum(map(self.explained, statements))
        before = self.handlers()
        work()
        return self.handlers() - before - self.own

    def handlers(self):
        # On the connection that requests use: there is one.
        question = sa.text("SHOW SESSION STATUS LIKE 'Handler_read%'")
        rows = self.database.primary.read(lambda db: db.rows(question))
        return sum(int(value) for _, value in rows)

    @property
    def own(self):
        """What looking at the counters adds to them."""
        first = self.handlers()
        return self.handlers() - first

    def explained(self, noted):
        statement, values = noted
        with self.database.writer.connect() as db:
            (plan,) = db.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values
            ).one()
        document = json.loads(plan) if isinstance(plan, str) else plan
        return read_by(document[0]["Plan"])


def read_by(node):
    """Return the rows that the scans of a plan have read."""
    rows = sum(read_by(child) for child in node.get("Plans", ()))
    if "Scan" in node["Node Type"] and node["Node Type"] != "Subquery Scan":
        removed = sum(
            node.get(f"Rows Removed by {cause}", 0)
            for cause in ("Filter", "Index Recheck")
        )
        rows += (node["Actual Rows"] + removed) * node["Actual Loops"]
    return round(rows)


class Catalogue:
    """A store with made-up images, and the pages that it is asked for.

    :ivar seconds: it took to fill it.
    :ivar pages: a function by the name of the listing.
    :ivar examined: rows by the name of the listing.
    :ivar times: milliseconds by the name of the listing.
    """

    def __init__(self, url, count):
        conf = config.load(["--config-file", os.devnull])
        conf.set_override("connection", url, group="database")
        conf.set_override("max_pool_size", 1, group="database")
        self.database = engine.Database(conf, engine.COMMANDS)
        run.sync(self.database)
        self._store = SqlStore(self.database)
        start = time.monotonic()
        made = made_up_images.generate(count, PROJECTS, 1)
        made_up_images.add(self._store, made)
        self.seconds = time.monotonic() - start
        self._analyze()
        counter = Counter(self.database)
        self.pages = {
            name: functools.partial(
                self._store.page, query, viewer, model.Detail
            )
            for name, query, viewer in listings(
                self._store, self.database, count
            )
        }
        self.examined = {}
        for name, page in self.pages.items():
            page()
            self.examined[name] = counter.examined(page)
        if counter.backend == "sqlite":
            # Its times are without the counter.
            counter.stop()
        self.times = collections.defaultdict(list)

    def _analyze(self):
        statement = {
            "sqlite": "ANALYZE",
            "mysql": "ANALYZE TABLE images, image_audiences, search_entries",
            "postgresql": "VACUUM ANALYZE",
        }[self.database.writer.dialect.name]
        with self.database.writer.connect() as db:
            quickly = db.execution_options(isolation_level="AUTOCOMMIT")
            quickly.exec_driver_sql(statement)

    def ask(self, name):
        """Time a page."""
        start = time.perf_counter()
        self.pages[name]()
        self.times[name].append((time.perf_counter() - start) * 1000)


@contextlib.contextmanager
def urls(backend, counts):
    """Provide the URLs of empty databases on a server with enough memory."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if backend == "sqlite":
            yield [f"sqlite:///{folder}/{count}.sqlite" for count in counts]
            return
        # Server processes of other users look into it.
        os.chmod(folder, 0o755)
        kind, options = SERVERS[backend]
        server = kind(folder)
        stack.callback(server.stop)
        server.start(*options)
        server.wait()
        url = sa.make_url(server.create())
        found = []
        for count in counts:
            name = f"images_{count}"
            server.sql(f"CREATE DATABASE {name}")
            if backend == "mysql":
                server.sql(f"GRANT ALL ON {name}.* TO images@'127.0.0.1'")
            made = url.set(database=name)
            found.append(made.render_as_string(hide_password=False))
        yield found


def measure(backend, counts, rounds):
    """Return the catalogues of a database, measured."""
    with urls(backend, counts) as found:
        catalogues = []
        for count, url in zip(counts, found, strict=True):
            catalogues.append(Catalogue(url, count))
            print(
                f"{backend}: {count} images stored in "
                f"{catalogues[-1].seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        for name in catalogues[0].pages:
            for number in range(rounds + 1):
                for catalogue in catalogues:
                    catalogue.ask(name)
                    if not number:
                        # The first round only warms up.
                        catalogue.times[name].clear()
        for catalogue in catalogues:
            catalogue.database.dispose()
        return catalogues


def rows(backend, counts, catalogues):
    """Yield the rows of the file of all results."""
    for count, catalogue in zip(counts, catalogues, strict=True):
        for name, times in catalogue.times.items():
            yield (
                *(backend, count, name, catalogue.examined[name]),
                *(f"{t:.2f}" for t in (statistics.median(times), min(times))),
            )


def table(counts, measured):
    """Return the lines of the table of ten pages."""
    sizes = " · ".join(f"{count:,}" for count in counts)
    head = [f"ms with {sizes} images", *NAMES.values()]
    lines = [head]
    for name in SHOWN:
        cells = [name]
        for backend in NAMES:
            catalogues = measured.get(backend, ())
            medians = [statistics.median(c.times[name]) for c in catalogues]
            cells.append(" · ".join(f"{median:.1f}" for median in medians))
        lines.append(cells)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    texts = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in lines]
    return [rule, texts[0], rule, *texts[1:], rule]


def draw(counts, measured, path):
    """Draw the median time of some pages by the size of the catalogue."""
    # Only those who want the picture need it.
    from matplotlib import pyplot

    figure, fields = pyplot.subplots(
        *(1, len(measured)),
        figsize=(9, 3.6),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for field, backend in zip(fields[0], measured, strict=True):
        for name in DRAWN:
            medians = [
                statistics.median(catalogue.times[name])
                for catalogue in measured[backend]
            ]
            field.plot(counts, medians, marker="o", label=name)
        field.set_xscale("log")
        field.grid(alpha=0.3)
        field.set_title(NAMES[backend])
        field.set_xlabel("images")
    first = fields[0][0]
    # The fields have one scale, which must know all of their lines.
    first.set_ylim(bottom=0)
    first.set_ylabel("a page of ten, milliseconds")
    figure.legend(
        *first.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(DRAWN),
        fontsize=7,
    )
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true", help="1M images, too")
    parser.add_argument("--backend", action="append", choices=NAMES)
    parser.add_argument(
        "--count", action="append", type=int, help="instead of the usual ones"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--csv", metavar="FILE", help="write all results")
    parser.add_argument(
        "--plot", metavar="FILE", help="draw some; needs matplotlib"
    )
    options = parser.parse_args()
    counts = options.count or [1_000, 10_000, 100_000]
    if options.big:
        counts.append(1_000_000)
    measured = {}
    for backend in options.backend or NAMES:
        if backend in SERVERS and not SERVERS[backend][0].installed():
            print(f"{backend} is left out: not installed", file=sys.stderr)
            continue
        measured[backend] = measure(backend, counts, options.rounds)
    print("\n".join(table(counts, measured)), flush=True)
    if options.csv:
        with open(options.csv, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for backend, catalogues in measured.items():
                writer.writerows(rows(backend, counts, catalogues))
    if options.plot:
        draw(counts, measured, options.plot)


if __name__ == "__main__":
    main()
