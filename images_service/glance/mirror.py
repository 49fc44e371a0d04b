# SPDX-License-Identifier: Apache-2.0
"""Keeps the store in step with Glance: hints, polls and sweeps.

Hints come from notifications. Polls find what has changed of late; sweeps
compare everything, and find what was deleted.
"""

from collections.abc import Callable
from collections.abc import Mapping
import datetime
import functools
import math
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

from images_service import exception
from images_service.glance import metrics
from images_service.glance import notifications
from images_service.glance import sync
from images_service.glance.client import Glance
from images_service.store.sql import engine
from images_service.store.sql import mirror_runs

LOG = log.getLogger(__name__)

POLL, SWEEP, MEMBERS, HINT = "poll", "sweep", "members", "hint"
# The longest time, in seconds, for which a thread doesn't look whether to end.
_TICK = 0.5
# Seconds before what Glance did not answer is asked again.
_RETRY = 1.0
# Seconds that threads get to end.
_END = 5.0
# Seconds between two times that a hint is saved as seen.
_SAVED = 5.0


class Mirror:
    """Runs until it is stopped.

    :param conf: its ``[mirror]`` group is read.
    :raises oslo_config.cfg.Error: the transport can't be used.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: engine.Database,
        glance: Glance,
        counts: metrics.Metrics | None = None,
    ) -> None:
        self._options = conf.mirror
        self._database = database
        self._counts = counts or metrics.Metrics()
        self._syncs = {
            kind: sync.Sync(
                database,
                glance,
                conf.mirror.workers,
                functools.partial(self._counts.image, kind),
            )
            for kind in (HINT, POLL, SWEEP)
        }
        self._hints = notifications.Hints()
        self._counts.waiting.set_function(lambda: len(self._hints))
        self._stopped = threading.Event()
        self._listener = None
        self._hinted_at = 0.0
        if conf.mirror.transport_url:
            endpoint = notifications.Endpoint(self._hints, threading.Event())
            self._listener = notifications.listen(conf, endpoint)
        else:
            LOG.warning(
                "[mirror] transport_url is not set: Glance is polled, and "
                "deletions are found by sweeps."
            )

    def stop(self) -> None:
        """Tell it to end."""
        self._stopped.set()

    def run(self) -> None:
        """Mirror until it is told to stop."""
        parts: list[Callable[[], None]] = [self._sweeps, self._polls]
        parts += [self._work] * self._options.workers
        threads = [
            threading.Thread(target=part, daemon=True) for part in parts
        ]
        if self._listener is not None:
            # It waits for the broker for as long as that is away.
            threading.Thread(target=self._listener.start, daemon=True).start()
        for thread in threads:
            thread.start()
        while not self._stopped.wait(_TICK):
            pass
        end = time.monotonic() + _END
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))

    def _work(self) -> None:
        """Store the images of hints."""
        while not self._stopped.is_set():
            hint = self._hints.take(_TICK)
            if hint is None:
                continue
            try:
                self._refresh(hint)
            except exception.Unavailable:
                # Nothing else may tell of it: others wait meanwhile.
                self._stopped.wait(_RETRY)
                self._hints.put(hint)
            except Exception:
                LOG.exception("Image %s can't be mirrored", hint.image_id)
            finally:
                self._hints.done(hint)

    def _refresh(self, hint: notifications.Hint) -> None:
        self._syncs[HINT].image(
            hint.image_id,
            may_delete=hint.deleted_at is not None,
            deleted_at=hint.deleted_at,
        )
        lag = (timeutils.utcnow() - hint.sent_at).total_seconds()
        self._counts.lag.observe(max(lag, 0))
        LOG.debug("Image %s is mirrored after %.3f s", hint.image_id, lag)
        now = time.monotonic()
        if now - self._hinted_at > _SAVED:
            self._hinted_at = now
            self._save(HINT, {"lag": round(lag, 3)})

    def _polls(self) -> None:
        """Store what has changed of late, again and again."""
        overlap = datetime.timedelta(seconds=self._options.poll_overlap)
        polled = timeutils.utcnow()

        def poll() -> None:
            nonlocal polled
            start = timeutils.utcnow()
            counts = self._syncs[POLL].poll(polled - overlap)
            polled = start
            self._succeed(POLL, counts)

        self._repeat(POLL, poll, self._options.poll_interval)

    def _sweeps(self) -> None:
        """Compare everything, again and again."""
        compared = -math.inf

        def sweep() -> None:
            nonlocal compared
            now = time.monotonic()
            members = now - compared >= self._options.members_interval
            counts = self._syncs[SWEEP].sweep(
                self._options.max_sweep_deletes, members=members
            )
            if members:
                compared = now
                self._succeed(MEMBERS, {})
            LOG.info("Compared with Glance: %s", dict(counts))
            self._succeed(SWEEP, counts)

        self._repeat(SWEEP, sweep, self._options.sweep_interval)

    def _repeat(
        self, kind: str, act: Callable[[], None], interval: float
    ) -> None:
        while not self._stopped.is_set():
            pause = interval
            try:
                act()
            except exception.Unavailable as error:
                LOG.error("The %s has failed: %s", kind, error)
                self._fail(kind, str(error))
                pause = min(interval, max(_RETRY, interval / 10))
            except sync.TooManyDeletes as error:
                LOG.critical("%s", error)
                self._fail(kind, str(error))
            except Exception:
                LOG.exception("The %s has failed", kind)
                self._fail(kind, "see the log")
            self._stopped.wait(pause)

    def _fail(self, kind: str, problem: str) -> None:
        self._counts.run(kind, good=False)
        self._save(f"{kind} failed", {"problem": problem})

    def _succeed(self, kind: str, result: Mapping[str, Any]) -> None:
        self._counts.run(kind, good=True)
        self._save(kind, result)

    def _save(self, kind: str, result: Mapping[str, Any]) -> None:
        try:
            mirror_runs.save(self._database, kind, result)
        except exception.StoreUnavailable:
            LOG.warning("What the mirror has done can't be saved")
