# SPDX-License-Identifier: Apache-2.0
"""Limits how long requests wait for a remote service, and how many wait."""

from collections.abc import Callable
from concurrent import futures
import math
import queue
import threading
import time
from typing import TypeVar

from oslo_context import context

T = TypeVar("T")

# Seconds that most requests wait: a thread that waits serves no other request.
_MOMENT = 0.5
# Seconds for which a thread waits for another question. The start of a thread
# costs more than a question to memcached.
_IDLE = 1.0


class Refused(TimeoutError):
    """A question is not asked: too many requests wait for answers."""


class Guard:
    """Asks a remote service within a deadline.

    A separate thread asks each question, since the time-outs of clients limit
    neither the look-up of a name nor an answer that arrives byte by byte. Some
    requests wait until their deadline. Others wait for half a second, and are
    refused at once while the service is slow.

    :param timeout: seconds for one question.
    :param threads: maximum number of threads that ask; a service that sends
        its answer byte by byte keeps them busy.
    :param patient: number of requests that wait until their deadline.
    :param needed_by_all: True if every request needs an answer. Then all
        requests wait for the first answer of a new process, which takes long.
    """

    def __init__(
        self,
        timeout: float = math.inf,
        threads: int = 32,
        patient: int = 2,
        *,
        needed_by_all: bool = False,
    ) -> None:
        self._timeout = timeout
        self._patient = patient
        self._lock = threading.Lock()
        self._free_threads = threads
        self._waiting = 0
        # Threads that wait for questions, and their queues.
        self._idle: list[
            tuple[threading.Thread, queue.SimpleQueue[Callable[[], None]]]
        ] = []
        # None until the first question is answered, or is late.
        self._is_slow: bool | None = None if needed_by_all else False

    def call(self, question: Callable[[], T], deadline: float) -> T:
        """Return the answer to a question, or raise its error.

        :param deadline: deadline of the request, by the monotonic clock.
        :raises TimeoutError: there is no answer in time.
        :raises Refused: the question is not asked.
        """
        started = time.monotonic()
        with self._lock:
            is_first = self._is_slow is None
            must_hurry = not is_first and self._waiting >= self._patient
            if not self._free_threads or (must_hurry and self._is_slow):
                raise Refused("too many requests wait for it")
            self._free_threads -= 1
            self._waiting += 1
        seconds = max(0.0, min(self._timeout, deadline - started))
        if must_hurry:
            seconds = min(seconds, _MOMENT)
        answer: futures.Future[T] = futures.Future()
        try:
            self._start(question, answer)
            futures.wait([answer], seconds)
            if not answer.done():
                raise TimeoutError(f"no answer within {seconds:.1f} seconds")
            return answer.result()
        finally:
            with self._lock:
                self._waiting -= 1
                late = time.monotonic() - started >= _MOMENT
                self._is_slow = not answer.done() or (late and not is_first)

    def _start(
        self, question: Callable[[], T], answer: futures.Future[T]
    ) -> None:
        caller = context.get_current()

        def ask() -> None:
            # The log lines of this thread carry the request's id.
            if caller is not None:
                caller.update_store()
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)
            finally:
                self._free()

        with self._lock:
            while self._idle:
                thread, questions = self._idle.pop()
                # A forked process does not have the threads of its parent.
                if thread.is_alive():
                    questions.put(ask)
                    return
        questions = queue.SimpleQueue()
        questions.put(ask)
        # The threads of a pool would prevent the process from ending.
        try:
            threading.Thread(
                target=self._ask, args=[questions], daemon=True
            ).start()
        except RuntimeError:
            self._free()
            raise

    def _free(self) -> None:
        with self._lock:
            self._free_threads += 1

    def _ask(self, questions: queue.SimpleQueue[Callable[[], None]]) -> None:
        """Ask the questions of a queue, until none comes for a while."""
        idle = threading.current_thread(), questions
        while True:
            try:
                questions.get(timeout=_IDLE)()
            except queue.Empty:
                with self._lock:
                    if idle in self._idle:
                        self._idle.remove(idle)
                        return
                # Another thread has just put a question there.
                continue
            with self._lock:
                self._idle.append(idle)
