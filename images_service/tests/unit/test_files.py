# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from unittest import mock

import hypothesis
from hypothesis import strategies as st

from images_service import files
from images_service.tests import base

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
)


class ReloadableTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.make_folder(), "file")
        self.write("first")
        self.take_edits_at_once()

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def load(self, contents):
        text = contents[self.path].decode()
        if text == "refused":
            raise files.FileError(self.path, 7, "is refused")
        if text == "odd":
            raise ZeroDivisionError
        return text

    def watch(self, **hooks):
        return files.Reloadable(
            "Text", lambda: [self.path], self.load, **hooks
        )

    def set(self, **values):
        """Set figures of the module for one test."""
        for name, value in values.items():
            changed = mock.patch.object(files, f"_{name.upper()}", value)
            changed.start()
            self.addCleanup(changed.stop)

    def later(self, value, seconds=1.1):
        """Let time pass for a reloadable value."""
        value._looked -= seconds
        return value


class TestReloadable(ReloadableTestCase):
    def test_a_change_is_seen_after_a_second(self):
        value = self.watch()
        self.write("second")
        self.assertEqual("first", value.value)
        self.assertEqual("second", self.later(value).value)

    def test_nothing_is_read_again_without_a_change(self):
        value = self.watch()
        with mock.patch.object(value, "_load") as load:
            self.assertEqual("first", self.later(value).value)
        load.assert_not_called()

    def test_what_is_refused_changes_nothing_and_is_logged_once(self):
        for text, problem in (
            ("refused", f"{self.path}:7: is refused"),
            ("odd", f"{self.path}: ZeroDivisionError"),
        ):
            value = self.watch()
            self.write(text)
            with self.assertLogs("images_service", "ERROR") as logs:
                for _ in range(3):
                    self.assertEqual("first", self.later(value).value)
            self.assertEqual(1, len(logs.output))
            self.assertEqual(problem, value.problem)
            self.write("first")
            self.assertIsNone(self.later(value).problem)

    def test_what_is_refused_at_the_start_is_fatal(self):
        self.write("refused")
        with self.assertRaisesRegex(files.FileError, ":7: is refused"):
            self.watch()

    def test_a_file_that_changes_while_it_is_loaded(self):
        value = self.watch()

        def load(contents):
            self.write("third")
            return self.load(contents)

        self.write("second")
        with mock.patch.object(value, "_load", load):
            self.assertEqual("second", self.later(value).value)
        self.assertEqual("third", self.later(value).value)

    def test_one_thread_looks_and_the_others_go_on(self):
        value = self.watch()
        entered, leave = threading.Event(), threading.Event()

        def load(contents):
            entered.set()
            leave.wait(10)
            return self.load(contents)

        self.write("second")
        with mock.patch.object(value, "_load", load):
            thread = threading.Thread(target=lambda: self.later(value).value)
            thread.start()
            self.assertTrue(entered.wait(10))
            self.assertEqual("first", self.later(value).value)
            leave.set()
            thread.join(10)
        self.assertEqual("second", value.value)


