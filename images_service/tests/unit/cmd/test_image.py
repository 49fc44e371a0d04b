# SPDX-License-Identifier: Apache-2.0
import json

from images_service import model
from images_service.tests import base

OWN, SHARED = base.IDS["own"], base.IDS["own-shared"]


class TestEdits(base.ManageTestCase):
    def setUp(self):
        super().setUp()
        self.store = self.make_store(self.conf)

    def show(self, image_id=OWN):
        viewer = model.Viewer("", is_admin=True, is_operator=True)
        return self.store.get(image_id, viewer)

    def assertDone(self, *args):
        status, out, err = self.manage("image", *args)
        self.assertEqual((0, "", ""), (status, out, err))

    def assertRefused(self, status, message, *args):
        before = self.show()
        found, _, err = self.manage("image", *args)
        self.assertEqual(status, found, err)
        self.assertIn(message, err)
        self.assertEqual(before, self.show())

    def found_by(self, project=base.OTHER, **query):
        page = self.store.page(
            model.ListQuery(limit=100, **query),
            model.Viewer(project),
            model.Image,
        )
        return [image.name for image in page.images]

    def test_attributes(self):
        before = self.show()
        self.assertDone(
            *("set", OWN.upper(), "--name", "new name", "--public"),
            *("--min-disk", "7", "--min-ram", "9", "--protected"),
            *("--owner", "somebody-else", "--deactivate"),
        )
        after = self.show()
        self.assertEqual(
            ("new name", "public", 7, 9, True, "somebody-else", "deactivated"),
            (
                *(after.name, after.visibility, after.min_disk),
                *(after.min_ram, after.protected, after.owner, after.status),
            ),
        )
        # What nothing was said of stays, and callers see that it has changed.
        self.assertEqual(before.metadata, after.metadata)
        self.assertEqual(before.created_at, after.created_at)
        self.assertGreater(after.updated_at, before.updated_at)
        self.assertEqual(before.generation + 1, after.generation)
        # It is found by what it is now.
        self.assertEqual(["new name"], self.found_by(name="new name"))
        self.assertEqual([], self.found_by(base.OWNER, name="own"))
        self.assertEqual(0, self.manage("db", "check")[0])

    def test_an_image_without_a_name(self):
        """Its name was the text None in lists."""
        image = {"id": base.UNKNOWN, "owner": base.OWNER}
        self.make_store(self.conf, [image])
        _, out, _ = self.manage("image", "list", "-f", "json")
        self.assertIn(None, [image["name"] for image in json.loads(out)])

    def test_hidden_and_back(self):
        self.assertDone("set", "--hidden", base.IDS["public"])
        self.assertNotIn("public", self.found_by())
        self.assertDone("set", "--unhidden", base.IDS["public"])
        self.assertIn("public", self.found_by())

    def test_properties(self):
        self.assertDone(
            *("set", OWN, "--property", "os=a=b", "--property", "empty=")
        )
        self.assertEqual(
            {"foo": "bar", "os": "a=b", "empty": ""},
            json.loads(self.show().metadata),
        )
        self.assertEqual(
            ["own"],
            self.found_by(base.OWNER, properties=(("os", "a=b"),)),
        )
        self.assertDone("unset", OWN, "--property", "os", "--property", "foo")
        self.assertEqual({"empty": ""}, json.loads(self.show().metadata))

    def test_what_cannot_be_set(self):
        for message, *args in (
            ("argument --min-ram: '-1' is not a whole", "--min-ram", "-1"),
            ("argument --min-disk: 'much' is not a", "--min-disk", "much"),
            ("argument --name: name is not a string", "--name", "x" * 256),
            ("argument --owner/--project: owner is", "--owner", "é"),
            ("argument --property: x is not KEY=VALUE", "--property", "x"),
            ("argument --property: =x is not KEY=VALUE", "--property", "=x"),
            ("--private: not allowed with argument", "--public", "--private"),
        ):
            with self.subTest(args=args):
                self.assertRefused(2, message, "set", OWN, *args)
        self.assertRefused(1, "Nothing to set", "set", OWN)

    def test_all_or_nothing(self):
        self.assertRefused(
            1,
            "The image has no property bar",
            *("unset", OWN, "--property", "foo", "--property", "bar"),
        )

    def test_no_such_image(self):
        for image_id in (base.UNKNOWN, base.IDS["gone"], "x"):
            with self.subTest(image=image_id):
                self.assertRefused(
                    1, "Image not found", "set", "--public", image_id
                )

    def test_share_and_unshare(self):
        self.assertNotIn("own-shared", self.found_by("third"))
        self.assertDone("share", SHARED, "third", "fourth")
        self.assertIn("own-shared", self.found_by("third"))
        # Those who had it still have it.
        self.assertIn("own-shared", self.found_by(base.OTHER))
        self.assertDone("share", "--status", "rejected", SHARED, "third")
        self.assertNotIn("own-shared", self.found_by("third"))
        self.assertDone("unshare", SHARED, base.OTHER, "third")
        self.assertNotIn("own-shared", self.found_by(base.OTHER))
        self.assertIn("own-shared", self.found_by("fourth"))

    def test_what_cannot_be_shared(self):
        self.assertRefused(1, "The image is private", "share", OWN, "third")
        self.assertRefused(
            1, "isn't shared with third", "unshare", SHARED, "third"
        )
        self.assertRefused(2, "argument PROJECT", "share", SHARED, "é")
