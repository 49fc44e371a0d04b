# SPDX-License-Identifier: Apache-2.0
"""Who waits for a database that hangs, how long, and who is refused."""

import threading
import time
import unittest
from unittest import mock

from images_service import exception
from images_service.store.sql import limits

# Long enough for a loaded machine to tell a refusal at once from a wait.
PATIENCE = 1.0


class SlotsTestCase(unittest.TestCase):
    def setUp(self):
        patience = mock.patch.object(limits, "_PATIENCE", PATIENCE)
        patience.start()
        self.addCleanup(patience.stop)
        self.slots = limits.Slots(2)
        self.leave = threading.Event()
        self.threads = []
        self.addCleanup(self.end)

    def end(self):
        self.leave.set()
        for thread in self.threads:
            thread.join(10)

    def hold(self, count, error=None):
        """Let threads take slots and keep them."""
        taken = threading.Semaphore(0)

        def run():
            try:
                with self.slots.one():
                    taken.release()
                    self.leave.wait(30)
                    if error:
                        raise error
            except OSError:
                pass

        for _ in range(count):
            self.threads.append(threading.Thread(target=run))
            self.threads[-1].start()
        for _ in range(count):
            self.assertTrue(taken.acquire(timeout=10))

    def take(self):
        """Return the seconds in which a slot was had, or refused."""
        start = time.monotonic()
        try:
            with self.slots.one():
                return "had", time.monotonic() - start
        except exception.StoreUnavailable:
            return "refused", time.monotonic() - start


class TestSlots(SlotsTestCase):
    def test_threads_wait_while_slots_are_given_back(self):
        self.hold(2)
        threading.Timer(PATIENCE / 4, self.leave.set).start()
        outcome, seconds = self.take()
        self.assertEqual("had", outcome)
        self.assertLess(seconds, PATIENCE)

    def test_a_burst_after_a_long_rest_waits(self):
        time.sleep(PATIENCE * 1.2)
        self.test_threads_wait_while_slots_are_given_back()

    def test_a_server_that_hangs_is_waited_for_once(self):
        self.hold(2)
        with self.assertLogs("images_service", "ERROR") as logged:
            outcome, seconds = self.take()
            self.assertEqual("refused", outcome)
            self.assertGreater(seconds, PATIENCE * 0.9)
            for _ in range(50):
                outcome, seconds = self.take()
                self.assertEqual("refused", outcome)
                self.assertLess(seconds, PATIENCE / 2)
        self.assertEqual(1, len(logged.output))

    def test_free_slots_find_out_that_it_answers_again(self):
        self.hold(2, OSError("timed out"))
        with self.assertLogs("images_service", "ERROR"):
            self.take()
        self.end()
        # Both have failed late: it may hang still, and one slot is enough.
        self.leave.clear()
        self.hold(2)
        outcome, seconds = self.take()
        self.assertEqual("refused", outcome)
        self.assertLess(seconds, PATIENCE / 2)
        self.end()
        self.leave.clear()
        # A slot that was given back with an answer ends that.
        self.assertEqual("had", self.take()[0])
        self.hold(2)
        threading.Timer(PATIENCE / 4, self.leave.set).start()
        self.assertEqual("had", self.take()[0])

    def test_a_failure_in_time_is_an_answer(self):
        with self.assertRaises(OSError), self.slots.one():
            raise OSError("refused")
        self.hold(2)
        threading.Timer(PATIENCE / 4, self.leave.set).start()
        self.assertEqual("had", self.take()[0])


class TestOpener(unittest.TestCase):
    def setUp(self):
        self.opener = limits.Opener(1)
        self.answers = threading.Event()
        self.addCleanup(self.answers.set)
        self.closed = threading.Event()
        self.raw = mock.Mock()
        self.raw.close.side_effect = self.closed.set

    def connect(self):
        self.answers.wait(30)
        return self.raw

    def open(self, connect, seconds=10.0):
        return self.opener.open(connect, seconds)

    def give_up(self):
        with (
            self.assertLogs("images_service", "ERROR"),
            self.assertRaises(exception.StoreUnavailable),
        ):
            self.open(self.connect, 0.1)

    def test_a_connection_that_comes_too_late_is_closed(self):
        self.give_up()
        self.answers.set()
        self.assertTrue(self.closed.wait(10))

    def test_the_threads_that_wait_are_bounded(self):
        """Each request would leave one behind while a server hangs."""
        self.give_up()
        before = threading.active_count()
        for _ in range(10):
            self.give_up()
        self.assertEqual(before, threading.active_count())
        self.answers.set()
        self.assertTrue(self.closed.wait(10))
        deadline = time.monotonic() + 10
        while threading.active_count() >= before:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertIs(self.raw, self.open(self.connect))

    def test_the_drivers_error_is_raised(self):
        for _ in range(2):
            with self.assertRaisesRegex(OSError, "refused"):
                self.open(mock.Mock(side_effect=OSError("refused")))