class TestEditsInTheirWriting(ReloadableTestCase):
    def start_writing(self, text):
        """Truncate the file, write a part of it, and pause."""
        file = self.enterContext(open(self.path, "w", encoding="utf-8"))
        file.write(text)
        file.flush()
        return file

    def kernel_is_silent(self):
        silent = mock.patch.object(files, "is_written", return_value=None)
        silent.start()
        self.addCleanup(silent.stop)

    def test_what_was_just_written_is_left_alone(self):
        self.set(settled=0.3)
        value = self.watch()
        self.write("second")
        self.assertEqual("first", self.later(value).value)
        time.sleep(0.35)
        # It is looked at again soon, and not only after a second.
        self.assertEqual("second", self.later(value, 0.1).value)

    def test_an_edit_long_ago_is_taken_at_the_first_look(self):
        self.set(settled=0.1)
        value = self.watch()
        self.write("second")
        time.sleep(0.15)
        self.assertEqual("second", self.later(value).value)

    def test_edits_one_after_another_are_taken_all_the_same(self):
        self.set(settled=0.5)
        value = self.watch()
        for text in ("second", "third"):
            self.write(text)
            self.assertEqual("first", self.later(value).value)
        value._noticed -= 0.5
        self.write("fourth")
        self.assertEqual("fourth", self.later(value).value)

    def test_a_writer_that_pauses(self):
        value = self.watch()
        file = self.start_writing("half of ")
        for _ in range(3):
            self.assertEqual("first", self.later(value).value)
        file.write("it")
        file.flush()
        self.assertEqual("first", self.later(value).value)
        file.close()
        self.assertEqual("half of it", self.later(value).value)

    def test_a_writer_that_ends_after_the_file_is_read(self):
        value = self.watch()
        file = self.start_writing("half of ")

        def is_written(path):
            file.write("it")
            file.close()
            return False

        with mock.patch.object(files, "is_written", is_written):
            self.assertEqual("first", self.later(value).value)
        self.assertEqual("half of it", self.later(value).value)

    def test_a_writer_that_pauses_for_long_is_reported_once(self):
        value = self.watch()
        file = self.start_writing("half")
        self.assertIsNone(self.later(value).problem)
        value._noticed -= 3
        with self.assertLogs("images_service", "WARNING") as logs:
            for _ in range(3):
                problem = self.later(value).problem
        self.assertEqual(1, len(logs.output))
        self.assertEqual(
            f"{self.path}: a process has it open for writing", problem
        )
        file.close()
        self.assertIsNone(self.later(value).problem)

    def test_a_writer_that_changes_nothing(self):
        value = self.watch()
        file = self.start_writing("half")
        self.assertEqual("first", self.later(value).value)
        value._noticed -= 3
        self.assertEqual("first", self.later(value).value)
        file.seek(0)
        file.write("first")
        file.close()
        self.assertIsNone(self.later(value).problem)
        self.assertEqual("first", value.value)

    def test_a_start_waits_for_a_writer(self):
        file = self.start_writing("half of ")

        def end():
            time.sleep(0.2)
            file.write("it")
            file.close()

        thread = threading.Thread(target=end)
        thread.start()
        self.assertEqual("half of it", self.watch().value)
        thread.join()

    def test_a_start_does_not_wait_for_ever(self):
        self.set(patience=0.1)
        self.start_writing("half of ")
        with self.assertRaisesRegex(files.FileError, "open for writing"):
            self.watch()

    def test_what_may_be_half_of_an_edit_waits_where_the_kernel_is_silent(
        self,
    ):
        self.kernel_is_silent()
        self.set(patience=0)
        value = self.watch(lost=lambda old, new: len(new) < len(old))
        for text in ("f", "fi"):
            self.write(text)
            for _ in range(3):
                self.assertEqual("first", self.later(value).value)
        self.assertIn("may be incomplete", self.later(value).problem)
        self.set(cautious=0)
        self.assertEqual("fi", self.later(value).value)
        self.assertIsNone(value.problem)

    def test_what_is_no_half_does_not_wait(self):
        self.kernel_is_silent()
        value = self.watch(lost=lambda old, new: len(new) < len(old))
        self.write("second")
        self.assertEqual("second", self.later(value).value)

    def test_writers_are_not_disturbed(self):
        # The signal of a lease that they break must not end this process.
        code = (
            "import sys, time\n"
            "end = time.monotonic() + 1\n"
            "while time.monotonic() < end: open(sys.argv[1], 'r+').close()"
        )
        writer = subprocess.Popen([sys.executable, "-c", code, self.path])
        found = set()
        while writer.poll() is None:
            found.add(files.is_written(self.path))
        self.assertEqual(0, writer.returncode)
        self.assertEqual({True, False}, found)


