# SPDX-License-Identifier: Apache-2.0
import re
import string
import unittest

import hypothesis
from hypothesis import strategies

from images_service import exception
from images_service.api import validation

METADATA, META = validation.METADATA, validation.META
LEGACY_METADATA = validation.LEGACY_METADATA
LEGACY_META = validation.LEGACY_META
KEY_CHARACTERS = string.ascii_letters + string.digits + "-_:. "


def is_text(text):
    """Tell whether every database stores a text."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def is_body(body, name, *, legacy, one):
    """Tell whether a body is what the contract allows."""
    if not isinstance(body, dict) or not isinstance(body.get(name), dict):
        return False
    items = body[name]
    return (
        (legacy or len(body) == 1)
        and (not one or len(items) == 1)
        and all(
            1 <= len(key) <= 255
            and (is_text(key) if legacy else not set(key) - {*KEY_CHARACTERS})
            and isinstance(value, str)
            and len(value) <= 255
            and is_text(value)
            for key, value in items.items()
        )
    )


def is_parameter(name, value):
    """Tell whether a value of a parameter is what the contract allows."""
    if name == "changes-since":
        try:
            return bool(validation.parse_time(value))
        except ValueError:
            return False
    if name in ("limit", "page_size", "offset") and set(value) == {"0"}:
        return False
    is_text = name in ("marker", "name", "status", "type", "server")
    return is_text or re.fullmatch("[0-9]+", value) is not None


class TestBodies(unittest.TestCase):
    def assertInvalid(self, message, schema, body):
        with self.assertRaises(exception.Invalid) as caught:
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
        values: tuple = ("a\0", "\ud800", "\udfff\ud800", "v" * 256, {}, True)
        for value in values:
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
            with self.assertRaises(exception.Invalid):
                METADATA.check({"metadata": deep})
        finally:
            while deep:
                deep = deep.pop()

    @hypothesis.settings(deadline=None)
    @hypothesis.given(strategies.data())
    def test_what_fits_is_what_the_contract_says(self, data):
        text = strategies.text(max_size=4) | strategies.sampled_from(
            ("metadata", "meta", "k" * 255, "v" * 256, "a\n", "a\0", "\ud800")
        )
        value = strategies.none() | strategies.integers() | text
        items = value | strategies.dictionaries(text, text | value, max_size=3)
        name = strategies.sampled_from(("metadata", "meta")) | text
        body = data.draw(
            items | strategies.dictionaries(name, items, max_size=2)
        )
        for member, legacy, schema in (
            ("metadata", False, METADATA),
            ("metadata", True, LEGACY_METADATA),
            ("meta", False, META),
            ("meta", True, LEGACY_META),
        ):
            fits = is_body(body, member, legacy=legacy, one=member == "meta")
            try:
                schema.check(body)
            except exception.Invalid:
                self.assertFalse(fits)
            else:
                self.assertTrue(fits)


class TestQueries(unittest.TestCase):
    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        strategies.dictionaries(
            strategies.sampled_from(
                [*validation.LISTING.schema["properties"]]
            ),
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
    def test_what_fits_is_what_the_contract_says(self, values):
        fits = all(
            is_parameter(name, value)
            for name, repeated in values.items()
            for value in repeated
        )
        try:
            validation.LISTING.check(values)
        except exception.Invalid:
            self.assertFalse(fits)
        else:
            self.assertTrue(fits)
