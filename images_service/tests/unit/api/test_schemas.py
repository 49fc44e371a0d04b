# SPDX-License-Identifier: Apache-2.0
import unittest

import hypothesis
from hypothesis import strategies
import jsonschema

from images_service import errors
from images_service.api import complaints
from images_service.api import schemas

METADATA = schemas.of_body(schemas.METADATA)
META = schemas.of_body(schemas.META)
LEGACY_METADATA = schemas.of_body(schemas.LEGACY_METADATA)
LEGACY_META = schemas.of_body(schemas.LEGACY_META)
BODIES = (
    (schemas.METADATA, METADATA),
    (schemas.META, META),
    (schemas.LEGACY_METADATA, LEGACY_METADATA),
    (schemas.LEGACY_META, LEGACY_META),
)


class TestBodies(unittest.TestCase):
    def assertInvalid(self, message, schema, body):
        with self.assertRaises(errors.Invalid) as caught:
            schema.check(body)
        self.assertIn(message, str(caught.exception))

    def test_valid(self):
        for body in (
            {},
            {"a": "b"},
            {"k" * 255: "v" * 255},
            {" ": "", "-": "1", "a:b.c_d": "\U0001f600" * 255},
        ):
            METADATA.check({"metadata": body})
            LEGACY_METADATA.check({"metadata": body, "more": 1})
        META.check({"meta": {"a": "b"}})
        LEGACY_META.check({"meta": {"a$\U0001f600": "b"}, "more": 1})

    def test_messages(self):
        for message, body in (
            ("None is not of type 'object'", None),
            ("[] is not of type 'object'", []),
            ("'metadata' is a required property", {}),
            (
                "Additional properties are not allowed ('x' was unexpected)",
                {"metadata": {}, "x": 1},
            ),
            (
                "Invalid input for field/attribute metadata. Value: 5. "
                "5 is not of type 'object'",
                {"metadata": 5},
            ),
            (
                "Invalid input for field/attribute a. Value: 1. "
                "1 is not of type 'string'",
                {"metadata": {"a": 1}},
            ),
            (
                "Invalid input for field/attribute a. Value: None. "
                "None is not of type 'string'",
                {"metadata": {"a": None}},
            ),
            (
                "Invalid input for field/attribute metadata. "
                "Value: {'a$b': 'c'}. 'a$b' does not match",
                {"metadata": {"a$b": "c"}},
            ),
            ("is too long", {"metadata": {"a": "v" * 256}}),
        ):
            with self.subTest(body=body):
                self.assertInvalid(message, METADATA, body)

    def test_keys(self):
        for key in ("", "k" * 256, "a\n", "a/b", "ü", "٣", "a\0", "\ud800"):
            with self.subTest(key=key[:20]):
                self.assertInvalid("", METADATA, {"metadata": {key: "x"}})
        for key in ("", "k" * 256, "a\0", "\ud800"):
            with self.subTest(legacy_key=key[:20]):
                body = {"metadata": {key: "x"}}
                self.assertInvalid("", LEGACY_METADATA, body)

    def test_values(self):
        for value in ("a\0", "\ud800", "\udfff\ud800", "v" * 256, {}, True):
            for schema in (METADATA, LEGACY_METADATA):
                with self.subTest(value=value):
                    body = {"metadata": {"a": value}}
                    self.assertInvalid("attribute a.", schema, body)

    def test_one_pair_in_meta(self):
        for items in ({}, {"a": "1", "b": "2"}):
            for schema in (META, LEGACY_META):
                with self.subTest(items=items):
                    self.assertInvalid(
                        "Invalid input for field/attribute meta. "
                        f"Value: {items}.",
                        schema,
                        {"meta": items},
                    )

    def test_what_is_too_deep_to_look_at(self):
        deep: list = []
        for _ in range(100_000):
            deep = [deep]
        try:
            with self.assertRaises(errors.Invalid):
                METADATA.check({"metadata": deep})
        finally:
            while deep:
                deep = deep.pop()

    @hypothesis.given(strategies.data())
    def test_what_fits_is_what_jsonschema_says(self, data):
        text = strategies.text(max_size=4) | strategies.sampled_from(
            ("metadata", "meta", "k" * 255, "v" * 256, "a\n", "a\0", "\ud800")
        )
        value = strategies.none() | strategies.integers() | text
        items = value | strategies.dictionaries(text, text | value, max_size=3)
        name = strategies.sampled_from(("metadata", "meta")) | text
        body = data.draw(
            items | strategies.dictionaries(name, items, max_size=2)
        )
        for schema, checked in BODIES:
            fits = jsonschema.Draft202012Validator(schema).is_valid(body)
            try:
                checked.check(body)
            except errors.Invalid:
                self.assertFalse(fits)
            else:
                self.assertTrue(fits)


class TestQueries(unittest.TestCase):
    @hypothesis.given(
        strategies.dictionaries(
            strategies.sampled_from([*schemas.LISTING["properties"], "name"]),
            strategies.lists(
                strategies.text("0123456789+-:TZ .\n\u0663", max_size=12)
                | strategies.datetimes().map(str)
                | strategies.sampled_from(["9" * 5000, "0" * 5000]),
                min_size=1,
                max_size=2,
            ),
            max_size=3,
        )
    )
    def test_what_fits_is_what_complaints_say(self, values):
        schema = schemas.of_query(schemas.LISTING)
        problems = list(
            complaints._Validator(
                schemas.LISTING, format_checker=complaints._formats
            ).iter_errors(values)
        )
        if problems:
            with self.assertRaises(errors.Invalid):
                schema.check(values)
        else:
            schema.check(values)