class TestFilesThatAreNone(ReloadableTestCase):
    def replace(self, make):
        make(f"{self.path}.new")
        os.replace(f"{self.path}.new", self.path)

    def test_a_fifo_neither_hangs_nor_ends_the_looks(self):
        value = self.watch()
        self.replace(os.mkfifo)
        with self.assertLogs("images_service", "ERROR") as logs:
            for _ in range(3):
                self.assertEqual("first", self.later(value).value)
        self.assertEqual(1, len(logs.output))
        self.assertEqual(f"{self.path}: not a regular file", value.problem)
        with self.assertRaisesRegex(files.FileError, "not a regular file"):
            self.watch()
        os.unlink(self.path)
        self.write("second")
        self.assertEqual("second", self.later(value).value)
        self.assertIsNone(value.problem)

    def test_folders_devices_and_large_files(self):
        self.set(largest=10)
        for problem, make in (
            ("not a regular file", lambda path: os.symlink("/dev/zero", path)),
            ("Is a directory", lambda path: os.symlink("/", path)),
            ("larger than 10", lambda path: shutil.copy(__file__, path)),
        ):
            value = self.watch()
            self.replace(make)
            with self.assertLogs("images_service", "ERROR"):
                self.assertEqual("first", self.later(value).value)
            self.assertIn(problem, value.problem)
            os.unlink(self.path)
            self.write("first")

    def test_a_folder_of_files_that_cannot_be_listed(self):
        value = self.watch()

        def paths():
            raise files.FileError("policy.d", None, "Permission denied")

        with (
            mock.patch.object(value, "_paths", paths),
            self.assertLogs("images_service", "ERROR") as logs,
        ):
            for _ in range(3):
                self.assertEqual("first", self.later(value).value)
            self.assertEqual("policy.d: Permission denied", value.problem)
        self.assertEqual(1, len(logs.output))
        self.assertIsNone(self.later(value).problem)


class TestReadAll(base.TestCase):
    def test_an_edit_of_the_same_size_in_the_same_second_is_seen(self):
        path = f"{self.make_folder()}/a"
        seen = set()
        for text in ("xx", "yy", "x", ""):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            # A file system whose times are whole seconds.
            os.utime(path, (1, 1))
            seen.add(files.read_all([path])[path])
        os.unlink(path)
        seen.add(files.read_all([path])[path])
        self.assertEqual(5, len(seen))


class TestParseMap(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.make_folder(), "map.json")

    def read(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        return files.parse_map(self.path, files.read(self.path))

    @hypothesis.settings(deadline=None, database=None)
    @hypothesis.given(
        st.dictionaries(st.text(), values, max_size=5),
        st.sampled_from([None, 2, "\t"]),
    )
    def test_json_is_read_as_json(self, document, indent):
        text = json.dumps(document, indent=indent)
        entries = self.read(text)
        self.assertEqual(
            list(document.items()),
            [(name, value) for name, (_, value) in entries.items()],
        )
        if indent is not None:
            lines = text.split("\n")
            for name, (line, _) in entries.items():
                start = lines[line - 1].strip()
                self.assertTrue(start.startswith(json.dumps(name)), start)

    def test_which_files_are_complete(self):
        for expected, text in (
            (True, '{"a": "x"}'),
            (True, '\ufeff \n{"a": "x"}'),
            (False, "a: x\n"),
            (False, "# {\na: x\n"),
        ):
            self.assertEqual(expected, files.is_complete(text.encode()))
        self.assertTrue(files.is_complete(None))

    def test_names_in_values_have_no_line(self):
        for text in (
            '{"a": {"b": 1,\n"c": ["b", {"b": 2}]},\n"b": {"a": 3}}',
            'a: {b: 1,\n  c: [b, {b: 2}]}\n"b": {a: 3}',
        ):
            entries = self.read(text)
            self.assertEqual(["a", "b"], list(entries))
            self.assertEqual(1, entries["a"][0])
            self.assertEqual((3, {"a": 3}), entries["b"])
