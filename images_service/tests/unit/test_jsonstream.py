# SPDX-License-Identifier: Apache-2.0
import io
import itertools
import json
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st

from images_service import jsonstream

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class TestJSONStream(unittest.TestCase):
    def stream(self, text, size=1):
        """Return a stream whose text comes in small pieces."""
        chunk = mock.patch.object(jsonstream, "_CHUNK", size)
        chunk.start()
        self.addCleanup(chunk.stop)
        return jsonstream.JSONStream(io.StringIO(text))

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(VALUES, st.sampled_from([None, 1]), st.integers(1, 9))
    def test_values_are_what_json_reads(self, value, indent, size):
        text = json.dumps(value, indent=indent)
        self.assertEqual(value, self.stream(f" {text}\n", size).value())
        stream = self.stream(json.dumps([value, value], indent=indent), size)
        self.assertEqual([value, value], list(stream.elements()))
        self.assertEqual("", stream.peek())

    def test_words_and_numbers_that_a_read_cuts(self):
        for text in ("-Infinity", "1.5e+300", "123456", r'"\ud83d\ude00"'):
            for before in range(12):
                stream = self.stream(" " * before + text, 12)
                self.assertEqual(json.loads(text), stream.value())

    def test_objects(self):
        stream = self.stream('{"a": {"b": 1}, "c" :2} {}')
        self.assertEqual(
            [("a", {"b": 1}), ("c", 2)],
            [(name, stream.value()) for name in stream.names()],
        )
        self.assertEqual([], list(stream.names()))

    def test_errors_say_where(self):
        for text, problem in (
            ('[\n1,\n {"a" 1}]', "':' delimiter: line 3 column 7"),
            ("[\n1,\n2 3]", "',' or ']': line 3 column 3"),
            ("[\n\n  nul]", "Expecting value: line 3 column 3"),
            ("[1,\n", "Expecting value: line 2 column 1"),
            ('["a', "Unterminated string starting at: line 1 column 2"),
            ('["a\n"]', "Invalid control character at: line 1 column 4"),
        ):
            for size in (1, 7, 100):
                with self.subTest(text=text, size=size):
                    with self.assertRaises(ValueError) as caught:
                        list(self.stream(text, size).elements())
                    self.assertIn(problem, str(caught.exception))
        for text, problem in (
            ("{1: 2}", "Expecting a name in quotes: line 1 column 2"),
            ('{"a" 1}', "Expecting ':': line 1 column 6"),
        ):
            with self.assertRaisesRegex(ValueError, problem):
                list(self.stream(text).names())

    def test_a_mistake_was_found_at_the_end_of_the_file(self):
        lines = itertools.chain(
            ["[{"], itertools.repeat('"a" 1, "b": "ccccccc"\n', 100_000)
        )
        text = io.StringIO("".join(lines))
        with self.assertRaises(ValueError):
            list(jsonstream.JSONStream(text).elements())
        self.assertLess(text.tell(), 200_000)
