# SPDX-License-Identifier: Apache-2.0
"""The last runs of Glance's mirror, for commands and health checks."""

from collections.abc import Mapping
import datetime
import json
from typing import Any
from typing import NamedTuple

from oslo_utils import timeutils
import sqlalchemy as sa

from images_service.store import base
from images_service.store.sql import cursor
from images_service.store.sql import engine
from images_service.store.sql.schema import mirror_runs

_SET = (
    sa.update(mirror_runs)
    .where(mirror_runs.c.kind == sa.bindparam("of_kind"))
    .values(ended_at=sa.bindparam("now"), result=sa.bindparam("text"))
)
_ALL = sa.select(
    mirror_runs.c.kind, mirror_runs.c.ended_at, mirror_runs.c.result
)


class Run(NamedTuple):
    """A run that has ended, and its result."""

    ended_at: datetime.datetime
    result: dict[str, Any]


def save(
    database: engine.Database, kind: str, result: Mapping[str, Any]
) -> None:
    """Save the last run of a kind.

    :param result: values of JSON's types.
    """
    now, text = timeutils.utcnow(), json.dumps(result)

    def act(db: cursor.Cursor) -> None:
        if not db.change(_SET, {"of_kind": kind, "now": now, "text": text}):
            row = {"kind": kind, "ended_at": now, "result": text}
            db.db.execute(sa.insert(mirror_runs), row)

    try:
        database.primary.write(act)
    except (base.Changed, sa.exc.IntegrityError):
        # Another mirror has just saved its own run.
        return


def load(database: engine.Database) -> dict[str, Run]:
    """Return the last runs, by kind."""
    rows = database.primary.read(lambda db: db.rows(_ALL))
    return {kind: Run(at, json.loads(text)) for kind, at, text in rows}
