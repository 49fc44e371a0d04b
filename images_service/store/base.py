# SPDX-License-Identifier: Apache-2.0
"""The interface of stores, without SQL and HTTP.

A change is optimistic: an action reads an image, checks it, and writes only if
the image is still the same. If another change came first, the whole action
runs again.
"""

import abc
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import contextvars
import dataclasses
import math
import random
import time
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from oslo_log import log

from images_service import exception
from images_service import model

LOG = log.getLogger(__name__)

R = TypeVar("R")

# Seconds for all runs of an action, with all their queries.
TIME_LIMIT = 4.0
# Seconds from the arrival of a request to the end of its action, and those
# that must be left at the action's start: a statement that its deadline ends
# costs the connection.
_REQUEST_LIMIT, _AT_LEAST = 5.0, 1.0
# The longest pause before an action is run again, in seconds.
_PAUSE = 0.02


class Changed(Exception):
    """An image has changed since an action read it."""


class _Action(NamedTuple):
    """An action that runs, for the first time or again."""

    begun: float
    held: dict[Hashable, Any]
    stack: contextlib.ExitStack


_ACTION: contextvars.ContextVar[_Action | None] = contextvars.ContextVar(
    "action", default=None
)


def begun() -> float:
    """Return the start of this action; outside of actions, the time now."""
    action = _ACTION.get()
    return time.monotonic() if action is None else action.begun


def deadline() -> float:
    """Return the deadline of this action, by the monotonic clock.

    Outside of actions, it is infinite.
    """
    action = _ACTION.get()
    return math.inf if action is None else action.begun + TIME_LIMIT


def hold(
    key: Hashable, make: Callable[[], contextlib.AbstractContextManager[R]]
) -> R:
    """Enter a context, which stays open until the last run of the action ends.

    :param key: a second call with the same key returns the first result.
    :raises RuntimeError: no action runs.
    """
    action = _ACTION.get()
    if action is None:
        raise RuntimeError("no action runs")
    if key not in action.held:
        action.held[key] = action.stack.enter_context(make())
    held: R = action.held[key]
    return held


def retried(act: Callable[[], R], arrived: float = math.inf) -> R:
    """Run an action until it does not raise ``Changed``; return its result.

    All runs share one time limit.

    :param arrived: when its request arrived, by the monotonic clock. The time
        that the request has waited for a thread, Keystone and remote checks is
        part of its limit.
    :raises StoreUnavailable: the request has waited for too long, or other
        changes come first for too long.
    """
    now, end = time.monotonic(), arrived + _REQUEST_LIMIT
    if now > end - _AT_LEAST:
        LOG.error("A request has waited for %.1f seconds.", now - arrived)
        raise exception.StoreUnavailable
    begin = min(now, end - TIME_LIMIT)
    stack = contextlib.ExitStack()
    token = _ACTION.set(_Action(begin, {}, stack))
    try:
        while True:
            start = time.monotonic()
            try:
                return act()
            except Changed as error:
                now = time.monotonic()
                # The next run may wait for a lock as long as this one did.
                if now + (now - start) > begin + TIME_LIMIT:
                    raise exception.StoreUnavailable from error
            # Random, so that one of several writers comes first.
            time.sleep(random.uniform(0, _PAUSE))  # noqa: S311  # nosec B311
    finally:
        stack.close()
        _ACTION.reset(token)


class ImageStore(abc.ABC):
    """Images, their metadata and their shares.

    Every method may raise ``StoreUnavailable``.  Methods that take a
    viewer hide images that the viewer may not see.
    """

    @abc.abstractmethod
    def get(self, image_id: str, viewer: model.Viewer) -> model.Image:
        """Return one image that is not deleted.

        :param image_id: any text; a UUID in any letter case finds an image.
        :raises ImageNotFound: the image does not exist, or is not visible.
        """

    @abc.abstractmethod
    def page(
        self, query: model.ListQuery, viewer: model.Viewer, kind: type[model.T]
    ) -> model.Page[model.T]:
        """Return a page of images, newest first, then by id, descending.

        :param kind: class of the results; only its attributes are read.
        :raises MarkerNotFound: the marker is unknown or not visible.
        """

    @abc.abstractmethod
    def change_metadata(
        self,
        image: model.Image,
        items: Mapping[str, str],
        token: str | None = None,
    ) -> model.Image:
        """Replace an image's metadata and return the changed image.

        :param image: the image, as the action read it.
        :param token: the caller's token, for a store that asks Glance.
        :raises Changed: the image has changed since then.
        """

    @abc.abstractmethod
    def delete(self, image: model.Image, token: str | None = None) -> None:
        """Mark an image as deleted.

        :param image: the image, as the action read it.
        :param token: the caller's token, for a store that asks Glance.
        :raises Changed: the image has changed since then.
        """

    @abc.abstractmethod
    def add(
        self, images: Sequence[model.NewImage], *, replace: bool = False
    ) -> Sequence[exception.Error | None]:
        """Store images, each wholly or not at all.

        :param replace: replace images that exist; else they are refused.
        :returns: for each image the error that refuses it, or None.
        """

    @abc.abstractmethod
    def ping(self) -> None:
        """Check that images can be read.

        :raises StoreUnavailable: they can't be read.
        """

    def warning(self) -> str | None:
        """Return a warning for operators about the images, or None.

        :raises StoreUnavailable: the database does not answer.
        """
        return None

    @abc.abstractmethod
    def connection_counts(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are idle."""

    def iterate(
        self, query: model.ListQuery, viewer: model.Viewer
    ) -> Iterator[model.Image]:
        """Yield all images of a list, ``query.limit`` from each page."""
        while True:
            page = self.page(query, viewer, model.Image)
            yield from page.images
            if not page.more:
                return
            query = dataclasses.replace(query, marker=page.next)
