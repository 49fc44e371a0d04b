# SPDX-License-Identifier: Apache-2.0
"""Requests without a pause, while a server reloads or ends."""

import collections
import http.client
import threading
import time


class Load:
    """Threads that send requests, each on new connections and on kept ones.

    A request is lost if its connection was made and no whole answer came. On
    a connection that was kept the server may have said goodbye at the same
    time; such a request is sent again, on a new one, as clients do.

    :param port: of a server on loopback.
    :param path: of what is asked for.
    :param headers: of each request.
    """

    def __init__(self, port, path, headers, threads=4):
        self._port = port
        self._path = path
        self._headers = headers
        self._stopped = threading.Event()
        self.answered = 0
        self.lost = []
        self.refused = 0
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number % 2 == 0,))
            for number in range(threads)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def more(self, count, patience=30):
        """Wait until so many more requests were answered."""
        goal = self.answered + count
        deadline = time.monotonic() + patience
        while self.answered < goal:
            if time.monotonic() > deadline:
                lost = collections.Counter(self.lost)
                raise AssertionError(f"No answers any more: {lost}")
            time.sleep(0.01)

    def _run(self, keeps):
        kept = None
        while not self._stopped.is_set():
            fresh = kept is None
            connection = kept or http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=30
            )
            kept = None
            try:
                if fresh:
                    connection.connect()
            except OSError:
                # Nobody listens: nothing was asked, and nothing is lost.
                with self._lock:
                    self.refused += 1
                time.sleep(0.05)
                continue
            try:
                connection.request("GET", self._path, headers=self._headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh:
                    self._count(repr(error))
                continue
            good = response.status == 200
            self._count(None if good else f"status {response.status}")
            if keeps and not response.will_close:
                kept = connection
            else:
                connection.close()
        if kept is not None:
            kept.close()

    def _count(self, problem):
        with self._lock:
            if problem is None:
                self.answered += 1
            else:
                self.lost.append(problem)
