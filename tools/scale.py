# SPDX-License-Identifier: Apache-2.0
"""Measure what a page of images costs, from a thousand images to a million.

Makes catalogues of 1k, 10k and 100k images (with --big 1M, too) on each
database that can be reached, asks for a page in every way that the cost could
depend on, and prints the rows that the database examined and the median time.

Rows examined are, on MariaDB, the Handler_read counters; on PostgreSQL, what
EXPLAIN ANALYZE says the scans have read, filtered rows included; on SQLite,
which tells no rows, the steps of its virtual machine.
"""

import argparse
import contextlib
import datetime
import json
import os
import statistics
import sys
import time

import made_up_images
import sqlalchemy as sa

from images_service import config
from images_service import model
from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import backends
from images_service.tests import base

LIMIT = 10
PROJECTS = 10
TIMES = 7

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
            database.dispose()

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


@contextlib.contextmanager
def catalogue(backend, count):
    """Provide a store with so many images, and how long it took to fill."""
    with backends.database(backend) as url:
        conf = config.load(["--config-file", os.devnull])
        conf.set_override("connection", url, group="database")
        conf.set_override("max_pool_size", 1, group="database")
        database = engine.Database(conf, engine.COMMANDS)
        run.sync(database)
        store = SqlStore(database)
        start = time.monotonic()
        made = made_up_images.generate(count, PROJECTS, 1)
        made_up_images.add(store, made)
        took = time.monotonic() - start
        with database.writer.connect() as db:
            analyze = {
                "sqlite": ["ANALYZE"],
                "mysql": [
                    "ANALYZE TABLE images, image_audiences, search_entries"
                ],
                "postgresql": ["VACUUM ANALYZE"],
            }[backend]
            quickly = db.execution_options(isolation_level="AUTOCOMMIT")
            for statement in analyze:
                quickly.exec_driver_sql(statement)
        yield store, database, took
        database.dispose()


def measure(backend, count):
    """Return (rows examined, milliseconds) of each kind of page."""
    results = {}
    with catalogue(backend, count) as (store, database, took):
        print(
            f"{backend}: {count} images stored in {took:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        counter = Counter(database)
        for name, query, viewer in listings(store, database, count):

            def page(query=query, viewer=viewer):
                store.page(query, viewer)

            page()
            examined = counter.examined(page)
            times = []
            for _ in range(TIMES):
                start = time.perf_counter()
                page()
                times.append(time.perf_counter() - start)
            results[name] = (examined, statistics.median(times) * 1000)
    return results, took


def why(examined, counts):
    """Say why more rows were examined than at the smallest count, if so.

    A page reads as many rows of each range as it is long, and a probe some for
    each row of the page; fewer are examined if there are fewer.
    """
    full = examined[-1] / 1.1
    if examined[0] >= full:
        return ""
    filled = next(
        count
        for count, rows in zip(counts, examined, strict=True)
        if rows >= full
    )
    if filled == counts[-1] and len(counts) > 2:
        return "still grows"
    return f"pages and probes are full from {filled:,}"


def table(backend, measured):
    """Return the lines of a table in reStructuredText."""
    counts = list(measured)
    head = ["listing", *(f"{count:,}" for count in counts), "ratio", "why"]
    rows = [head]
    for name in measured[counts[0]][0]:
        cells = [measured[count][0][name] for count in counts]
        ratio = cells[-1][0] / max(cells[0][0], 1)
        rows.append(
            [
                name,
                *(f"{rows}; {ms:.1f} ms" for rows, ms in cells),
                f"{ratio:.2f}",
                why([examined for examined, _ in cells], counts),
            ]
        )
    rows.append(
        ["stored in", *(f"{measured[c][1]:.0f} s" for c in counts), "", ""]
    )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [
        backend,
        "-" * len(backend),
        "",
        rule,
        lines[0],
        rule,
        *lines[1:],
        rule,
        "",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true", help="1M images, too")
    parser.add_argument(
        "--backend", action="append", choices=backends.BACKENDS
    )
    parser.add_argument(
        "--count", action="append", type=int, help="instead of the usual ones"
    )
    options = parser.parse_args()
    counts = options.count or [1_000, 10_000, 100_000]
    if options.big:
        counts.append(1_000_000)
    for backend in options.backend or backends.BACKENDS:
        reason = backends.missing(backend)
        if reason is not None:
            print(f"{backend} is left out: {reason}", file=sys.stderr)
            continue
        measured = {count: measure(backend, count) for count in counts}
        print("\n".join(table(backend, measured)), flush=True)


if __name__ == "__main__":
    main()
