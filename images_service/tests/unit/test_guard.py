# SPDX-License-Identifier: Apache-2.0
from concurrent import futures
import contextlib
import queue
import threading
import time
from unittest import mock
import weakref

from oslo_context import context

from images_service import guard
from images_service.tests import base


class TestGuard(base.TestCase):
    def setUp(self):
        super().setUp()
        self.guard = guard.Guard(0.3)
        self.end = threading.Event()
        self.addCleanup(self.end.set)

    def call(self, question, seconds=60):
        return self.guard.call(question, time.monotonic() + seconds)

    def wait_until(self, condition):
        deadline = time.monotonic() + 10
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)

    def hang(self):
        self.end.wait(30)
        return True

    @contextlib.contextmanager
    def fails_within(self, low, high, kind=TimeoutError):
        start = time.monotonic()
        with self.assertRaises(kind):
            yield
        passed = time.monotonic() - start
        self.assertLessEqual(low, passed)
        self.assertLess(passed, high)

    @contextlib.contextmanager
    def two_that_wait(self):
        """Let two requests wait as long as they like."""
        self.guard = guard.Guard(20)
        with self.two_that_wait_more():
            yield

    @contextlib.contextmanager
    def two_that_wait_more(self):
        """The same, of the guard as it is."""
        threads = [
            threading.Thread(target=self.call, args=(self.hang,))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while self.guard._waiting < 2:
            time.sleep(0.01)
        yield
        self.end.set()
        for thread in threads:
            thread.join()

    def test_answers(self):
        for answer in (True, False):
            self.assertIs(answer, self.call(lambda a=answer: a))

    def test_a_time_out(self):
        with self.fails_within(0.3, 5):
            self.call(self.hang)

    def test_the_requests_own_deadline(self):
        self.guard = guard.Guard()
        with self.fails_within(0.1, 5):
            self.call(self.hang, 0.1)
        with self.fails_within(0, 5):
            self.call(self.hang, -1)

    def test_errors_are_passed_on(self):
        with self.assertRaises(ZeroDivisionError):
            self.call(lambda: 1 // 0)

    def test_two_wait_for_long_and_those_beside_them_for_a_moment(self):
        with self.two_that_wait():
            self.assertTrue(self.call(lambda: True))
            with self.fails_within(0.4, 5):
                self.call(self.hang)

    def test_two_at_a_time_while_the_service_is_slow(self):
        with self.two_that_wait():
            with self.fails_within(0.4, 5):
                self.call(self.hang)
            for _ in range(3):
                with self.fails_within(0, 0.4, guard.Refused):
                    self.call(lambda: True)
        self.assertTrue(self.call(lambda: True))

    def test_a_process_that_had_just_started_refused_some(self):
        """Its first question takes longer than others may wait."""
        self.guard = guard.Guard(20, needed_by_all=True)

        def ask():
            time.sleep(0.7)
            return True

        with futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(self.call, [ask] * 8))
        self.assertEqual([True] * 8, found)
        # None of them has made the service a slow one.
        with self.two_that_wait_more():
            self.assertTrue(self.call(lambda: True))

    def test_a_service_that_hangs_from_the_start(self):
        self.guard = guard.Guard(0.1, needed_by_all=True)
        for _ in range(2):
            with self.fails_within(0.1, 5):
                self.call(self.hang)
        with (
            self.two_that_wait_more(),
            self.fails_within(0, 0.4, guard.Refused),
        ):
            self.call(lambda: True)

    def test_threads_that_hang_are_bounded_and_come_back(self):
        self.guard = guard.Guard(0.01, threads=3)
        for kind in (TimeoutError,) * 3 + (guard.Refused,) * 2:
            with self.assertRaises(kind):
                self.call(self.hang)
        self.end.set()
        self.wait_until(lambda: self.guard._free_threads == 3)
        self.guard._timeout = 20
        self.assertTrue(self.call(lambda: True))

    def test_no_thread_can_be_started(self):
        with (
            mock.patch.object(
                threading.Thread, "start", side_effect=RuntimeError
            ),
            self.assertRaises(RuntimeError),
        ):
            self.call(lambda: True)
        self.assertEqual(
            (32, 0), (self.guard._free_threads, self.guard._waiting)
        )

    def test_each_question_started_a_thread(self):
        """This took longer than to ask memcached."""
        first = self.call(threading.current_thread)
        time.sleep(0.1)
        self.assertIs(first, self.call(threading.current_thread))
        with self.two_that_wait():
            self.assertTrue(self.call(lambda: True))

    def test_a_thread_that_finds_no_other_question_ends(self):
        with mock.patch.object(guard, "_IDLE", 0.01):
            thread = self.call(threading.current_thread)
            thread.join(10)
            self.assertFalse(thread.is_alive())
            self.assertTrue(self.call(lambda: True))

    def test_a_thread_that_waits_keeps_no_answer(self):
        class Answer:
            pass

        answer = weakref.ref(self.call(Answer))
        self.wait_until(lambda: answer() is None)
        self.assertIsNone(answer())

    def test_a_thread_that_a_fork_has_not_copied(self):
        self.guard._idle.append((threading.Thread(), queue.SimpleQueue()))
        self.assertTrue(self.call(lambda: True))

    def test_questions_that_arrive_while_threads_end(self):
        self.guard = guard.Guard(10)
        with mock.patch.object(guard, "_IDLE", 0.0005):
            for number in range(2_000):
                self.assertEqual(number, self.call(lambda n=number: n))
                time.sleep(0.0005)

    def test_lines_of_the_log_carry_the_requests_id(self):
        self.guard = guard.Guard(20)
        caller = context.RequestContext()
        self.assertIs(caller, self.call(context.get_current))
