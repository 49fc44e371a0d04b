# SPDX-License-Identifier: Apache-2.0
"""The least that an answer costs: a WSGI callable, a driver, and orjson.

It knows no framework, checks nothing, and answers what the service answers,
byte for byte. It has a table and statements of its own: one statement for a
read, two for a change. It is served by the same server. ``/constant`` does
nothing at all.

    python floor.py CONFIGURATION PORT WORKERS THREADS
"""

import sys
import threading

import orjson

from images_service import config
from images_service import model
from images_service.api import versions
from images_service.cmd import asgi
from images_service.cmd import serving
from images_service.store.sql import engine

PROJECT = "project-0"
KEY = "bench"
VALUES = ("a", "b")
TIMES = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS

COLUMNS = (
    "id, name, status, size, min_ram, min_disk, created_at, updated_at, "
    "metadata"
)
TABLE = (
    f"CREATE TABLE floor AS SELECT {COLUMNS} FROM images",
    "CREATE UNIQUE INDEX floor_id ON floor (id)",
    "CREATE INDEX floor_created ON floor (created_at, id)",
)
ORDER = "ORDER BY created_at DESC, id DESC LIMIT %s"
STATEMENTS = {
    "show": f"SELECT {COLUMNS} FROM floor WHERE id = %s",
    "metadata": "SELECT metadata FROM floor WHERE id = %s",
    "detail": f"SELECT {COLUMNS} FROM floor {ORDER}",
    "index": f"SELECT id, name FROM floor {ORDER}",
    "change": "UPDATE floor SET metadata = %s WHERE id = %s",
}


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
        self._root = root
        self._connections = Connections(database)
        self._is_sqlite = database.writer.dialect.name == "sqlite"
        mark = "?" if self._is_sqlite else "%s"
        self._statements = {
            name: text.replace("%s", mark) for name, text in STATEMENTS.items()
        }
        with database.writer.begin() as db:
            for statement in TABLE:
                db.exec_driver_sql(statement)
        database.dispose()
        self._versions = versions.document("", root, "2.38")

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

    def _run(self, name, *values):
        cursor = self._connections.cursor
        cursor.execute(self._statements[name], values)
        return cursor

    def _answer(self, environ, project, rest) -> bytes:
        if rest == ["detail"] or not rest:
            return self._list(project, "".join(rest), environ["QUERY_STRING"])
        image_id, *rest = rest
        if environ["REQUEST_METHOD"] == "PUT":
            length = int(environ["CONTENT_LENGTH"])
            body = orjson.loads(environ["wsgi.input"].read(length))
            return self._put(image_id, body["meta"])
        if rest:
            (metadata,) = self._run("metadata", image_id).fetchone()
            return orjson.dumps({"metadata": orjson.Fragment(metadata)})
        row = self._run("show", image_id).fetchone()
        view = {"image": self._detail(row, *self._links(project))}
        return orjson.dumps(view, option=TIMES)

    def _links(self, project):
        return (
            f"{self._root}/v2.1/{project}/images/",
            f"{self._root}/{project}/images/",
            f"{self._root}/images/",
        )

    def _list(self, project, path, query):
        limit = int(query.removeprefix("limit="))
        rows = self._run(path or "index", limit + 1).fetchall()
        links = self._links(project)
        view = self._detail if path else self._summary
        answer = {"images": [view(row, *links) for row in rows[:limit]]}
        if len(rows) > limit:
            href = f"{links[0]}{path}".rstrip("/")
            href += f"?{query}&marker={rows[limit - 1][0]}"
            answer["images_links"] = [{"rel": "next", "href": href}]
        return orjson.dumps(answer, option=TIMES)

    def _summary(self, row, own, bookmark, alternate):
        return {
            "id": row[0],
            "name": row[1],
            "links": _three(row[0], own, bookmark, alternate),
        }

    def _detail(self, row, own, bookmark, alternate):
        image_id, name, status, size, min_ram, min_disk, *times, metadata = row
        if self._is_sqlite:
            # It has them as text.
            times = [f"{time[:10]}T{time[11:19]}Z" for time in times]
        shown, progress = model.STATUSES[status]
        return {
            "id": image_id,
            "name": name,
            "minRam": min_ram,
            "minDisk": min_disk,
            "metadata": orjson.Fragment(metadata),
            "created": times[0],
            "updated": times[1],
            "status": shown,
            "progress": progress,
            "OS-EXT-IMG-SIZE:size": size or 0,
            "links": _three(image_id, own, bookmark, alternate),
        }

    def _put(self, image_id, items):
        (metadata,) = self._run("metadata", image_id).fetchone()
        changed = orjson.dumps({**orjson.loads(metadata), **items}).decode()
        self._run("change", changed, image_id)
        return orjson.dumps({"meta": items})


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
