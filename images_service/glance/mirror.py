# SPDX-License-Identifier: Apache-2.0
"""Keeps the store's images equal to Glance's, by hints, polls and sweeps.

Hints come from notifications. Polls find recent changes; sweeps compare all
images, and find deletions.
"""

from collections.abc import Callable
from collections.abc import Mapping
import datetime
import math
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

from images_service import exception
from images_service.glance import client
from images_service.glance import metrics
from images_service.glance import notifications
from images_service.glance import sync
from images_service.store.sql import engine
from images_service.store.sql import mirror_runs
from images_service.store.sql.reconciling import Outcome

LOG = log.getLogger(__name__)

POLL, SWEEP, MEMBERS, HINT = "poll", "sweep", "members", "hint"
# Seconds after which each thread checks again whether to end.
_TICK = 0.5
# Minimum and maximum seconds before the next attempt after a failure.
_RETRY, _RETRY_AT_MOST = 1.0, 60.0
# Number of attempts with growing intervals.
_TRIES = 5
# Seconds after which an image is asked for again, if only this shows that an
# older answer was stored.
_AGAIN = 3.0
# Seconds that threads get to end.
_END = 5.0
# Minimum seconds between two writes of the last hint.
_SAVED = 5.0


class _Part(sync.Sync):
    """Stores the images of hints, polls or sweeps, and counts them."""

    def __init__(
        self,
        mirror: "Mirror",
        kind: str,
        database: engine.Database,
        glance: client.Glance,
        workers: int,
    ) -> None:
        super().__init__(database, glance, workers)
        self.stopped = mirror.stopped
        self._mirror = mirror
        self._kind = kind

    def stored(self, outcome: Outcome, left_out: int) -> None:
        """Count an image."""
        self._mirror.counts.image(self._kind, outcome, left_out)

    def failed(self, image_id: str, *, may_delete: bool) -> None:
        """Add a hint, so that the image is asked for again."""
        deleted_at = timeutils.utcnow() if may_delete else None
        self._mirror.again(notifications.Hint(image_id, None, deleted_at))


