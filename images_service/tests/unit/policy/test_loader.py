# SPDX-License-Identifier: Apache-2.0
import os

from images_service import files
from images_service.files import FileError
from images_service.policy import loader
from images_service.tests import base


class TestLoad(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.make_folder(), "policy")

    def read(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        found = loader.load([], {self.path: files.read(self.path)})
        return {name: rule.text for name, rule in found.items()}

    def paths(self, folder):
        conf = self.make_conf(oslo_policy={"policy_dirs": folder})
        return loader.paths(conf, self.path)

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
            (":3", "twice, first on line 2", '{\n"a": "x",\n"a": "y"}'),
            (":2", "twice, first on line 1", "a: x\na: y\n"),
            (":1", "rule a is null", "a:\n"),
            (":1", "rule a is null", "a: ~\n"),
            (":1", "not a map", "- a\n"),
            (":2", "", "a: x\n b: : y\n"),
            ("", "month must be", "a: 2026-99-99\n"),
            (":1", "the name 5 is not a string", "5: x\n"),
        ):
            with self.subTest(text=text):
                with self.assertRaises(FileError) as caught:
                    self.read(text)
                message = str(caught.exception)
                self.assertTrue(
                    message.startswith(f"{self.path}{place}: "), message
                )
                self.assertIn(problem, message)

    def test_the_line_is_the_parsers(self):
        for line, text in (
            (4, '{\n"x": "a:b",\n"y":\t"a: 1",\n\t"a"\n:\nnull}'),
            (2, '{"x": "\\"a\\": y",\n"\\u0061": null}'),
            (3, "# a: x\nx: 'a: y'\n? a\n: ~\n"),
            (4, 'x: >\n  a: y\n\n"a" : ~\n'),
        ):
            with self.subTest(text=text):
                with self.assertRaises(FileError) as caught:
                    self.read(text)
                self.assertIn("rule a is null", str(caught.exception))
                self.assertIn(f"{self.path}:{line}: ", str(caught.exception))

    def test_comments_in_json(self):
        for text in (
            '{\n  # who deletes\n  "a": "x"}',
            '{"a": "x", // who deletes\n"b": "y"}',
            '{"a": "x" /* who deletes */}',
            '// who deletes\n{"a": "x"}',
            '/* who\ndeletes */\n{"a": "x"}',
            '# who deletes\n{\n\t"a": "x"}',
        ):
            with self.subTest(text=text):
                with self.assertRaises(FileError) as caught:
                    self.read(text)
                self.assertRegex(
                    str(caught.exception), ":[12]: JSON has no comments; YAML"
                )

    def test_folders_in_a_folder_are_no_files(self):
        folder = f"{os.path.dirname(self.path)}/policies"
        os.makedirs(f"{folder}/old")
        os.symlink("old", f"{folder}/older")
        for name in ("b.yaml", "a.json"):
            with open(f"{folder}/{name}", "w", encoding="utf-8"):
                pass
        found = [self.path, f"{folder}/a.json", f"{folder}/b.yaml"]
        self.assertEqual(found, self.paths(folder))
        self.assertEqual([self.path], self.paths(f"{folder}/none"))
        with self.assertRaisesRegex(FileError, "Not a directory"):
            self.paths(f"{folder}/a.json")

    def test_files_that_cannot_be_read(self):
        with self.assertRaisesRegex(FileError, self.path):
            loader.load([], {self.path: files.read(self.path)})
        with open(self.path, "wb") as file:
            file.write(b'{"a": "\xff"}')
        with self.assertRaisesRegex(FileError, "utf-8"):
            loader.load([], {self.path: files.read(self.path)})
