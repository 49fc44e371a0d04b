# SPDX-License-Identifier: Apache-2.0
"""Leases: one writer of an image at a time, over all processes and nodes.

Glance loses one of two changes that it gets at the same time. With a lease, no
transaction stays open while Glance is asked, and a lease expires if its holder
ends. The clocks of the nodes must differ by less than ``SECONDS`` minus the
time that Glance gets for an answer.
"""

import datetime
import random
import time
import uuid

from oslo_utils import timeutils
import sqlalchemy as sa

from images_service import exception
from images_service.store import base
from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.store.sql.schema import image_leases

# Seconds after which a lease expires.
SECONDS = 15
# Maximum seconds before the next attempt to take a lease that is not free.
_PAUSE = 0.03
# Seconds after which a holder counts as hanging: most need a tenth of this.
_PATIENCE = 1.5

_EXPIRED = (
    sa.update(image_leases)
    .where(
        image_leases.c.image_id == sa.bindparam("of_image"),
        image_leases.c.expires_at < sa.bindparam("now"),
    )
    .values(holder=sa.bindparam("by"), expires_at=sa.bindparam("until"))
)
_HOLDER = sa.select(image_leases.c.holder).where(
    image_leases.c.image_id == sa.bindparam("of_image")
)
_END = sa.delete(image_leases).where(
    image_leases.c.image_id == sa.bindparam("of_image"),
    image_leases.c.holder == sa.bindparam("by"),
)


class Lease:
    """The right to change an image in Glance.

    :param deadline: by the monotonic clock.
    :ivar is_kept: whether the lease stays after its action, until it expires.
    :raises StoreUnavailable: other holders have the lease until the deadline,
        or one of them has it for too long.
    """

    def __init__(
        self, database: engine.Database, image_id: str, deadline: float
    ) -> None:
        self._database = database
        self._image_id = image_id
        self._holder = str(uuid.uuid4())
        self.is_kept = False
        other, since = None, time.monotonic()
        while (holder := self._take()) != self._holder:
            now = time.monotonic()
            if holder != other:
                other, since = holder, now
            pause = random.uniform(0, _PAUSE)  # noqa: S311  # nosec B311
            if now + pause > min(deadline, since + _PATIENCE):
                raise exception.StoreUnavailable
            time.sleep(pause)

    def _take(self) -> str | None:
        """Take the lease if it is free; return its holder.

        :returns: None if another process is just taking it.
        """
        now = timeutils.utcnow()
        until = now + datetime.timedelta(seconds=SECONDS)
        given = {"of_image": self._image_id, "by": self._holder}

        def act(db: cursor.Cursor) -> str:
            if db.change(_EXPIRED, {**given, "now": now, "until": until}):
                return self._holder
            for row in db.rows(_HOLDER, given):
                return str(row[0])
            new = {
                "image_id": self._image_id,
                "holder": self._holder,
                "expires_at": until,
            }
            db.db.execute(sa.insert(image_leases), new)
            return self._holder

        try:
            return self._database.primary.write(act)
        except (base.Changed, sa.exc.IntegrityError):
            # Another holder has been faster.
            return None

    def end(self) -> None:
        """Release the lease."""
        given = {"of_image": self._image_id, "by": self._holder}
        try:
            self._database.primary.write(lambda db: db.change(_END, given))
        except (base.Changed, exception.StoreUnavailable):
            # The lease expires.
            return
