# SPDX-License-Identifier: Apache-2.0
import datetime
import unittest
import urllib.parse

from images_service import exception
from images_service import model
from images_service.api import query
from images_service.api import validation


def parse(text, max_limit=1000):
    values = query.decode(text)
    validation.LISTING.check(values)
    return query.parse(values, max_limit, 16)


class TestDecode(unittest.TestCase):
    def test_pairs(self):
        self.assertEqual({}, query.decode(""))
        self.assertEqual({"": [""]}, query.decode("&&="))
        self.assertEqual(
            {"a": ["1", "ü"], "b": [""]},
            query.decode("a=1&a=%C3%BC&b="),
        )
        # Bytes that the client didn't encode.
        self.assertEqual({"a": ["ü"]}, query.decode("a=\xc3\xbc"))

    def test_not_utf8(self):
        for text in ("a=%ff", "%ff=a", "a=\xff", "a=%ed%a0%80", "a=%c0%80"):
            with (
                self.subTest(text=text),
                self.assertRaisesRegex(
                    exception.Invalid, "^Query string is not UTF-8 encoded$"
                ),
            ):
                query.decode(text)


class TestParse(unittest.TestCase):
    def test_nothing(self):
        self.assertEqual(
            model.ListQuery(limit=1000, max_metadata=16), parse("")
        )

    def test_everything(self):
        self.assertEqual(
            model.ListQuery(
                limit=5,
                marker="m",
                name="n",
                status="active",
                min_ram=1,
                min_disk=2,
                changes_since=datetime.datetime(2026, 1, 1),
                properties=(
                    ("KEY", "v"),
                    ("image_type", "snapshot"),
                    ("instance_uuid", "s"),
                ),
                max_metadata=16,
            ),
            parse(
                "limit=5&marker=m&name=n&status=ACTIVE&minRam=1&minDisk=02"
                "&changes-since=2026-01-01T01:00:00%2B01:00&property-KEY=v"
                "&type=snapshot&server=http://x/servers/s&other=x"
            ),
        )

    def test_limit(self):
        self.assertEqual(10, parse("limit=5000", 10).limit)
        self.assertEqual(10, parse("", 10).limit)
        self.assertEqual(7, parse("limit=007", 10).limit)
        self.assertEqual(10, parse("limit=" + "9" * 10000, 10).limit)

    def test_more_leading_zeros_than_python_makes_a_number_of(self):
        zeros = "0" * 5000
        self.assertEqual(7, parse(f"limit={zeros}7").limit)
        self.assertEqual(7, parse(f"minRam={zeros}7").min_ram)
        self.assertEqual(0, parse(f"minDisk={zeros}").min_disk)
        for name in ("limit", "page_size", "offset"):
            with (
                self.subTest(name=name),
                self.assertRaisesRegex(
                    exception.Invalid, "less than the minimum"
                ),
            ):
                parse(f"{name}={zeros}")

    def test_the_last_value_counts_but_all_must_be_valid(self):
        self.assertEqual(3, parse("limit=2&limit=3").limit)
        for text in ("limit=x&limit=3", "offset=1&offset=0"):
            with self.subTest(text=text), self.assertRaises(exception.Invalid):
                parse(text)

    def test_invalid(self):
        for text, message in (
            (
                "limit=0",
                "Invalid input for query parameters limit. Value: 0. "
                "0 is less than the minimum of 1",
            ),
            (
                "limit=-1",
                "Invalid input for query parameters limit. Value: -1. "
                "'-1' does not match ",
            ),
            ("page_size=x", "Invalid input for query parameters page_size."),
            ("offset=00", "Invalid input for query parameters offset."),
            ("limit=", "Invalid input for query parameters limit. Value: ."),
            ("limit=%EF%BC%92", "Invalid input for query parameters limit."),
            ("limit=1%0A", "Invalid input for query parameters limit."),
            ("minRam=1.5", "Invalid input for query parameters minRam."),
            ("minDisk=", "Invalid input for query parameters minDisk."),
            (
                "changes-since=x",
                "Invalid input for query parameters changes-since. Value: x.",
            ),
            (
                "changes-since=0001-01-01T00:00:00%2B14:00",
                "Invalid input for query parameters changes-since.",
            ),
        ):
            with self.subTest(text=text):
                with self.assertRaises(exception.Invalid) as caught:
                    parse(text)
                self.assertIn(message, str(caught.exception))

    def test_marker(self):
        self.assertIsNone(parse("marker=").marker)
        self.assertEqual("abc", parse("marker=abc").marker)

    def test_status(self):
        for text, statuses in (
            ("SAVING", {"queued", "saving"}),
            ("queued", {"queued"}),
            ("Deleted", {"deleted", "pending_delete"}),
            ("error", {"killed"}),
            (
                "unknown",
                {"uploading", "importing", "deactivated", "unknown"},
            ),
            ("aCTIVE", {"active"}),
            ("", set()),
            ("ACTIVE ", set()),
            ("frobbed", set()),
        ):
            with self.subTest(status=text):
                word = parse(f"status={urllib.parse.quote(text)}").status
                found = {
                    stored
                    for stored in model.STATUSES
                    if word in model.status_words(stored)
                }
                self.assertEqual(statuses, found)

    def test_what_no_database_can_hold_matches_nothing(self):
        for text in (
            "name=a%00",
            "minRam=9223372036854775808",
            "minDisk=" + "9" * 10000,
        ):
            with self.subTest(text=text[:40]):
                found = parse(text)
                self.assertEqual("", found.status)
        self.assertEqual(
            2**63 - 1, parse("minRam=0009223372036854775807").min_ram
        )

    def test_properties(self):
        many = "&".join(f"property-{n}=x" for n in range(16))
        self.assertEqual(16, len(parse(many).properties))
        with self.assertRaisesRegex(exception.Invalid, "At most 16"):
            parse(many + "&property-y=z")
        self.assertEqual(
            (("property-", "x"),), parse("property-property-=x").properties
        )
        self.assertEqual((("", "x"),), parse("property-=x").properties)
        self.assertEqual((), parse("property=x").properties)

    def test_a_server_by_url(self):
        for value, wanted in (("s", "s"), ("http://h/s", "s"), ("h/", "")):
            with self.subTest(value=value):
                self.assertEqual(
                    (("instance_uuid", wanted),),
                    parse(f"server={value}").properties,
                )


class TestNextQuery(unittest.TestCase):
    def test_keeps_filters_and_limit_only(self):
        values = query.decode(
            "limit=2&limit=3&marker=a&name=x%26y&offset=5&foo=bar"
            "&property-K=v+w"
        )
        self.assertEqual(
            {
                "limit": "3",
                "marker": "m",
                "name": "x&y",
                "property-K": "v w",
            },
            dict(urllib.parse.parse_qsl(query.next_query(values, "m"))),
        )
