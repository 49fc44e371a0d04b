# SPDX-License-Identifier: Apache-2.0
"""What a service answers while something that it needs hangs.

A drill has clients that keep a ledger of their writes, and the probes of a
load balancer.
"""

import collections
import contextlib
import http.client
import json
import os
import random
import threading
import time
from typing import Any

CLIENTS = 16
# Seconds: of an answer, of a probe's answer, and until all is well again.
PATIENCE, PROBE_PATIENCE, RECOVERY = 6, 1, 5
# Seconds between two requests of a client, and between two probes.
PAUSE, PROBE_PAUSE = 0.4, 0.25
# Seconds of load before and after a fault.
WARM_UP = 3
# Seconds after which a client gives up; a drill measures what is slower than
# it may be.
GIVES_UP = 60
GOOD = (200, 204)
PROBES = ("/", "/healthcheck")

Answer = collections.namedtuple(
    "Answer", "action start end status headers text"
)


class Client:
    """Reads images, and writes one metadata item that is its own.

    ``possible`` is its ledger: the values that the item may have, which are
    the last one that was acknowledged and those that were sent after it.
    """

    def __init__(self, drill, number):
        self._drill = drill
        self._key = f"client-{number}"
        image = drill.images[number % len(drill.images)]
        self._image = f"/images/{image}"
        self._item = f"{self._image}/metadata/{self._key}"
        self._keeps = number % 2 == 0
        self._connection = None
        self._random = random.Random(number)
        self._value = 0
        self.possible: set[str | None] = {None}
        self.acknowledged = 0
        self.false = []

    def run(self):
        with contextlib.closing(self):
            while not self._drill.stopping.wait(PAUSE):
                self._random.choice((self.read, self.look, self.write))()

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def look(self):
        """Read images."""
        action, path = self._random.choice(
            (
                ("images:index", "/images?limit=5"),
                ("images:detail", "/images/detail"),
                ("images:show", self._image),
            )
        )
        self._send(action, "GET", path)

    def read(self):
        """Read the item; what was acknowledged is there."""
        single = None not in self.possible and self._value % 2
        if single:
            answer = self._send("image-metadata:show", "GET", self._item)
        else:
            path = f"{self._image}/metadata"
            answer = self._send("image-metadata:index", "GET", path)
        if answer.status == 200:
            (items,) = json.loads(answer.text).values()
            value = items.get(self._key)
            if value not in self.possible:
                self.false.append(f"{value} is none of {self.possible}")
        return answer

    def write(self):
        """Write the item in one of three ways."""
        self._value += 1
        value: str | None = str(self._value)
        method = self._random.choice(("PUT", "POST", "DELETE"))
        item = {self._key: value}
        sent: tuple[Any, ...]
        if method == "DELETE" and None not in self.possible:
            # It is there, so that 404 is a false answer.
            value = None
            sent = ("image-metadata:delete", "DELETE", self._item)
        elif method == "POST":
            body = {"metadata": item}
            path = f"{self._image}/metadata"
            sent = ("image-metadata:create", "POST", path, body)
        else:
            body = {"meta": item}
            sent = ("image-metadata:update", "PUT", self._item, body)
        self.possible.add(value)
        if self._send(*sent).status in GOOD:
            self.acknowledged += 1
            self.possible = {value}

    def _send(self, action, method, path, body=None):
        connection = self._connection or self._drill.connection()
        self._connection = None
        answer = self._drill.send(connection, action, method, path, body)
        if self._keeps and answer.status is not None:
            self._connection = connection
        else:
            connection.close()
        return answer


