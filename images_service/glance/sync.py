# SPDX-License-Identifier: Apache-2.0
"""Makes one image of the store, or all of them, equal to Glance's."""

import collections
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import datetime
import random
import time

from oslo_log import log

from images_service import exception
from images_service import model
from images_service.glance import records
from images_service.glance.client import Glance
from images_service.glance.client import Record
from images_service.store import base
from images_service.store.sql import engine
from images_service.store.sql import reconciling
from images_service.store.sql.reconciling import Outcome

LOG = log.getLogger(__name__)

# Image -> project id -> status of the share; None for an image that is not
# shared.
Shares = Mapping[str, Mapping[str, str] | None]

# How often an image is asked for again because the store has changed it.
_ATTEMPTS = 10
# Seconds before that, at most.
_PAUSE = 0.05
# Images that are stored in one transaction, where the store has none of them.
_MANY = 200
# Images that a sweep may delete in any case.
_FEW_DELETES = 10


class TooManyDeletes(exception.Error):
    """A sweep would delete so many images that an error is more likely."""


class Sync:
    """Reads images from Glance, and stores them.

    :param workers: how many images are asked for at the same time.
    :param told: called with each image's outcome.
    """

    def __init__(
        self,
        database: engine.Database,
        glance: Glance,
        workers: int = 1,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self._database = database
        self._glance = glance
        self._workers = workers
        self._told = told

    def image(
        self,
        image_id: str,
        *,
        may_delete: bool,
        deleted_at: datetime.datetime | None = None,
    ) -> Outcome | None:
        """Make one image equal to Glance's.

        :param image_id: as Glance writes it.
        :param may_delete: whether to delete an image that Glance has not.
        :param deleted_at: when it was deleted; None for now.
        :returns: what became of it; None where Glance has no such image and
            the store keeps what it has.
        :raises GlanceUnavailable: Glance gives no usable answer.
        :raises StoreUnavailable: neither does the database, or other changes
            come first for too long.
        """
        for _ in range(_ATTEMPTS):
            key = image_id.lower()
            generation = reconciling.generation(self._database, key)
            record = self._glance.image(image_id)
            try:
                if record is not None:
                    new = self._mirrored(record, self._members_of(record))
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
            self._told(outcome)
            return outcome
        raise exception.StoreUnavailable

    def _members_of(self, record: Record) -> Mapping[str, str] | None:
        if record.get("visibility") != "shared":
            return None
        return self._glance.members(str(record["id"]))

    def _mirrored(
        self, record: Record, members: Mapping[str, str] | None
    ) -> model.NewImage:
        new, refused = records.mirrored(record, members)
        for line in refused:
            LOG.warning(
                "Image %s is mirrored without: %.200s", new.image.id, line
            )
        return new

    def poll(self, since: datetime.datetime) -> collections.Counter[str]:
        """Store the images that have changed since a time; return outcomes.

        :param since: UTC; Glance's times are those of its nodes' clocks.
        :raises GlanceUnavailable: Glance gives no usable answer.
        """
        counts: collections.Counter[str] = collections.Counter()
        for page in self._glance.pages(since.strftime("%Y-%m-%dT%H:%M:%SZ")):
            counts += self._page(page, members=False)
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

        :param max_deletes: percent of the images that may be deleted; ten may
            be in any case.
        :param members: ask for the members of all shared images as well.
        :param dry_run: count, and change nothing.
        :param progress: called with the number of images of each page.
        :returns: outcomes.
        :raises TooManyDeletes: nothing was deleted.
        :raises GlanceUnavailable: Glance gives no usable answer; no image was
            deleted.
        """
        # An image that appears in the meantime is none that is missing.
        missing = set(reconciling.ids(self._database))
        known = len(missing)
        counts: collections.Counter[str] = collections.Counter()
        for page in self._glance.pages():
            missing.difference_update(
                str(record.get("id", "")).lower() for record in page
            )
            counts += self._page(page, members=members, dry_run=dry_run)
            progress(len(page))
        allowed = max(_FEW_DELETES, known * max_deletes // 100)
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
        for image_id in sorted(missing):
            outcome = self.image(image_id, may_delete=True)
            if outcome is not None:
                counts[outcome.value] += 1
        return counts

    def _page(
        self,
        page: Sequence[Record],
        *,
        members: bool,
        dry_run: bool = False,
    ) -> collections.Counter[str]:
        """Store a page's images; return outcomes.

        :param members: ask for the members of those that are shared.
        """
        with futures.ThreadPoolExecutor(self._workers) as pool:
            asked = page if members else []
            shares = dict(
                zip(
                    (str(record.get("id")) for record in asked),
                    pool.map(self._members_of, asked),
                    strict=True,
                )
            )
            return self._store_page(pool, page, shares, dry_run=dry_run)

    def _store_page(
        self,
        pool: futures.Executor,
        page: Sequence[Record],
        shares: Shares,
        *,
        dry_run: bool,
    ) -> collections.Counter[str]:
        """Store a page's images; return outcomes.

        :param shares: those of images that were asked for.
        """
        found: dict[str, model.NewImage] = {}
        # By the store's id, which is in lower case.
        of_glance: dict[str, Record] = {}
        for record in page:
            try:
                # What it is stored without is logged when it is stored.
                new, _ = records.mirrored(
                    record, shares.get(str(record.get("id")))
                )
            except records.Refused as error:
                LOG.error("An image of Glance can't be mirrored: %s", error)
                continue
            found[new.image.id] = new
            of_glance[new.image.id] = record
        different = reconciling.different(self._database, list(found.values()))
        wanted = [of_glance[new.image.id] for new in different]
        counts = collections.Counter(
            {Outcome.SAME.value: len(found) - len(wanted)}
        )
        if dry_run:
            counts["different"] += len(wanted)
            return counts
        if len(wanted) > _MANY:
            missing = self._missing(pool, wanted, shares)
            counts[Outcome.CREATED.value] += len(missing)
            wanted = [r for r in wanted if str(r["id"]) not in missing]
        for outcome in pool.map(self._again, wanted):
            counts[outcome.value] += 1
        return counts

    def _missing(
        self, pool: futures.Executor, wanted: Sequence[Record], known: Shares
    ) -> set[str]:
        """Store those images of a page that the store lacks; return their ids.

        One that is deleted at the same time is deleted by the next sweep.

        :param known: the shares of images that were asked for.
        """
        new_images = []
        absent = [
            record
            for record in wanted
            if not reconciling.generation(
                self._database, str(record["id"]).lower()
            )
        ]

        def members_of(record: Record) -> Mapping[str, str] | None:
            image_id = str(record["id"])
            if image_id in known:
                return known[image_id]
            return self._members_of(record)

        members = pool.map(members_of, absent)
        for record, shares in zip(absent, members, strict=True):
            new_images.append(self._mirrored(record, shares))
        stored: set[str] = set()
        for start in range(0, len(absent), _MANY):
            batch = new_images[start : start + _MANY]
            try:
                outcomes = reconciling.reconcile(
                    self._database, batch, {new.image.id: 0 for new in batch}
                )
            except base.Changed:
                # They are asked for one by one.
                continue
            for outcome in outcomes.values():
                self._told(outcome)
            stored.update(
                str(record["id"]) for record in absent[start : start + _MANY]
            )
        return stored

    def _again(self, record: Record) -> Outcome:
        """Ask for one image of a page again, and store that answer.

        The store may have changed since the page was asked for.
        """
        found = self.image(str(record["id"]), may_delete=False)
        return found or Outcome.SAME
