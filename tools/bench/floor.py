# SPDX-License-Identifier: Apache-2.0
"""The least that an answer costs: a WSGI callable, a driver, and orjson.

It knows no framework, checks nothing, and answers what the service answers,
byte for byte. Its statements are those that the service sends, recorded as it
sends them; it is served by the same server. ``/constant`` does nothing at all.

    python floor.py CONFIGURATION PORT WORKERS THREADS
"""

from collections.abc import Callable
import contextlib
import functools
import json
import sys
import threading
from typing import Any

import orjson

from images_service import config
from images_service import model
from images_service.api import versions
from images_service.cmd import asgi
from images_service.cmd import serving
from images_service.store.sql import engine
from images_service.store.sql.store import SqlStore
from images_service.tests import base

PROJECT = "project-0"
KEY = "bench"
VALUES = ("a", "b")
VIEWER = model.Viewer(PROJECT)
TIMES = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
FIELDS = len(model.Image._fields)


def record(act: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return the statements that an act sends, with their values."""
    with base.recorded_statements() as found:
        act()
    return found


class Connections(threading.local):
    """A connection of the driver for each thread, in autocommit."""

    def __init__(self, database: engine.Database) -> None:
        raw = database.writer.dialect
        args, kwargs = raw.create_connect_args(database.writer.url)
        self.connection = raw.loaded_dbapi.connect(*args, **kwargs)
        if raw.name == "sqlite":
            self.connection.isolation_level = None
        elif raw.name == "postgresql":
            self.connection.autocommit = True
        else:
            self.connection.autocommit(True)
        self.cursor = self.connection.cursor()


class Floor:
    """The callable."""

    def __init__(self, database: engine.Database, root: str) -> None:
        self._database = database
        self._root = root
        self._connections = Connections(database)
        self._times_are_text = database.writer.dialect.name == "sqlite"
        store = SqlStore(database)
        self._lists = {
            (limit, detailed): record(
                functools.partial(
                    store.page if detailed else store.index,
                    model.ListQuery(limit=limit),
                    VIEWER,
                )
            )
            for limit in (20, 100, 1000)
            for detailed in (True, False)
        }
        images = store.page(model.ListQuery(limit=1000), VIEWER).images
        self._images = {}
        self._changes = {}
        for image in images[:50]:
            get = record(lambda i=image.id: store.get(i, VIEWER))
            self._images[image.id] = get
        for image in [i for i in images if i.owner == PROJECT][:8]:
            first, second = VALUES
            old = None
            for value in (first, first, second, second, first):
                read = store.get(image.id, VIEWER)
                items = {**json.loads(read.metadata), KEY: value}
                self._changes[image.id, old, value] = (
                    read.generation,
                    record(
                        functools.partial(store.change_metadata, read, items)
                    ),
                )
                old = value
        self._versions = versions.document("", root, "2.38")
        database.dispose()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/constant":
            body = b'{"constant": "answer"}'
        elif path == "/":
            body = orjson.dumps(self._versions)
        else:
            _, _, project, _, *rest = path.split("/")
            body = self._answer(environ, project, rest)
        start_response(
            "200 OK",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ],
        )
        return [body]

    def _answer(self, environ, project, rest) -> bytes:
        if rest == ["detail"] or not rest:
            query = environ["QUERY_STRING"]
            limit = int(query.removeprefix("limit="))
            return self._list(project, limit, query, detailed=bool(rest))
        if environ["REQUEST_METHOD"] == "PUT":
            return self._put(
                rest[0],
                json.loads(
                    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                ),
            )
        cursor = self._connections.cursor
        ((statement, values),) = self._images[rest[0]]
        cursor.execute(statement, values)
        row = cursor.fetchone()[:FIELDS]
        if len(rest) == 2:
            return orjson.dumps({"metadata": orjson.Fragment(row[-1])})
        view = {"image": self._detail(row, *self._links(project))}
        return orjson.dumps(view, option=TIMES)

    def _links(self, project):
        return (
            f"{self._root}/v2.1/{project}/images/",
            f"{self._root}/{project}/images/",
            f"{self._root}/images/",
        )

    def _list(self, project, limit, query, *, detailed):
        cursor = self._connections.cursor
        ((statement, values),) = self._lists[limit, detailed]
        cursor.execute(statement, values)
        rows = cursor.fetchall()
        links = self._links(project)
        view = self._detail if detailed else self._summary
        answer = {"images": [view(row, *links) for row in rows[:limit]]}
        if len(rows) > limit:
            path = "/detail" if detailed else ""
            href = (
                f"{self._root}/v2.1/{project}/images{path}?{query}"
                f"&marker={rows[limit - 1][0]}"
            )
            answer["images_links"] = [{"rel": "next", "href": href}]
        return orjson.dumps(answer, option=TIMES)

    def _summary(self, row, own, bookmark, alternate):
        return {
            "id": row[0],
            "name": row[1],
            "links": _three(row[0], own, bookmark, alternate),
        }

    def _detail(self, row, own, bookmark, alternate):
        (
            image_id,
            name,
            status,
            _,
            _,
            size,
            min_ram,
            min_disk,
            _,
            _,
            created,
            updated,
            _,
            _,
            metadata,
        ) = row
        if self._times_are_text:
            created, updated = _time(created), _time(updated)
        shown, progress = model.STATUSES[status]
        return {
            "id": image_id,
            "name": name,
            "minRam": min_ram,
            "minDisk": min_disk,
            "metadata": orjson.Fragment(metadata),
            "created": created,
            "updated": updated,
            "status": shown,
            "progress": progress,
            "OS-EXT-IMG-SIZE:size": size or 0,
            "links": _three(image_id, own, bookmark, alternate),
        }

    def _put(self, image_id, body):
        (value,) = body["meta"].values()
        cursor = self._connections.cursor
        ((statement, values),) = self._images[image_id]
        cursor.execute(statement, values)
        row = cursor.fetchone()
        generation, items = row[FIELDS - 2], orjson.loads(row[FIELDS - 1])
        old, items[KEY] = items[KEY], value
        orjson.dumps(items)
        recorded, statements = self._changes[image_id, old, value]
        # The generations that the change was recorded with are others now.
        now = {recorded: generation, recorded + 1: generation + 1}
        (touch, values), *rest = statements
        with contextlib.ExitStack() as stack:
            cursor.execute("BEGIN")
            stack.callback(cursor.execute, "COMMIT")
            cursor.execute(touch, _replaced(values, now))
            for statement, values in rest:
                cursor.execute(statement, values)
        return orjson.dumps({"meta": {KEY: value}})


def _replaced(values, others):
    if isinstance(values, dict):
        return {k: others.get(v, v) for k, v in values.items()}
    return tuple(others.get(value, value) for value in values)


def _three(image_id, own, bookmark, alternate):
    return [
        {"rel": "self", "href": own + image_id},
        {"rel": "bookmark", "href": bookmark + image_id},
        {
            "rel": "alternate",
            "type": "application/vnd.openstack.image",
            "href": alternate + image_id,
        },
    ]


def _time(text):
    return f"{text[:10]}T{text[11:19]}Z"


def main() -> None:
    path, port, workers, threads = sys.argv[1:]
    conf = config.load(["--config-file", path])
    # Its links are the service's, which asks elsewhere.
    application = asgi.Adapter(
        Floor(engine.Database(conf), conf.api.compute_link_prefix),
        int(threads),
        conf.oslo_middleware.max_request_body_size,
        {},
    )
    serving.Server(
        application,
        lambda: application,
        bind=[f"127.0.0.1:{port}"],
        workers=int(workers),
        timeout=300,
    ).run()


if __name__ == "__main__":
    main()
