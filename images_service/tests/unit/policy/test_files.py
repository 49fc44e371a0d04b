# SPDX-License-Identifier: Apache-2.0
import os

from images_service.policy import files
from images_service.tests import base
from images_service.watched import FileError


class TestRead(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.make_folder(), "policy")

    def read(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        return {
            name: entry.value for name, entry in files.read(self.path).items()
        }

    def test_both_formats(self):
        for text in (
            '{"a": "role:x", "b": ""}',
            '{\n\t"a": "role:x",\n\t"b": ""\n}\n',
            "a: role:x\nb: ''\n",
            '# comment\n"a": "role:x"\n"b": ""\n',
            '\ufeff{\n\t"a": "role:x", "b": ""}',
        ):
            with self.subTest(text=text):
                self.assertEqual({"a": "role:x", "b": ""}, self.read(text))
        self.assertEqual({}, self.read("{}"))
        self.assertEqual({}, self.read("# nothing but a comment\n"))

    def test_what_is_wrong_is_named(self):
        for place, problem, text in (
            ("", "the file is empty", ""),
            ("", "the file is empty", " \n"),
            (":3", "Expecting", '{\n"a": "x"\n"b": "y"}'),
            (":1", "Expecting", "{"),
            (":2", "rule a is null", '{\n"a": null}'),
            (":2", "rule a is not a string", '{\n  "a": 5}'),
            (":1", "rule a is not a string", '{"a": ["x"]}'),
            (":2", "stands there twice", '{\n"a": "x",\n"a": "y"}'),
            (":1", "stands there twice", "a: x\na: y\n"),
            (":1", "rule a is null", "a:\n"),
            (":1", "rule a is null", "a: ~\n"),
            (":1", "not a map", "- a\n"),
            (":2", "", "a: x\n b: : y\n"),
            ("", "month must be", "a: 2026-99-99\n"),
            ("", "is no name", "5: x\n"),
        ):
            with self.subTest(text=text):
                with self.assertRaises(FileError) as caught:
                    self.read(text)
                message = str(caught.exception)
                self.assertTrue(
                    message.startswith(f"{self.path}{place}: "), message
                )
                self.assertIn(problem, message)

    def test_files_that_cannot_be_read(self):
        with self.assertRaisesRegex(FileError, self.path):
            files.read(self.path)
        with open(self.path, "wb") as file:
            file.write(b'{"a": "\xff"}')
        with self.assertRaisesRegex(FileError, "utf-8"):
            files.read(self.path)
