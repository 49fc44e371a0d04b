# SPDX-License-Identifier: Apache-2.0
"""Makes one image of the store, or all of them, equal to Glance's."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import contextlib
import dataclasses
import datetime
import random
import threading
import time
from typing import TypeVar

from oslo_log import log

from images_service import exception
from images_service import model
from images_service.glance import client
from images_service.glance import records
from images_service.glance.client import Glance
from images_service.glance.client import Record
from images_service.store import base
from images_service.store.sql import engine
from images_service.store.sql import reconciling
from images_service.store.sql.reconciling import Outcome

LOG = log.getLogger(__name__)

T = TypeVar("T")

# Maximum questions for an image, if the store changes it each time.
_ATTEMPTS = 10
# Maximum seconds between two of these questions.
_PAUSE = 0.05
# If a page has more new images than this, one transaction stores them.
_MANY = 20
# Number of failures in a row after which Glance counts as down.
_FAILURES = 10
# Images that a sweep may delete in any case.
_FEW_DELETES = 10
# The outcome of an image that could not be stored.
FAILED = "failed"


class TooManyDeletes(exception.Error):
    """A sweep would delete so many images that an error is more likely."""


class Stopped(Exception):
    """The process ends."""


class Sync:
    """Reads images from Glance, and stores them.

    :param workers: number of images that are asked for at the same time.
    :ivar stopped: once set, polls and sweeps end with ``Stopped``.
    """

    def __init__(
        self, database: engine.Database, glance: Glance, workers: int = 1
    ) -> None:
        self._database = database
        self._glance = glance
        self._workers = workers
        self.stopped = threading.Event()
        self._failures = 0

    def stored(self, outcome: Outcome, left_out: int) -> None:
        """Take note of an outcome.

        :param left_out: number of the image's properties that were left out.
        """

    def failed(self, image_id: str, *, may_delete: bool) -> None:
        """Take note of an image that could not be stored.

        :param may_delete: whether the image may be deleted.
        """

    def image(
        self,
        image_id: str,
        *,
        may_delete: bool,
        deleted_at: datetime.datetime | None = None,
    ) -> Outcome | None:
        """Make one image equal to Glance's.

        :param image_id: the id, as Glance writes it.
        :param may_delete: whether to delete the image if Glance lacks it.
        :param deleted_at: time of the deletion; None for the present time.
        :returns: the outcome; None if Glance lacks the image, and it may not
            be deleted.
        :raises GlanceUnavailable: Glance gives no usable answer.
        :raises StoreUnavailable: the database gives no answer, or other
            changes come first for too long.
        """
        key = image_id.lower()
        for _ in range(_ATTEMPTS):
            generation = reconciling.generation(self._database, key)
            record = self._glance.image(key)
            if record is None and image_id != key:
                # Glance may distinguish upper and lower case. No other
                # tenant's image has this id in lower case.
                record = self._glance.image(image_id)
            left_out = 0
            try:
                if record is not None:
                    members = self._members_of(record)
                    new, left_out = self._mirrored(record, members)
                    outcome = reconciling.reconcile(
                        self._database, [new], {key: generation}
                    )[key]
                elif may_delete:
                    outcome = reconciling.delete(
                        self._database, key, generation, deleted_at
                    )
                else:
                    return None
            except base.Changed:
                time.sleep(random.uniform(0, _PAUSE))  # noqa: S311  # nosec B311
                continue
            self.stored(outcome, left_out)
            return outcome
        raise exception.StoreUnavailable

    def _members_of(self, record: Record) -> Mapping[str, str] | None:
        if record.get("visibility") != "shared":
            return None
        return self._glance.members(str(record["id"]))

    def _mirrored(
        self, record: Record, members: Mapping[str, str] | None
    ) -> tuple[model.NewImage, int]:
        """Return an image to store, and the number of properties left out."""
        new, refused = records.mirrored(record, members)
        for line in refused:
            LOG.warning(
                "Image %s is mirrored without: %.200s", new.image.id, line
            )
        return new, len(refused)

    def poll(self, since: datetime.datetime) -> collections.Counter[str]:
        """Store the images that have changed since a time; return outcomes.

        :param since: UTC; Glance's times are those of its nodes' clocks.
        :raises GlanceUnavailable: Glance gives no usable answer.
        """
        counts: collections.Counter[str] = collections.Counter()
        with self._pool() as pool:
            text = since.strftime("%Y-%m-%dT%H:%M:%SZ")
            for page in self._glance.pages(text):
                counts += self._page(pool, page)
        return counts

    def sweep(
        self,
        max_deletes: int,
        *,
        members: bool = False,
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda _count: None,
    ) -> collections.Counter[str]:
        """Make the whole store equal to Glance.

        :param max_deletes: percent of the images that may be deleted. Ten
            images always may be, unless they are all. 100 allows all images.
        :param members: ask for the members of all shared images as well.
        :param dry_run: count, and change nothing.
        :param progress: called with the number of images of each page.
        :returns: numbers of images, by outcome.
        :raises TooManyDeletes: no image was deleted.
        :raises GlanceUnavailable: Glance gives no usable answer; no image was
            deleted.
        """
        # Read the ids first, so that no later image of Glance seems missing.
        missing = set(reconciling.ids(self._database))
        known = len(missing)
        counts: collections.Counter[str] = collections.Counter()
        with self._pool() as pool:
            for page in self._glance.pages():
                missing.difference_update(
                    str(record.get("id", "")).lower() for record in page
                )
                counts += self._page(
                    pool, page, members=members, dry_run=dry_run
                )
                progress(len(page))
        allowed = known
        if max_deletes < 100:
            allowed = max(_FEW_DELETES, known * max_deletes // 100)
            # Never delete all images, unless there is only one.
            allowed = min(allowed, max(known - 1, 1))
        if len(missing) > allowed:
            raise TooManyDeletes(
                f"Glance lacks {len(missing)} of {known} images that this "
                f"store has; at most {allowed} are deleted without a person's "
                "decision. Nothing was deleted. See images-service-manage "
                "mirror sync --allow-deletes."
            )
        if dry_run:
            counts[Outcome.DELETED.value] += len(missing)
            return counts
        counts.update(
            self._again(image_id, may_delete=True)
            for image_id in sorted(missing)
        )
        return counts

    @contextlib.contextmanager
    def _pool(self) -> Iterator[futures.Executor]:
        """Provide threads; an error cancels the work that waits for them."""
        pool = futures.ThreadPoolExecutor(self._workers)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    def _page(
        self,
        pool: futures.Executor,
        page: Iterable[Record],
        *,
        members: bool = False,
        dry_run: bool = False,
    ) -> collections.Counter[str]:
        """Store a page's images; return outcomes.

        :param members: ask for the members of shared images.
        """
        of_glance: dict[str, Record] = {}
        found: dict[str, model.NewImage] = {}
        for record in page:
            try:
                # Properties that are left out are logged with the change.
                new, _ = records.mirrored(record, None)
            except records.Refused as error:
                LOG.error("An image of Glance can't be mirrored: %s", error)
                continue
            # Glance may have another image with this id in upper case.
            if new.image.id not in found or record["id"] == new.image.id:
                found[new.image.id], of_glance[new.image.id] = new, record
        counts: collections.Counter[str] = collections.Counter()
        changed, absent = reconciling.different(
            self._database, list(found.values())
        )
        if members:
            # Other images are asked for in any case.
            same = found.keys() - {*changed, *absent}
            shares = self._shares(pool, [of_glance[i] for i in same])
            shared = [
                dataclasses.replace(found[image_id], members=share)
                for image_id, share in shares.items()
                if share is not None
            ]
            counts[FAILED] += len(shares) - len(shared)
            changed += reconciling.different(self._database, shared)[0]
        counts[Outcome.SAME.value] += (
            len(found) - len(changed) - len(absent) - counts[FAILED]
        )
        if dry_run:
            counts["different"] += len(changed) + len(absent)
            return counts
        if len(absent) > _MANY:
            stored = self._store_new(pool, [of_glance[i] for i in absent])
            counts[Outcome.CREATED.value] += len(stored)
            absent = [i for i in absent if i not in stored]
        ids = [str(of_glance[i]["id"]) for i in (*changed, *absent)]
        counts.update(pool.map(self._again, ids))
        return counts

    def _shares(
        self, pool: futures.Executor, page: Sequence[Record]
    ) -> dict[str, Mapping[str, str] | None]:
        """Return the shares of the shared images.

        :returns: shares by the store's id; None if there is no answer.
        """
        shared = [r for r in page if r.get("visibility") == "shared"]

        def ask(record: Record) -> Mapping[str, str] | None:
            # An image that is no longer shared has no shares.
            return self._safely(
                lambda: self._members_of(record) or {}, str(record["id"])
            )

        found = pool.map(ask, shared)
        ids = [str(record["id"]).lower() for record in shared]
        return dict(zip(ids, found, strict=True))

    def _store_new(
        self, pool: futures.Executor, wanted: Sequence[Record]
    ) -> set[str]:
        """Store images that the store lacks, all or none; return their ids.

        If Glance deletes an image meanwhile, the next sweep deletes it here.
        """
        # If ids differ in case only, the id in lower case comes first.
        wanted = [r for r in wanted if r["id"] == str(r["id"]).lower()]
        shares = self._shares(pool, wanted)
        batch, left_out = [], {}
        for record in wanted:
            # None for an image that is not shared.
            share = shares.get(str(record["id"]))
            if share is None and record["id"] in shares:
                continue
            new, count = self._mirrored(record, share)
            batch.append(new)
            left_out[new.image.id] = count
        try:
            outcomes = reconciling.reconcile(
                self._database, batch, {new.image.id: 0 for new in batch}
            )
        except (base.Changed, exception.StoreUnavailable):
            # The caller asks for the images one by one.
            return set()
        for image_id, outcome in outcomes.items():
            self.stored(outcome, left_out[image_id])
        return set(outcomes)

    def _again(self, image_id: str, *, may_delete: bool = False) -> str:
        """Ask for one image again, and store that answer; return the outcome.

        The store may have changed since the page was asked for.
        """
        outcome = self._safely(
            lambda: (
                self.image(image_id, may_delete=may_delete) or Outcome.SAME
            ),
            image_id,
            may_delete=may_delete,
        )
        return FAILED if outcome is None else outcome.value

    def _safely(
        self, act: Callable[[], T], image_id: str, *, may_delete: bool = False
    ) -> T | None:
        """Act for one image; if this fails, report it and return None.

        :raises GlanceUnavailable: many images in a row have failed.
        """
        if self.stopped.is_set():
            raise Stopped
        try:
            result = act()
        except client.NoRole:
            raise
        except Exception as error:
            self._failures += 1
            if not isinstance(error, exception.Unavailable):
                LOG.exception("Image %s can't be mirrored", image_id)
            elif self._failures >= _FAILURES:
                raise
            self.failed(image_id, may_delete=may_delete)
            return None
        self._failures = 0
        return result
