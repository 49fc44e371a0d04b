# SPDX-License-Identifier: Apache-2.0
import os
import threading
import time
from unittest import mock

from images_service import watched
from images_service.tests import base


class WatchedTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.make_folder(), "file")
        self.write("first")

    def write(self, text, age=1):
        """Write the file, as if that were some seconds ago."""
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        then = time.time() - age
        os.utime(self.path, (then, then))

    def read(self, paths):
        with open(paths[0], encoding="utf-8") as file:
            text = file.read()
        if text == "refused":
            raise watched.FileError(self.path, 7, "is refused")
        if text == "odd":
            raise ZeroDivisionError
        return text

    def watch(self):
        return watched.Watched("Text", lambda: [self.path], self.read)

    def later(self, value, seconds=1.1):
        """Let time pass for a watched value."""
        value._looked -= seconds
        return value


class TestWatched(WatchedTestCase):
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
        with self.assertRaisesRegex(watched.FileError, ":7: is refused"):
            self.watch()

    def test_a_file_that_is_just_being_written_is_left_alone(self):
        value = self.watch()
        self.write("half of the sec", age=0)
        self.assertEqual("first", self.later(value).value)
        # It isn't forgotten for a second, either.
        self.write("second")
        self.assertEqual("second", self.later(value, 0.15).value)

    def test_a_file_that_never_rests_is_taken_all_the_same(self):
        value = self.watch()
        self.write("second", age=0)
        self.assertEqual("first", self.later(value).value)
        value._noticed -= 0.6
        self.write("third", age=0)
        self.assertEqual("third", self.later(value).value)

    def test_a_time_of_change_to_come_does_not_keep_a_file_out(self):
        value = self.watch()
        self.write("second", age=-1000)
        self.assertEqual("second", self.later(value).value)

    def test_a_file_that_changes_while_it_is_read(self):
        value = self.watch()

        def read(paths):
            text = self.read(paths)
            self.write("third")
            return text

        self.write("second")
        with mock.patch.object(value, "_load", read):
            self.assertEqual("first", self.later(value).value)
        self.assertEqual("third", self.later(value).value)

    def test_one_thread_looks_and_the_others_go_on(self):
        value = self.watch()
        entered, leave = threading.Event(), threading.Event()

        def read(paths):
            entered.set()
            leave.wait(10)
            return self.read(paths)

        self.write("second")
        with mock.patch.object(value, "_load", read):
            thread = threading.Thread(target=lambda: self.later(value).value)
            thread.start()
            self.assertTrue(entered.wait(10))
            self.assertEqual("first", self.later(value).value)
            leave.set()
            thread.join(10)
        self.assertEqual("second", value.value)


class TestFingerprint(base.TestCase):
    def test_every_kind_of_change(self):
        folder = self.make_folder()
        path, other = f"{folder}/a", f"{folder}/b"
        seen = {watched.fingerprint([path])}

        def changed():
            found = watched.fingerprint([path])
            self.assertNotIn(found, seen)
            seen.add(found)

        for text in ("x", "yy"):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            changed()
        os.utime(path, (1, 1))
        changed()
        with open(other, "w", encoding="utf-8") as file:
            file.write("yy")
        os.utime(other, (1, 1))
        os.replace(other, path)
        changed()
