# SPDX-License-Identifier: Apache-2.0
"""Writes to Glance at a steady rate, and how late the store has them."""

import collections
from concurrent import futures
import json
import random
import threading
import time
import uuid

import requests
import sqlalchemy as sa

from images_service.store.sql import schema
from images_service.tests.cloud import cloud

# Kind of write -> its share.
KINDS = {"create": 15, "step": 25, "patch": 40, "member": 10, "delete": 10}
# What the step after a status is: a write of its own kind, and its result.
STEPS = {
    "queued": ("upload", "active"),
    "active": ("deactivate", "deactivated"),
    "deactivated": ("reactivate", "active"),
}
# Images that are there before the writes start, and threads that write.
IMAGES, THREADS = 40, 8
# Seconds between two looks at the store.
PAUSE = 0.02

# What the store has of an image that isn't deleted.
State = collections.namedtuple("State", "status seq members")
# What is written; the image's status then, None where it is gone; whether a
# ``State``, or None, has it; the request, and when it was answered.
Write = collections.namedtuple(
    "Write", "kind image_id after is_stored request end", defaults=(None,)
)


def _exists(state):
    return state is not None


class Load:
    """Writers of Glance, and a meter of the store.

    Nobody writes an image before the store has what was written to it last,
    so no write hides another from the meter.

    :param glance: sends a tenant's requests.
    :param database: of the store.
    :ivar lags: seconds from Glance's answer until the store had a write, by
        its kind.
    :ivar refused: what Glance did not acknowledge.
    """

    def __init__(self, glance, database, seed=1):
        self._glance = glance
        self._database = database
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        # Image -> its status.
        self._free: dict[str, str] = {}
        self._pending: dict[str, Write] = {}
        self._stopping = threading.Event()
        self._sequence = 0
        self.lags = collections.defaultdict(list)
        self.refused = []

    def run(self, seconds, rate, patience, meanwhile=lambda: None):
        """Write for some seconds; return the writes that are never stored.

        :param rate: writes a second.
        :param patience: seconds until the last write must be stored.
        :param meanwhile: is called beside it and must return in time.
        """
        meter = threading.Thread(target=self._measure)
        meter.start()
        try:
            with futures.ThreadPoolExecutor(THREADS + 1) as pool:
                for _ in range(IMAGES):
                    pool.submit(self._create, "first").result()
                beside = pool.submit(meanwhile)
                start = time.monotonic()
                writes = []
                for number in range(int(seconds * rate)):
                    due = start + number / rate
                    time.sleep(max(0, due - time.monotonic()))
                    writes.append(pool.submit(self._write))
                for write in (*writes, beside):
                    write.result()
            deadline = time.monotonic() + patience
            while self._pending and time.monotonic() < deadline:
                time.sleep(PAUSE)
        finally:
            self._stopping.set()
            meter.join()
        return [(each.kind, each.image_id) for each in self._pending.values()]

    def report(self):
        """Return a table of the lags, in milliseconds."""
        lines = ["kind          n    p50    p99    max"]
        every = [lag for lags in self.lags.values() for lag in lags]
        for kind, lags in (*sorted(self.lags.items()), ("all", every)):
            low, high = (self.percentile(lags, part) for part in (50, 99))
            numbers = (1000 * value for value in (low, high, max(lags)))
            lines.append(
                f"{kind:11s}{len(lags):4d}"
                + "".join(f"{number:7.0f}" for number in numbers)
            )
        return "\n".join(lines)

    @staticmethod
    def percentile(lags, part):
        return sorted(lags)[min(len(lags) - 1, len(lags) * part // 100)]

    def worst(self, *kinds, part=99):
        """Return a percentile of the lags of some kinds, in seconds."""
        lags = [
            lag
            for kind, lags in self.lags.items()
            for lag in lags
            if kind in kinds or not kinds
        ]
        return self.percentile(lags, part)

    def _write(self):
        (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
        with self._lock:
            image_id = None
            if kind != "create" and self._free:
                image_id = self._random.choice(list(self._free))
                status = self._free.pop(image_id)
        if image_id is None:
            self._create("create")
        elif kind == "step":
            self._step(image_id, status)
        else:
            getattr(self, f"_{kind}")(image_id, status)

    def _next(self):
        with self._lock:
            self._sequence += 1
            return str(self._sequence)

    def _create(self, kind):
        image_id, seq = str(uuid.uuid4()), self._next()
        document = {
            "id": image_id,
            "name": f"image {seq}",
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "shared",
            "seq": seq,
        }
        request = ("POST", "/v2/images", document)
        self._send(Write(kind, image_id, "queued", _exists, request))

    def _step(self, image_id, status):
        kind, after = STEPS[status]
        request: tuple = ("POST", f"/v2/images/{image_id}/actions/{kind}")
        if kind == "upload":
            request = ("PUT", f"/v2/images/{image_id}/file", b"data")
        self._send(
            Write(
                kind,
                image_id,
                after,
                lambda state: _exists(state) and state.status == after,
                request,
            )
        )

    def _patch(self, image_id, status):
        seq = self._next()
        operation = {"op": "add", "path": "/seq", "value": seq}
        self._send(
            Write(
                "patch",
                image_id,
                status,
                lambda state: _exists(state) and state.seq == seq,
                ("PATCH", f"/v2/images/{image_id}", [operation]),
            )
        )

    def _member(self, image_id, status):
        member = uuid.uuid4().hex
        path = f"/v2/images/{image_id}/members"
        self._send(
            Write(
                "member",
                image_id,
                status,
                lambda state: _exists(state) and member in state.members,
                ("POST", path, {"member": member}),
            )
        )

    def _delete(self, image_id, _status):
        request = ("DELETE", f"/v2/images/{image_id}")
        self._send(
            Write("delete", image_id, None, lambda s: not _exists(s), request)
        )

    def _send(self, write):
        """Send Glance a write, and note it where Glance acknowledges it."""
        types = {
            "upload": "application/octet-stream",
            "patch": cloud.JSON_PATCH,
        }
        try:
            response = self._glance.request(
                *write.request, kind=types.get(write.kind)
            )
        except requests.RequestException as error:
            # Whether it was done nobody knows, so the image is left alone.
            self.refused.append((write.kind, write.image_id, repr(error)))
            return
        if response.status_code >= 300:
            self.refused.append((write.kind, write.image_id, response.text))
            return
        with self._lock:
            self._pending[write.image_id] = write._replace(
                end=time.monotonic()
            )

    def _measure(self):
        while not self._stopping.wait(PAUSE):
            states = self._states()
            now = time.monotonic()
            with self._lock:
                for write in list(self._pending.values()):
                    if not write.is_stored(states.get(write.image_id)):
                        continue
                    del self._pending[write.image_id]
                    if write.after is not None:
                        self._free[write.image_id] = write.after
                    if write.kind != "first":
                        late = max(0, now - write.end)
                        self.lags[write.kind].append(late)

    def _states(self):
        images, members = schema.images, schema.image_members
        shares = collections.defaultdict(set)
        with self._database.writer.connect() as connection:
            for row in connection.execute(sa.select(members)):
                shares[row.image_id].add(row.member)
            return {
                row.id: State(
                    row.status,
                    json.loads(row.metadata).get("seq"),
                    shares[row.id],
                )
                for row in connection.execute(
                    sa.select(images).where(images.c.deleted_at.is_(None))
                )
            }
