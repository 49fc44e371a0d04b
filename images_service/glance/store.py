# SPDX-License-Identifier: Apache-2.0
"""The store of a cloud whose Glance owns the images."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import json
import threading
import time

from oslo_config import cfg
from oslo_log import log
from oslo_utils import timeutils

from images_service import exception
from images_service import model
from images_service.glance import client
from images_service.glance import protections
from images_service.glance import records
from images_service.glance import sync
from images_service.store import base
from images_service.store.sql import engine
from images_service.store.sql import leases
from images_service.store.sql import limits
from images_service.store.sql import mirror_runs
from images_service.store.sql import reconciling
from images_service.store.sql.reconciling import Outcome
from images_service.store.sql.store import SqlStore

LOG = log.getLogger(__name__)

# Maximum threads of a process that change images, that ask for missing images,
# and that wait for either; the other threads answer reads.
_CHANGES, _MISSING, _WAITERS = 3, 2, 1
# Minimum seconds of an action that are left for Glance's answer.
_FOR_GLANCE = 1.5
# Maximum threads that ask later for images whose change had no answer.
_SETTLERS = 4
# Seconds without an answer after which Glance counts as hanging.
_PATIENCE = 2.0
# Seconds for which the id of a missing image is cached.
_MISSED = 1.0
# Maximum number of these ids.
_MISSES = 10_000
# Glance itself sets this property if it has several stores.
_STORES = "stores"


class MirroredStore(SqlStore):
    """Reads from the mirror; changes images in Glance first.

    :param conf: its ``[glance]`` group is read.
    :raises oslo_config.cfg.Error: the property protections can't be used.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: engine.Database,
        glance: client.Glance,
    ) -> None:
        super().__init__(database)
        self._glance = glance
        self._sync = sync.Sync(database, glance)
        self._reads_through: bool = conf.glance.read_through
        self._changes, self._missing = (
            limits.Slots(count, "Glance", _PATIENCE, _WAITERS)
            for count in (_CHANGES, _MISSING)
        )
        self._settlers = threading.BoundedSemaphore(_SETTLERS)
        self._max_staleness: int = conf.mirror.max_staleness
        self._intervals = {
            "poll": conf.mirror.poll_interval,
            "sweep": conf.mirror.sweep_interval,
        }
        self._misses = _Misses()
        self._protections = protections.load(conf)

    def warning(self) -> str | None:
        """Return why the mirror may be behind Glance, None if it is not."""
        runs = mirror_runs.load(self._database)
        for kind in self._intervals:
            failed, good = runs.get(f"{kind} failed"), runs.get(kind)
            if failed and (good is None or failed.ended_at > good.ended_at):
                return f"The last {kind} failed: {failed.result['problem']}"
        if "poll" not in runs:
            return "images-service-mirror has not polled Glance yet."
        for kind, seconds in self._intervals.items():
            if kind in runs:
                since = timeutils.utcnow() - runs[kind].ended_at
                age = since.total_seconds()
                if age > max(self._max_staleness, 2 * seconds):
                    return f"The last {kind} was {age:.0f} seconds ago."
        return None

    def get(self, image_id: str, viewer: model.Viewer) -> model.Image:
        """Return one image; ask Glance if the mirror does not have it yet."""
        try:
            image = super().get(image_id, viewer)
        except exception.ImageNotFound:
            if not self._reads_through or not self._fetch(image_id):
                raise
            image = super().get(image_id, viewer)
        return self._shown(image, viewer)

    def page(
        self, query: model.ListQuery, viewer: model.Viewer, kind: type[model.T]
    ) -> model.Page[model.T]:
        """Return a page of the mirror's images."""
        if self._protections is None:
            return super().page(query, viewer, kind)
        items = dict(query.properties)
        if len(self._protections.readable(items, viewer.roles)) < len(items):
            # A filter uses a property that the caller may not read.
            return model.Page([], False)
        page = super().page(query, viewer, kind)
        images = [self._shown(image, viewer) for image in page.images]
        return model.Page(images, page.more)

    def _shown(self, image: model.T, viewer: model.Viewer) -> model.T:
        """Return an image with the properties that a caller may read."""
        if self._protections is None or isinstance(image, model.Summary):
            return image
        items = json.loads(image.metadata)
        readable = self._protections.readable(items, viewer.roles)
        if len(readable) == len(items):
            return image
        return image._replace(metadata=json.dumps(readable))

    def _fetch(self, image_id: str) -> bool:
        """Ask Glance for an image that the mirror lacks; tell if it exists.

        :raises GlanceUnavailable: Glance gives no usable answer.
        """
        key = image_id.lower()
        if not model.IMAGE_ID.fullmatch(image_id) or self._misses.knows(key):
            return False
        if reconciling.is_known(self._database, key):
            # The image exists, but the caller may not see it.
            return False
        deadline = base.begun() + base.TIME_LIMIT
        with (
            self._missing.one(deadline),
            self._misses.asking(key, deadline) as must_ask,
        ):
            if reconciling.is_known(self._database, key):
                # Another thread has stored it while this one waited.
                return True
            if must_ask:
                outcome = self._sync.image(image_id, may_delete=False)
                if outcome is None:
                    self._misses.add(key)
                return outcome is not None
            if self._misses.knows(key):
                return False
            # Another thread has asked, and got no answer.
            raise exception.GlanceUnavailable

    def change_metadata(
        self,
        image: model.Image,
        items: Mapping[str, str],
        token: str | None = None,
    ) -> model.Image:
        """Change metadata in Glance; see ``base.ImageStore``.

        :raises Invalid: Glance can't hold the new metadata.
        """
        old = json.loads(image.metadata)
        changed = [key for key in items if items[key] != old.get(key)]
        records.check_writable(items, changed)
        changes = [_patch("add", key, value=items[key]) for key in changed]
        changes += [
            _patch("remove", key)
            for key in old.keys() - items.keys() - {_STORES}
            if not records.is_reserved(key)
        ]
        if not changes:
            return image

        def change() -> None:
            record = self._glance.change(image.id, changes, token)
            if self._protections is not None:
                # The answer lacks properties that the caller may not read.
                self._sync.image(image.id, may_delete=False)
                return
            new, _ = records.mirrored(record, None)
            generations = {image.id: image.generation}
            # Glance has changed the image, so a new time limit begins here.
            base.retried(lambda: self._reconcile(new, generations))

        self._change_in_glance(image, change)
        now = SqlStore.get(self, image.id, _ANYBODY)
        return now._replace(metadata=json.dumps(dict(items)))

    def delete(self, image: model.Image, token: str | None = None) -> None:
        """Delete an image in Glance; see ``base.ImageStore``."""

        def delete() -> None:
            self._glance.delete(image.id, token)
            base.retried(lambda: self._forget(image.id))

        self._change_in_glance(image, delete)

    def _forget(self, image_id: str) -> None:
        """Delete an image here, also if the mirror has just changed it."""
        generation = reconciling.generation(self._database, image_id)
        reconciling.delete(self._database, image_id, generation)

    def _change_in_glance(
        self, image: model.Image, change: Callable[[], None]
    ) -> None:
        """Change an image in Glance and here, with the lease of the image.

        :raises Changed: the image has changed since the action read it.
        """
        lease = base.hold(image.id, lambda: self._alone(image.id))
        now = reconciling.generation(self._database, image.id)
        if now != image.generation:
            raise base.Changed
        try:
            change()
        except exception.ImageNotFound:
            # The image may be deleted, or no longer visible to the caller.
            self._sync.image(image.id, may_delete=True)
            raise
        except exception.Conflict:
            # The image may have changed in Glance.
            self._sync.image(image.id, may_delete=False)
            later = reconciling.generation(self._database, image.id)
            if later != now:
                raise base.Changed from None
            raise
        except client.NotSent:
            raise
        except exception.GlanceUnavailable:
            # Glance may still change the image.
            lease.is_kept = True
            self._settle(image.id, lease)
            raise

    def _reconcile(
        self, new: model.NewImage, generations: Mapping[str, int]
    ) -> None:
        """Store Glance's answer; ask again if the mirror was faster."""
        try:
            reconciling.reconcile(self._database, [new], generations)
        except base.Changed:
            self._sync.image(new.image.id, may_delete=False)

    @contextlib.contextmanager
    def _alone(self, image_id: str) -> Iterator[leases.Lease]:
        deadline = base.begun() + base.TIME_LIMIT - _FOR_GLANCE
        with self._changes.one(deadline):
            lease = leases.Lease(self._database, image_id, deadline)
            try:
                yield lease
            finally:
                if not lease.is_kept:
                    lease.end()

    def _settle(self, image_id: str, lease: leases.Lease) -> None:
        """Ask later for an image whose change had no answer."""

        def settle() -> None:
            end = time.monotonic() + leases.SECONDS
            try:
                while time.monotonic() < end:
                    time.sleep(_MISSED)
                    with contextlib.suppress(exception.Unavailable):
                        outcome = self._sync.image(image_id, may_delete=True)
                        if outcome is not Outcome.SAME:
                            lease.end()
                            return
            except Exception:
                LOG.exception("Image %s can't be asked for", image_id)
            finally:
                self._settlers.release()

        # Without a thread, the lease expires, and the mirror finds the change.
        if self._settlers.acquire(blocking=False):
            try:
                threading.Thread(target=settle, daemon=True).start()
            except RuntimeError:
                self._settlers.release()


