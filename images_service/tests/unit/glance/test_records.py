# SPDX-License-Identifier: Apache-2.0
import datetime
import io
import json

from images_service import model
from images_service.glance import records
from images_service.glance.listing import Listing
from images_service.tests import base


class TestRead(base.TestCase):
    def read(self, text):
        return list(Listing(io.StringIO(text)))

    def test_an_answer_of_glance(self):
        self.assertEqual([1, 2], self.read('{"images": [1, 2]}'))

    def test_an_answer_over_many_lines(self):
        text = json.dumps({"images": [{"a": 1}, {"b": 2}]}, indent=1)
        self.assertEqual([{"a": 1}, {"b": 2}], self.read(text))

    def test_several_pages(self):
        page = json.dumps({"images": [{"a": 1}]}, indent=1)
        self.assertEqual([{"a": 1}] * 3, self.read(page + page + "\n" + page))
        self.assertEqual(
            [{"a": 1}] * 2, self.read(f"[{page}, {page}]".replace("\n", ""))
        )

    def test_an_array(self):
        self.assertEqual([{"a": 1}], self.read('\n[{"a": 1}]\n'))

    def test_lines_of_images_and_of_pages(self):
        text = '{"a": 1}\n\n{"images": [{"b": 2}, {"c": 3}]}\n{"d": 4}'
        self.assertEqual(
            [{"a": 1}, {"b": 2}, {"c": 3}, {"d": 4}], self.read(text)
        )

    def test_nothing(self):
        self.assertEqual([], self.read(""))
        self.assertEqual([], self.read(" \n\n"))
        self.assertEqual([], self.read('{"images": []}'))

    def test_a_broken_line_is_refused_and_the_others_go_on(self):
        one, broken, three = self.read('{"a": 1}\n{"b": \n{"c": 3}\n')
        self.assertEqual(({"a": 1}, {"c": 3}), (one, three))
        self.assertIsInstance(broken, records.Refused)
        self.assertIn("not JSON", str(broken))

    def test_a_broken_document_is_refused(self):
        first, broken = self.read('{"images": [\n{"a": 1},\n')
        self.assertEqual({"a": 1}, first)
        self.assertIsInstance(broken, records.Refused)
        self.assertIn("line 3 column 1", str(broken))

    def test_a_broken_line_is_named_by_its_number(self):
        _, broken = self.read('{"a": 1}\n{"b" 1}\n')
        self.assertEqual(
            "not JSON: Expecting ':' delimiter: line 2 column 6", str(broken)
        )

    def test_a_deeply_nested_first_line_was_a_traceback(self):
        deep = "[" * 100_000 + "]" * 100_000
        refused, image = self.read(f'{deep}\n{{"a": 1}}\n')
        self.assertIn("nested too deep: line 1", str(refused))
        self.assertEqual({"a": 1}, image)
        for text in (f"[\n{deep}\n]", f'{{\n"images": {deep}\n}}'):
            (refused,) = self.read(text)
            self.assertIn("nested too deep: line 2", str(refused))

    def test_a_document_over_many_lines_was_read_as_a_whole(self):
        class Endless(io.StringIO):
            given = 0

            def read(self, size=-1, /):
                self.given += size
                return f"\n {json.dumps(image, indent=1)}," * (size // 1020)

        image = {"a": "x" * 1000}
        for start in ("[\n", '{"images": [\n', '{"first": 1, "images": [\n'):
            stream = Endless(start)
            found = iter(Listing(stream))
            for number in range(1, 2000):
                self.assertEqual(image, next(found))
                self.assertLess(stream.given, number * 1020 + 2**18)

    def test_the_page_after_the_last_one(self):
        last = {"images": [{"a": 1}]}
        first = {**last, "next": "/v2/images?marker=x"}
        for pages, expected in (
            ([last], None),
            ([first], first["next"]),
            ([first, last], None),
            ([last, first], first["next"]),
            ([first, {"b": 1}], first["next"]),
        ):
            lines = "\n".join(json.dumps(page) for page in pages)
            documents = "".join(json.dumps(page, indent=1) for page in pages)
            array = json.dumps(pages, indent=1)
            for text in (lines, documents, array):
                with self.subTest(text=text):
                    listing = Listing(io.StringIO(text))
                    self.assertEqual(len(pages), len(list(listing)))
                    self.assertEqual(expected, listing.next_page)

    def test_lines_are_not_read_ahead(self):
        lines = iter(['{"a": 1}\n', '{"b": 2}\n'])

        class Lines(io.StringIO):
            def readline(self, size=-1):
                return next(lines, "")

            def __next__(self):
                return next(lines)

        found = iter(Listing(Lines()))
        self.assertEqual({"a": 1}, next(found))
        self.assertEqual('{"b": 2}\n', next(lines))


class TestNewImage(base.TestCase):
    def new(self, owner=None, **record):
        return records.new_image(
            {"id": base.UNKNOWN, "owner": "p", **record},
            base.NOW,
            owner=owner,
        )

    def assertRefused(self, text, record, **options):
        if isinstance(record, dict):
            record = {"id": base.UNKNOWN, **record}
        with self.assertRaises(records.Refused) as caught:
            records.new_image(record, base.NOW, **options)
        self.assertIn(text, str(caught.exception))

    def test_attributes(self):
        new = self.new(
            id="AAAAAAAA-0000-4000-8000-000000000001",
            name="n",
            status="queued",
            visibility="shared",
            size=2**40,
            min_ram=1,
            min_disk=2,
            protected=True,
            os_hidden=True,
            created_at="2026-01-01T01:00:00+01:00",
            updated_at="2026-01-02T00:00:00.123456Z",
            members=[{"member_id": "q", "status": "accepted"}],
        )
        image = new.image
        self.assertEqual("aaaaaaaa-0000-4000-8000-000000000001", image.id)
        self.assertEqual(
            ("n", "queued", "shared", "p", 2**40, 1, 2, True, True),
            image[1:10],
        )
        self.assertEqual(datetime.datetime(2026, 1, 1), image.created_at)
        self.assertEqual(
            datetime.datetime(2026, 1, 2, 0, 0, 0, 123456), image.updated_at
        )
        self.assertIsNone(image.deleted_at)
        self.assertEqual({}, new.metadata)
        self.assertEqual({"q": "accepted"}, new.members)

    def test_what_is_missing(self):
        new = self.new()
        self.assertEqual(
            (None, "active", "private", "p", None, 0, 0, False, False),
            new.image[1:10],
        )
        self.assertEqual(base.NOW, new.image.created_at)
        self.assertEqual(base.NOW, new.image.updated_at)
        self.assertIsNone(new.members)

    def test_a_missing_id_was_made(self):
        for record in ({}, {"id": None}):
            self.assertRefused("id is missing", {"id": None, "owner": "p"})
            image = records.new_image(
                {"owner": "p", **record}, base.NOW, generate_id=True
            ).image
            self.assertRegex(image.id, model.IMAGE_ID)

    def test_rows_of_openstack_image_list_were_images(self):
        row = {"ID": base.UNKNOWN, "Name": "n", "Status": "active"}
        for more in ({}, {"Visibility": "public", "Project": "p"}):
            for generate in (False, True):
                with self.assertRaisesRegex(
                    records.NotImages, "'openstack image list'.*v2/images"
                ):
                    records.new_image(
                        {**row, **more},
                        base.NOW,
                        owner="p",
                        generate_id=generate,
                    )
        # An image may have such properties.
        self.assertEqual(row, self.new(**row).metadata)

    def test_metadata(self):
        new = self.new(
            foo="bar",
            nul=None,
            properties={"name": "a name", "owner": "x"},
            disk_format="raw",
            tags=["a"],
            locations=[{}],
            checksum="c",
        )
        self.assertEqual(
            {"foo": "bar", "nul": "", "name": "a name", "owner": "x"},
            new.metadata,
        )
        self.assertIsNone(new.image.name)

    def test_old_stores_hold_what_the_api_would_refuse(self):
        items = {f"k{n}": "v" for n in range(300)}
        items |= {"a/b": "x" * 5000, "clé": "", "": "empty name"}
        self.assertEqual(items, self.new(**items).metadata)

    def test_deleted(self):
        new = self.new(deleted_at="2026-01-03T00:00:00Z", status="active")
        self.assertEqual("deleted", new.image.status)
        self.assertEqual(datetime.datetime(2026, 1, 3), new.image.deleted_at)
        new = self.new(status="deleted", updated_at="2026-01-04T00:00:00Z")
        self.assertEqual(datetime.datetime(2026, 1, 4), new.image.deleted_at)

    def test_owner(self):
        self.assertRefused("owner is missing", {})
        new = records.new_image({"id": base.UNKNOWN}, base.NOW, owner="q")
        self.assertEqual("q", new.image.owner)
        self.assertEqual("p", self.new(owner="p").image.owner)

    def test_refused(self):
        cases: tuple = (
            ("not a JSON object", "x"),
            ("not a JSON object", None),
            ("id is not a UUID", {"id": "x"}),
            ("id is not a UUID", {"id": 5}),
            ("id is not a UUID", {"id": "0" * 32}),
            ("name is not", {"name": "n" * 256}),
            ("name is not", {"name": 1}),
            ("U+0000", {"name": "a\0b"}),
            ("status is none of", {"status": "sleeping"}),
            ("status is none of", {"status": ["active"]}),
            ("visibility is none of", {"visibility": "secret"}),
            ("owner is not a project's id", {"owner": "é"}),
            ("owner is not a project's id", {"owner": ""}),
            ("owner is not a project's id", {"owner": "a\n"}),
            ("size is not a whole number", {"size": -1}),
            ("size is not a whole number", {"size": 2**63}),
            ("size is not a whole number", {"size": True}),
            ("min_ram is not a whole number", {"min_ram": "1"}),
            ("protected is neither", {"protected": "yes"}),
            ("created_at is not an ISO 8601 time", {"created_at": "x"}),
            ("created_at is not an ISO 8601 time", {"created_at": 5}),
            (
                "updated_at is not an ISO 8601 time",
                {"updated_at": "0001-01-01T00:00:00+14:00"},
            ),
            ("members is not a list", {"members": {}}),
            ("a member is not an object", {"members": ["x"]}),
            ("member_id is not", {"members": [{}]}),
            (
                "status is none of",
                {"members": [{"member_id": "q", "status": "x"}]},
            ),
            ("properties is not an object", {"properties": []}),
            ("property foo is not a string", {"foo": 1}),
            ("property foo is not a string", {"properties": {"foo": {}}}),
            ("U+0000 or a lone surrogate", {"foo": "a\0"}),
            ("U+0000 or a lone surrogate", {"foo": "\ud800"}),
            ("U+0000 or a lone surrogate", {"a\0b": "x"}),
        )
        for text, record in cases:
            with self.subTest(record=record):
                owned = isinstance(record, dict)
                self.assertRefused(
                    text, {"owner": "p", **record} if owned else record
                )


class TestMirrored(base.TestCase):
    """What Glance's API answers, any part of which a tenant may have set."""

    record = {"id": base.IDS["own"], "owner": "p", "status": "active"}

    def test_of_equally_long_properties_the_same_are_left_out(self):
        """Each process left others out, in the order of a set."""
        names = [f"k{number:03d}" for number in range(100)]
        for order in (names, names[::-1]):
            properties = dict.fromkeys(order, "x" * 60_000)
            new, left_out = records.mirrored(
                {**self.record, **properties}, None
            )
            self.assertEqual(names[31:], sorted(new.metadata))
            self.assertEqual(31, len(left_out))
            self.assertIn("property k000 is too long", left_out[0])

    def test_properties_keep_the_order_of_glance(self):
        """They had the order of a set, another one in each process."""
        given = {f"k{number * 7 % 31}": "x" for number in range(31)}
        new, _ = records.mirrored({**self.record, **given}, None)
        self.assertEqual([*given], [*new.metadata])

    def test_properties_with_the_names_of_a_file_s_members(self):
        given = {"members": "a", "properties": "b", "deleted_at": "c"}
        new, left_out = records.mirrored({**self.record, **given}, None)
        self.assertEqual((given, []), (new.metadata, left_out))
        self.assertIsNone(new.image.deleted_at)
        self.assertIsNone(new.members)

    def test_shares_that_cannot_be_stored(self):
        members = {"a": "accepted", "b": "new", "\xfc": "pending"}
        new, left_out = records.mirrored(self.record, members)
        self.assertEqual({"a": "accepted"}, new.members)
        self.assertEqual(2, len(left_out))
