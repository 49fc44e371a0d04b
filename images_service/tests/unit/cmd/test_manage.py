# SPDX-License-Identifier: Apache-2.0
from importlib import metadata
import json
import os
import signal
from unittest import mock

import tqdm

from images_service.cmd import importing
from images_service.cmd import manage
from images_service.store.sql import engine
from images_service.store.sql.migrations import revisions
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import base


class ManageTestCase(base.ManageTestCase):
    def path(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def manage_json(self, *args):
        status, out, err = self.manage(*args, "-f", "json")
        self.assertEqual(0, status, err)
        return json.loads(out)


class TestDb(ManageTestCase):
    def test_sync_and_version(self):
        status, out, _ = self.manage("db", "version")
        self.assertEqual(
            (1, f"database: empty\nexpected: {revisions.HEAD}\n"),
            (status, out),
        )
        self.assertEqual(0, self.manage("db", "sync")[0])
        self.assertEqual(0, self.manage("db", "sync")[0])
        status, out, _ = self.manage("db", "version")
        self.assertEqual(
            (0, f"database: {revisions.HEAD}\nexpected: {revisions.HEAD}\n"),
            (status, out),
        )

    def test_no_database_is_configured(self):
        self.path("images_service.conf", "[api]\n")
        status, _, err = self.manage("db", "sync")
        self.assertEqual(1, status)
        self.assertIn("connection", err)

    def test_no_configuration(self):
        os.unlink(self.path("images_service.conf"))
        status, _, err = self.manage("db", "sync")
        self.assertEqual(1, status)
        self.assertIn("images_service.conf", err)


class TestImages(ManageTestCase):
    def setUp(self):
        super().setUp()
        self.manage("db", "sync")
        text = json.dumps({"images": base.samples()})
        status, out, err = self.manage("image", "import", "-", stdin=text)
        self.assertEqual(
            (0, "13 imported, 0 refused\n", ""), (status, out, err)
        )

    def test_list(self):
        rows = self.manage_json("image", "list")
        self.assertEqual(
            [name for name in reversed(base.IDS) if name != "gone"],
            [row["name"] for row in rows],
        )
        self.assertEqual("2026-01-13 00:00:00", rows[0]["created_at"])
        self.assertEqual(
            rows[:2], self.manage_json("image", "list", "--limit", "2")
        )
        self.assertEqual(
            [base.IDS["own"]],
            [
                row["id"]
                for row in self.manage_json("image", "list", "--name", "own")
            ],
        )

    def test_formats(self):
        for form in ("table", "json", "yaml", "csv", "value"):
            for command in (["list"], ["show", base.IDS["own"]]):
                if (form, command[0]) == ("csv", "show"):
                    continue  # cliff writes one object as no table
                with self.subTest(format=form, command=command[0]):
                    status, out, _ = self.manage("image", *command, "-f", form)
                    self.assertEqual(0, status)
                    self.assertIn(base.IDS["own"], out)

    def test_show(self):
        image = self.manage_json("image", "show", base.IDS["own"])
        self.assertEqual(
            ("own", 1024, 512, base.OWNER, False, None, '{"foo":"bar"}'),
            tuple(
                image[name]
                for name in (
                    "name",
                    "size",
                    "min_ram",
                    "owner",
                    "protected",
                    "deleted_at",
                    "metadata",
                )
            ),
        )

    def test_delete(self):
        for name in ("own", "protected"):
            status, _, _ = self.manage("image", "delete", base.IDS[name])
            self.assertEqual(0, status)
            status, _, err = self.manage("image", "show", base.IDS[name])
            self.assertEqual(1, status)
            self.assertIn("Image not found.", err)


class TestImport(ManageTestCase):
    def setUp(self):
        super().setUp()
        self.manage("db", "sync")

    def lines(self, *records):
        return "".join(json.dumps(record) + "\n" for record in records)

    def test_each_refusal_has_a_line(self):
        path = self.path(
            "images.jsonl",
            self.lines(
                {"owner": "p", "name": "one", "id": base.UNKNOWN},
                {"id": base.IDS["own"], "name": "ownerless"},
                {"owner": "p", "id": base.UNKNOWN},
                {"owner": "p", "id": base.IDS["own"], "size": -1},
                {"owner": "p", "id": base.IDS["own"], "name": "five"},
            )
            + "{broken\n",
        )
        status, out, err = self.manage("image", "import", path)
        self.assertEqual((1, "2 imported, 4 refused\n"), (status, out))
        lines = err.splitlines()
        self.assertEqual(4, len(lines))
        for line, (number, reason) in zip(
            lines,
            (
                (2, "owner is missing"),
                (3, f"{base.UNKNOWN}: An image with this id exists already."),
                (4, "size is not a whole number: -1"),
                (6, "not JSON"),
            ),
            strict=True,
        ):
            self.assertTrue(line.startswith(f"image {number}: {reason}"), line)
        names = [row["name"] for row in self.manage_json("image", "list")]
        self.assertEqual(["five", "one"], sorted(names))

    def test_update(self):
        for name, args, result in (
            ("first", (), 0),
            ("second", (), 1),
            ("third", ("--update",), 0),
        ):
            text = self.lines({"owner": "p", "id": base.UNKNOWN, "name": name})
            status, _, _ = self.manage(
                "image", "import", "-", *args, stdin=text
            )
            self.assertEqual(result, status)
        image = self.manage_json("image", "show", base.UNKNOWN)
        self.assertEqual(("third", 2), (image["name"], image["generation"]))

    def test_owner(self):
        text = self.lines({"id": base.UNKNOWN})
        self.assertEqual(
            0,
            self.manage("image", "import", "-", "--owner", "q", stdin=text)[0],
        )
        image = self.manage_json("image", "show", base.UNKNOWN)
        self.assertEqual("q", image["owner"])

    def test_files_that_cannot_be_read(self):
        status, _, err = self.manage("image", "import", self.path("none"))
        self.assertEqual(1, status)
        self.assertIn("none", err)
        with open(self.path("latin1"), "wb") as file:
            file.write(b'{"owner": "\xe9"}')
        status, _, err = self.manage("image", "import", self.path("latin1"))
        self.assertEqual(1, status)
        self.assertIn("utf-8", err)

    def test_more_than_a_batch(self):
        text = self.lines(*({"owner": "p"} for _ in range(5201)))
        status, out, _ = self.manage(
            *("image", "import", "--generate-ids", "-"), stdin=text
        )
        self.assertEqual((0, "5201 imported, 0 refused\n"), (status, out))
        self.assertEqual(5201, len(self.manage_json("image", "list")))

    def test_images_without_ids_had_new_ones_at_each_run(self):
        text = self.lines({"owner": "p", "name": "nameless"})
        status, out, err = self.manage("image", "import", "-", stdin=text)
        self.assertEqual((1, "0 imported, 1 refused\n"), (status, out))
        self.assertEqual(
            "image 1: id is missing; --generate-ids makes one\n", err
        )

    def test_columns_of_openstack_image_list_became_nameless_images(self):
        rows = [
            {"ID": image_id, "Name": name, "Status": "active"}
            for name, image_id in base.IDS.items()
        ]
        for options in ((), ("--generate-ids", "--owner", "p")):
            status, out, err = self.manage(
                *("image", "import", "-", *options),
                stdin=json.dumps(rows, indent=2),
            )
            self.assertEqual((1, "0 imported, 0 refused\n"), (status, out))
            self.assertEqual(1, len(err.splitlines()), err)
            self.assertIn("'openstack image list'", err)
            self.assertIn("$GLANCE/v2/images", err)
        self.assertEqual([], self.manage_json("image", "list"))

    def test_one_page_of_an_answer_was_taken_for_all(self):
        images = base.samples()
        following = f"/v2/images?limit=5&marker={images[4]['id']}"
        first = {"images": images[:5], "next": following}
        rest = {"images": images[5:], "first": "/v2/images?limit=5"}
        for indent in (None, 4):
            page = json.dumps(first, indent=indent)
            status, out, err = self.manage(
                *("image", "import", "--update", "-"), stdin=page
            )
            self.assertEqual((1, "5 imported, 0 refused\n"), (status, out))
            self.assertEqual(1, len(err.splitlines()), err)
            self.assertIn("Images are missing", err)
            self.assertIn(following, err)
            status, _, err = self.manage(
                *("image", "import", "--update", "--partial", "-"), stdin=page
            )
            self.assertEqual((0, ""), (status, err))
            # Pages that follow each other in one file are all there is.
            status, out, err = self.manage(
                *("image", "import", "--update", "-"),
                stdin=page + "\n" + json.dumps(rest, indent=indent),
            )
            self.assertEqual(
                (0, "13 imported, 0 refused\n", ""), (status, out, err)
            )

    def test_an_import_of_nothing_was_a_success(self):
        for text in ("", "\n\n", "[]", '{"images": []}'):
            status, out, err = self.manage("image", "import", "-", stdin=text)
            self.assertEqual((1, "0 imported, 0 refused\n"), (status, out))
            self.assertEqual("- holds no images.\n", err)

    def test_each_image_that_existed_had_a_line(self):
        images = base.samples()
        text = self.lines(*images[:4])
        self.assertEqual(0, self.manage("image", "import", "-", stdin=text)[0])
        status, out, err = self.manage(
            *("image", "import", "--skip-existing", "-"),
            stdin=self.lines(*images),
        )
        self.assertEqual(
            (0, "9 imported, 4 existed, 0 refused\n", ""), (status, out, err)
        )
        # Others are refused as before; an import of nothing new is good.
        status, out, _ = self.manage(
            *("image", "import", "--skip-existing", "-"),
            stdin=self.lines(*images, {"owner": "p"}),
        )
        self.assertEqual(
            (1, "0 imported, 13 existed, 1 refused\n"), (status, out)
        )

    def test_the_bar_did_not_know_the_file(self):
        text = self.lines(*base.samples()) + " " * 100_000
        path = self.path("images.jsonl", text)
        bars = []

        class Bar(tqdm.tqdm):
            def __init__(self, **options):
                super().__init__(**options)
                bars.append(self)

        with mock.patch("tqdm.tqdm", Bar):
            self.manage("image", "import", path)
        (bar,) = bars
        self.assertEqual(len(text), bar.total)
        self.assertEqual("B", bar.unit)

    def test_what_was_stored_before_an_error_is_told(self):
        path = self.path("images.jsonl")
        with open(path, "wb") as file:
            file.write(self.lines(*base.samples()).encode())
            file.write(b" " * 10_000 + b"\xff\n")
        with mock.patch.object(importing, "_BATCH", 5):
            status, out, err = self.manage("image", "import", path)
        self.assertEqual(1, status)
        self.assertIn("utf-8", err)
        self.assertEqual("10 imported, 0 refused\n", out)
        self.assertEqual(10, len(self.manage_json("image", "list")))

    def test_ctrl_c_in_a_batch_waits_for_its_end(self):
        handler = signal.getsignal(signal.SIGINT)
        self.addCleanup(signal.signal, signal.SIGINT, handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        add = SqlStore.add

        def interrupted(*args, **options):
            signal.raise_signal(signal.SIGINT)
            return add(*args, **options)

        with (
            mock.patch.object(SqlStore, "add", interrupted),
            mock.patch.object(importing, "_BATCH", 5),
        ):
            status, out, err = self.manage(
                "image",
                "import",
                "-",
                stdin=self.lines(*base.samples()),
            )
        self.assertEqual((130, "5 imported, 0 refused\n"), (status, out))
        self.assertIn("--skip-existing", err)
        self.assertEqual(5, len(self.manage_json("image", "list")))
        self.assertIs(
            signal.default_int_handler, signal.getsignal(signal.SIGINT)
        )

    def test_a_second_ctrl_c_had_to_wait_for_a_database_that_hangs(self):
        handler = signal.getsignal(signal.SIGINT)
        self.addCleanup(signal.signal, signal.SIGINT, handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        add = SqlStore.add
        answered = []

        def hanging(*args, **options):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            answered.append(add(*args, **options))

        with mock.patch.object(SqlStore, "add", hanging):
            status, out, _ = self.manage(
                "image",
                "import",
                "-",
                stdin=self.lines(*base.samples()),
            )
        self.assertEqual(
            (130, "0 imported, 0 refused\n", []), (status, out, answered)
        )
        self.assertIs(
            signal.default_int_handler, signal.getsignal(signal.SIGINT)
        )


class TestBeforeTheTables(ManageTestCase):
    """Commands on a database that has no tables, or does not answer."""

    COMMANDS = (
        ("db", "check"),
        ("db", "check", "--repair"),
        ("db", "purge", "--older-than", "1d"),
        ("image", "delete", base.UNKNOWN),
        ("image", "import", "-"),
        ("image", "list"),
        ("image", "set", "--name", "x", base.UNKNOWN),
        ("image", "share", base.UNKNOWN, "p"),
        ("image", "show", base.UNKNOWN),
        ("image", "unset", "--property", "x", base.UNKNOWN),
        ("image", "unshare", base.UNKNOWN, "p"),
        ("mirror", "status"),
        ("mirror", "sync"),
        (
            *("policy", "explain", "images:show", "--project", "p"),
            *("--image", base.UNKNOWN),
        ),
    )
    NEED_NO_TABLES = (("db", "sync"), ("db", "version"))
    STDIN = json.dumps({"id": base.UNKNOWN, "owner": "p"})

    def failed(self, command):
        status, out, err = self.manage(*command, stdin=self.STDIN)
        self.assertEqual(1, status)
        self.assertIn(out, ("", "0 imported, 0 refused\n"))
        self.assertEqual(1, err.count("\n"), err)
        self.assertTrue(err.startswith("images-service-manage: "), err)
        self.assertNotRegex(err, "SELECT|INSERT|UPDATE|sqlalche|Traceback")
        return err

    def test_no_command_is_missing(self):
        tried = {
            "_".join(command[:2])
            for command in (*self.COMMANDS, *self.NEED_NO_TABLES)
        }
        self.assertEqual(
            {
                entry.name
                for entry in metadata.entry_points(
                    group="images_service.manage"
                )
                if issubclass(entry.load(), manage.DatabaseCommand)
            },
            tried,
        )

    def test_sql_was_printed_before_db_sync(self):
        for command in self.COMMANDS:
            with self.subTest(command):
                self.assertIn(
                    "has no tables. Run images-service-manage db sync.",
                    self.failed(command),
                )

    def test_sql_was_printed_on_older_tables(self):
        database = engine.Database(self.conf)
        self.addCleanup(database.dispose)
        run.sync(database, "0001")
        with database.writer.begin() as db:
            db.exec_driver_sql("ALTER TABLE images RENAME COLUMN name TO n")
        for command in (("image", "list"), ("image", "import", "-")):
            with self.subTest(command):
                self.assertRegex(
                    self.failed(command),
                    "is at 0001, .* Run images-service-manage db sync.",
                )

    def test_a_database_that_is_down(self):
        some = (("db", "sync"), ("db", "version"), ("image", "list"))
        for connection, commands in (
            ("sqlite:////no/such/folder/images.sqlite", self.COMMANDS),
            ("sqlite:////no/such/folder/images.sqlite", some),
            ("mysql+pymysql://images:s3cret@127.0.0.1:1/images", some),
            ("postgresql+psycopg://images:s3cret@127.0.0.1:1/images", some),
        ):
            base.configuration(self.folder, connection=connection)
            for command in commands:
                with self.subTest(connection=connection, command=command):
                    err = self.failed(command)
                    self.assertIn("The database does not answer: ", err)
                    self.assertIn("[database] connection", err)
                    self.assertNotIn("s3cret", err)

    def test_a_driver_that_is_missing(self):
        base.configuration(self.folder, connection="mysql+pymysql://h/n")
        with mock.patch.dict("sys.modules", {"pymysql": None}):
            for command in (("image", "list"), ("db", "sync")):
                self.assertIn("pip install '.[mysql]'", self.failed(command))
