# SPDX-License-Identifier: Apache-2.0
"""Turns Glance's notifications into hints: ids of images to ask for.

A notification is only a hint, since it may come before Glance has stored the
change, and lacks attributes.
"""

import contextlib
import datetime
import threading
import time
from typing import Any
from typing import NamedTuple
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

if TYPE_CHECKING:
    import oslo_messaging

LOG = log.getLogger(__name__)

_DELETE = "image.delete"
_MEMBERS = "image.member."


class Hint(NamedTuple):
    """An image that has changed in Glance.

    :ivar image_id: the id, as Glance writes it.
    :ivar sent_at: time of the notification, in UTC; None if there was none.
    :ivar deleted_at: time of the deletion, None if the image was not deleted.
    :ivar looks_again: whether the image is asked for again, later.
    :ivar tries: number of failed attempts.
    """

    image_id: str
    sent_at: datetime.datetime | None
    deleted_at: datetime.datetime | None = None
    looks_again: bool = False
    tries: int = 0


class Hints:
    """A queue of hints; only one worker has an image at a time."""

    def __init__(self) -> None:
        # Id -> time, by the monotonic clock, at which the hint is due; hint.
        self._waiting: dict[str, tuple[float, Hint]] = {}
        self._busy: set[str] = set()
        self._changed = threading.Condition()

    def put(self, hint: Hint, delay: float = 0) -> None:
        """Add a hint; merge it with a waiting hint of the same image.

        :param delay: minimum seconds for which it waits.
        """
        key = hint.image_id.lower()
        due = time.monotonic() + delay
        with self._changed:
            if key in self._waiting:
                known_due, known = self._waiting[key]
                due = min(due, known_due)
                hint = hint._replace(
                    # The lag counts from the first notification.
                    sent_at=known.sent_at or hint.sent_at,
                    # A deleted image stays deleted.
                    deleted_at=hint.deleted_at or known.deleted_at,
                    looks_again=hint.looks_again or known.looks_again,
                )
            self._waiting[key] = due, hint
            self._changed.notify()

    def take(self, seconds: float) -> Hint | None:
        """Return a hint that is due, for an image that no worker has.

        :param seconds: maximum seconds to wait for a hint.
        :returns: None if no hint is due in time.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                now = time.monotonic()
                soonest = deadline
                for key, (due, hint) in self._waiting.items():
                    if key in self._busy:
                        continue
                    if due <= now:
                        del self._waiting[key]
                        self._busy.add(key)
                        return hint
                    soonest = min(soonest, due)
                if now >= deadline:
                    return None
                self._changed.wait(max(0, soonest - now))

    def done(self, hint: Hint) -> None:
        """Note that a worker has finished an image."""
        with self._changed:
            self._busy.discard(hint.image_id.lower())
            self._changed.notify()

    def __len__(self) -> int:
        """Return the number of waiting images."""
        return len(self._waiting)


class Endpoint:
    """Turns notifications into hints, for oslo.messaging."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints

    def info(
        self,
        _context: Any,
        _publisher: str,
        event: str,
        payload: Any,
        metadata: Any,
    ) -> None:
        """Receive a notification."""
        hint = _hint(event, payload, metadata)
        if hint is not None:
            self._hints.put(hint)

    # Glance reports a failed upload as an error; the payload is a text.
    error = info


def _hint(event: str, payload: Any, metadata: Any) -> Hint | None:
    """Return the hint of a notification, None if it names no image."""
    if not isinstance(payload, dict):
        return None
    # Some releases call the id of a member's image "id".
    image_id = payload.get("image_id") or payload.get("id")
    if not isinstance(image_id, str):
        return None
    now = timeutils.utcnow()
    deleted_at = None
    if event == _DELETE:
        deleted_at = _time(payload.get("deleted_at")) or now
    sent = metadata.get("timestamp") if isinstance(metadata, dict) else None
    # Another process may store an older answer after the answer to this hint,
    # and polls find neither deletions nor shares.
    looks_again = event == _DELETE or event.startswith(_MEMBERS)
    return Hint(image_id, _time(sent) or now, deleted_at, looks_again)


def _time(text: Any) -> datetime.datetime | None:
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return timeutils.normalize_time(timeutils.parse_isotime(text))
    return None


def listen(
    conf: cfg.ConfigOpts, endpoint: Endpoint
) -> "oslo_messaging.notify.listener.NotificationServer":
    """Return a listener that calls an endpoint once it is started.

    :param conf: its ``[mirror]`` group is read.
    :raises oslo_config.cfg.Error: oslo.messaging is not installed, or the
        transport's URL is wrong.
    """
    try:
        import oslo_messaging
    except ImportError as error:
        raise cfg.Error(
            "[mirror] transport_url is set, and oslo.messaging is not "
            "installed. Run pip install '.[mirror]'."
        ) from error
    options = conf.mirror
    try:
        transport = oslo_messaging.get_notification_transport(
            conf, url=options.transport_url
        )
    except oslo_messaging.exceptions.MessagingException as error:
        raise cfg.Error(f"[mirror] transport_url: {error}") from error
    targets = [
        oslo_messaging.Target(topic=topic, exchange=options.exchange)
        for topic in options.topics
    ]
    return oslo_messaging.get_notification_listener(
        transport,
        targets,
        [endpoint],
        executor="threading",
        pool=options.pool,
    )