_ANYBODY = model.Viewer("", is_admin=True)


def _patch(op: str, key: str, **value: str) -> client.Record:
    """Return one change in a JSON patch."""
    name = key.replace("~", "~0").replace("/", "~1")
    return {"op": op, "path": f"/{name}", **value}


class _Misses:
    """Ids that Glance lacks, and ids that threads are asking for."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}
        self._asking: set[str] = set()
        self._changed = threading.Condition()

    def knows(self, image_id: str) -> bool:
        """Tell whether Glance lacked an image a moment ago."""
        return time.monotonic() - self._known.get(image_id, 0) < _MISSED

    def add(self, image_id: str) -> None:
        """Note that Glance has no such image."""
        now = time.monotonic()
        with self._changed:
            if len(self._known) >= _MISSES:
                self._known = {
                    known: at
                    for known, at in self._known.items()
                    if now - at < _MISSED
                }
            self._known[image_id] = now

    @contextlib.contextmanager
    def asking(self, image_id: str, deadline: float) -> Iterator[bool]:
        """Yield whether to ask; False if another thread has just asked.

        :raises GlanceUnavailable: another thread still asks at the deadline.
        """
        with self._changed:
            must_ask = True
            while image_id in self._asking:
                must_ask = False
                left = deadline - time.monotonic()
                if left <= 0:
                    raise exception.GlanceUnavailable
                self._changed.wait(left)
            must_ask = must_ask and not self.knows(image_id)
            if must_ask:
                self._asking.add(image_id)
        try:
            yield must_ask
        finally:
            if must_ask:
                with self._changed:
                    self._asking.discard(image_id)
                    self._changed.notify_all()