class Mirror:
    """Runs until it is stopped.

    :param conf: its ``[mirror]`` group is read.
    :raises oslo_config.cfg.Error: the transport can't be used.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: engine.Database,
        glance: client.Glance,
        counts: metrics.Metrics | None = None,
    ) -> None:
        self.counts = counts or metrics.Metrics()
        glance.observe = self.counts.answer
        self.hints = notifications.Hints()
        self.stopped = threading.Event()
        self._options = conf.mirror
        self._database = database
        self.hinted, self._polled, self._swept = (
            _Part(self, kind, database, glance, conf.mirror.workers)
            for kind in (HINT, POLL, SWEEP)
        )
        self.counts.waiting.set_function(lambda: len(self.hints))
        self._listener: Any = None
        self._hinted_at = 0.0
        if conf.mirror.transport_url:
            endpoint = notifications.Endpoint(self.hints)
            self._listener = notifications.listen(conf, endpoint)
        else:
            LOG.warning(
                "[mirror] transport_url is not set: Glance is polled, and "
                "deletions are found by sweeps."
            )

    def stop(self) -> None:
        """Tell all threads to end."""
        self.stopped.set()

    def run(self) -> None:
        """Mirror until ``stop`` is called."""
        parts: list[Callable[[], None]] = [self._sweeps, self._polls]
        parts += [self._work] * self._options.workers
        threads = [
            threading.Thread(target=part, daemon=True) for part in parts
        ]
        if self._listener is not None:
            threading.Thread(target=self._listen, daemon=True).start()
        for thread in threads:
            thread.start()
        # A signal handler in this thread may set the event: wait could block.
        while not self.stopped.is_set():
            time.sleep(_TICK)
        end = time.monotonic() + _END
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))

    def _listen(self) -> None:
        """Receive notifications; wait for the broker while it is away."""
        while not self.stopped.is_set():
            try:
                self._listener.start()
                return
            except Exception:
                LOG.exception("Notifications can't be received")
                self.stopped.wait(_RETRY_AT_MOST)

    def again(self, hint: notifications.Hint) -> None:
        """Add a hint again, with a longer delay each time."""
        delay = (
            _RETRY_AT_MOST if hint.tries > _TRIES else _RETRY * 2**hint.tries
        )
        self.hints.put(hint._replace(tries=hint.tries + 1), delay)

    def _work(self) -> None:
        """Store the images of hints."""
        while not self.stopped.is_set():
            hint = self.hints.take(_TICK)
            if hint is None:
                continue
            try:
                self.refresh(hint)
            except exception.Unavailable:
                # It may be the only hint for this image.
                self.again(hint)
            except Exception:
                LOG.exception("Image %s can't be mirrored", hint.image_id)
                self.again(hint)
            finally:
                self.hints.done(hint)

    def refresh(self, hint: notifications.Hint) -> None:
        """Store the image of a hint.

        :raises Error: Glance or the database gives no usable answer.
        """
        self.hinted.image(
            hint.image_id,
            may_delete=hint.deleted_at is not None,
            deleted_at=hint.deleted_at,
        )
        if hint.looks_again:
            second = hint._replace(looks_again=False, sent_at=None)
            self.hints.put(second, _AGAIN)
        if hint.sent_at is None:
            return
        lag = (timeutils.utcnow() - hint.sent_at).total_seconds()
        self.counts.lag.observe(max(lag, 0))
        LOG.debug("Image %s is mirrored after %.3f s", hint.image_id, lag)
        now = time.monotonic()
        if now - self._hinted_at > _SAVED:
            self._hinted_at = now
            self._save(HINT, {"lag": round(lag, 3)})

    def _polls(self) -> None:
        """Store recent changes, repeatedly."""
        overlap = datetime.timedelta(seconds=self._options.poll_overlap)
        polled = timeutils.utcnow()

        def poll() -> None:
            nonlocal polled
            start = timeutils.utcnow()
            counts = self._polled.poll(polled - overlap)
            polled = start
            self._succeed(POLL, counts)

        self._repeat(POLL, poll, self._options.poll_interval)

    def _sweeps(self) -> None:
        """Compare all images, repeatedly."""
        compared = -math.inf

        def sweep() -> None:
            nonlocal compared
            now = time.monotonic()
            members = now - compared >= self._options.members_interval
            try:
                counts = self._swept.sweep(
                    self._options.max_sweep_deletes, members=members
                )
            except sync.TooManyDeletes:
                # All shares were compared before this error.
                compared = now if members else compared
                raise
            if members:
                compared = now
                self._succeed(MEMBERS, {})
            LOG.info("Compared with Glance: %s", dict(counts))
            self._succeed(SWEEP, counts)

        self._repeat(SWEEP, sweep, self._options.sweep_interval)

    def _repeat(
        self, kind: str, act: Callable[[], None], interval: float
    ) -> None:
        while not self.stopped.is_set():
            pause = interval
            try:
                act()
            except sync.Stopped:
                return
            except exception.Unavailable as error:
                reason = getattr(error, "reason", str(error))
                LOG.error("The %s has failed: %s", kind, reason)
                self._fail(kind, reason)
                pause = min(interval, max(_RETRY, interval / 10))
            except sync.TooManyDeletes as error:
                LOG.critical("%s", error)
                self._fail(kind, str(error))
            except Exception:
                LOG.exception("The %s has failed", kind)
                self._fail(kind, "see the log")
            self.stopped.wait(pause)

    def _fail(self, kind: str, problem: str) -> None:
        self.counts.run(kind, good=False)
        self._save(f"{kind} failed", {"problem": problem})

    def _succeed(self, kind: str, result: Mapping[str, Any]) -> None:
        self.counts.run(kind, good=True)
        self._save(kind, result)

    def _save(self, kind: str, result: Mapping[str, Any]) -> None:
        try:
            mirror_runs.save(self._database, kind, result)
        except exception.StoreUnavailable:
            LOG.warning("What the mirror has done can't be saved")
        except Exception:
            # The thread must continue.
            LOG.exception("What the mirror has done can't be saved")