class Drill:
    """Clients and probes of one service.

    :param api: of ``processes``.
    :param token: of the clients.
    :param images: ids that the token may write; clients share them.
    :param spared: actions that the fault leaves alone, by their beginnings.
    :param connections: returns how many connections the database has from
        the service.
    :param most: how many it may have.
    """

    def __init__(
        self,
        name,
        api,
        token,
        images,
        spared=(),
        connections=lambda: 0,
        most=0,
    ):
        self.name = name
        self.images = images
        self.stopping = threading.Event()
        self._api = api
        self._token = token
        self._spared = spared
        self._connections = connections
        self._most = most
        self._answers = []
        self._probes = []
        self._clients = [Client(self, number) for number in range(CLIENTS)]
        self._begun = self._ended = 0.0
        self._highest = 0
        self.before = {}

    def connection(self, timeout=GIVES_UP):
        return http.client.HTTPConnection(
            "127.0.0.1", self._api.port, timeout=timeout
        )

    def send(self, connection, action, method, path, body=None):
        """Send a client's request, and note the answer."""
        answer = self._send(connection, action, method, f"/v2.1{path}", body)
        self._answers.append(answer)
        return answer

    def ask(self, method, path, body=None):
        """Send a request that is none of a client."""
        with contextlib.closing(self.connection(2 * PATIENCE)) as connection:
            return self.send(connection, method, method, path, body)

    def _send(self, connection, action, method, path, body=None):
        headers = {"X-Auth-Token": self._token}
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        start = time.monotonic()
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            found = response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            found = None, {}, repr(error)
        return Answer(action, start, time.monotonic(), *found)

    def _probe(self, path):
        due = time.monotonic()
        while not self.stopping.wait(max(0, due - time.monotonic())):
            due = time.monotonic() + PROBE_PAUSE
            with contextlib.closing(self.connection()) as connection:
                answer = self._send(connection, path, "GET", path)
            self._probes.append(answer)

    @contextlib.contextmanager
    def load(self):
        """Have the clients and the probes send requests."""
        self.stopping.clear()
        threads = [
            *(threading.Thread(target=c.run) for c in self._clients),
            *(threading.Thread(target=self._probe, args=(p,)) for p in PROBES),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()

    def descriptors(self):
        """Return how many files each worker has open."""
        return {
            pid: len(os.listdir(f"/proc/{pid}/fd"))
            for pid in self._api.workers()
        }

    def _grown(self, after):
        """Yield which workers have more files open than before."""
        # Each thread of a worker may have a connection to the database that
        # it did not need before.
        for pid, count in after.items():
            known = self.before.get(pid)
            if known is None or count > known + self._api.threads:
                yield f"worker {pid} had {known} descriptors, and has {count}"

    @contextlib.contextmanager
    def during(self, fault):
        """Note when a fault begins and ends."""
        with fault:
            self._begun = time.monotonic()
            yield
        self._ended = time.monotonic()

    def count_connections(self):
        self._highest = max(self._highest, self._connections())

    def problems(self):
        """Return what is wrong, a line each; print what was measured."""
        after = self.descriptors()
        found = [
            *self._slow(self._answers, PATIENCE),
            *self._slow(self._probes, PROBE_PATIENCE),
            *self._wrong(),
            *self._lost(),
            *self._grown(after),
        ]
        if self._highest > self._most:
            found.append(f"{self._highest} connections of {self._most}")
        refused = [a for a in self._answers if a.status == 503]
        if not refused:
            found.append("the fault has hit nothing")
        self._print(refused, after)
        return [f"{self.name}: {problem}" for problem in found]

    def _print(self, refused, after):
        well = [
            answer.end - self._ended
            for answer in self._answers
            if answer.end > self._ended and answer.status not in GOOD
        ]
        probes = {
            path: _slowest([a for a in self._probes if a.action == path])
            for path in PROBES
        }
        unknown = sum(len(client.possible) > 1 for client in self._clients)
        print(
            f"{self.name}: {len(self._answers)} requests, {len(refused)} "
            f"answered 503, the slowest took {_slowest(self._answers):.2f} s; "
            f"{len(self._probes)} probes, "
            f"{', '.join(f'{p} {s:.2f} s' for p, s in probes.items())}; "
            f"well after {max(well, default=0):.2f} s; "
            f"{sum(c.acknowledged for c in self._clients)} acknowledged "
            f"writes, {unknown} items unknown at the end; connections "
            f"{self._highest} of {self._most}; descriptors "
            f"{sorted(self.before.values())}, then {sorted(after.values())}"
        )

    def _slow(self, answers, seconds):
        """Yield which actions took longer than they may."""
        slow = collections.defaultdict(list)
        for answer in answers:
            if answer.end - answer.start > seconds:
                slow[answer.action].append(answer)
        for action, late in sorted(slow.items()):
            yield (
                f"{action} took more than {seconds} s {len(late)} times, "
                f"{_slowest(late):.2f} s at most"
            )

    def _wrong(self):
        """Yield which answers are none that the contract allows."""
        count: collections.Counter[tuple[str, str]] = collections.Counter()
        for answer in (*self._answers, *self._probes):
            problem = self._problem(answer)
            if problem is not None:
                count[answer.action, problem] += 1
        for (action, problem), times in count.most_common():
            yield f"{action} was answered {problem}, {times} times"

    def _problem(self, answer):
        """Return what is wrong with an answer, None where nothing is."""
        if answer.status in GOOD:
            return None
        found = f"{answer.status} {answer.text!r:.200}"
        if answer.end < self._begun:
            return f"{found} before the fault"
        if answer.start > self._ended + RECOVERY:
            return f"{found} long after the fault"
        spared = answer.action == "/" or answer.action.startswith(self._spared)
        if answer.status != 503 or spared:
            return found
        if answer.action == "/healthcheck" or "Retry-After" in answer.headers:
            return None
        return f"{found} without Retry-After"

    def _lost(self):
        """Yield what the ledgers show to be false."""
        for client in self._clients:
            answer = client.read()
            client.close()
            if answer.status != 200:
                yield f"the ledger can't be read: {answer}"
            yield from client.false


def _slowest(answers):
    return max(answer.end - answer.start for answer in answers)


def run(cases, seconds, meanwhile=lambda: None):
    """Run drills side by side; return what is wrong.

    :param cases: drills, and the fault of each: a context manager.
    :param seconds: how long the faults last.
    :param meanwhile: called when all faults have begun.
    """
    drills = [drill for drill, _ in cases]
    with _loaded(drills):
        time.sleep(WARM_UP)
    time.sleep(1)
    for drill in drills:
        drill.before = drill.descriptors()
    with _loaded(drills):
        time.sleep(WARM_UP)
        with contextlib.ExitStack() as faults:
            for drill, fault in cases:
                faults.enter_context(drill.during(fault))
            end = time.monotonic() + seconds
            meanwhile()
            time.sleep(max(0, end - time.monotonic()))
        time.sleep(RECOVERY)
        for _ in range(WARM_UP):
            time.sleep(1)
            for drill in drills:
                drill.count_connections()
    time.sleep(1)
    return [problem for drill in drills for problem in drill.problems()]


@contextlib.contextmanager
def _loaded(drills):
    with contextlib.ExitStack() as stack:
        for drill in drills:
            stack.enter_context(drill.load())
        yield
