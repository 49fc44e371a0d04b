# SPDX-License-Identifier: Apache-2.0
import json
import os

from images_service.store.sql.migrations import run
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
            (1, f"database: empty\nexpected: {run.head()}\n"), (status, out)
        )
        self.assertEqual(0, self.manage("db", "sync")[0])
        self.assertEqual(0, self.manage("db", "sync")[0])
        status, out, _ = self.manage("db", "version")
        self.assertEqual(
            (0, f"database: {run.head()}\nexpected: {run.head()}\n"),
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
        text = json.dumps({"images": base.records()})
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
                {"name": "ownerless"},
                {"owner": "p", "id": base.UNKNOWN},
                {"owner": "p", "size": -1},
                {"owner": "p", "name": "five"},
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
        text = self.lines(*({"owner": "p"} for _ in range(1201)))
        status, out, _ = self.manage("image", "import", "-", stdin=text)
        self.assertEqual((0, "1201 imported, 0 refused\n"), (status, out))
        self.assertEqual(1201, len(self.manage_json("image", "list")))
