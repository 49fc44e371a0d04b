# SPDX-License-Identifier: Apache-2.0
"""The SQL of lists.

A list is the union of index ranges: one for each audience of the viewer and
each state. No image is in two ranges. One statement reads each range in the
order of the list, from the start of the page, up to the length of the page. It
merges the ranges and reads the page's images.

With one filter, the ranges contain the search entries of the filter. With
several filters, one of them leads: the ranges contain its entries, and the
other filters are looked up for each entry. A page is then read in rounds. Each
round first probes a number of entries of each filter, for the place that they
reach. The filter that reaches the furthest leads, up to this place. If the
page is not full, the next round starts at this place, with more entries. So
the rarest filter limits a page's cost, and no statement reads many entries.

changes-since has an index in the order of changes. It leads if it matches so
few images that they can be sorted.
"""

import dataclasses
import datetime
import functools
from typing import Any

import sqlalchemy as sa

from images_service import model
from images_service.store.sql import cursor
from images_service.store.sql import search_index
from images_service.store.sql.schema import image_audiences
from images_service.store.sql.schema import images
from images_service.store.sql.schema import search_entries
from images_service.store.sql.schema import State

# An image's time of creation and its id: the order of lists.
Place = tuple[datetime.datetime, str]

# Entries that the first round reads for each row of the page, and the factor
# by which each further round reads more.
FIRST = 5
FURTHER = 8
# Maximum entries of a round, which a statement reads within its time limit.
_MOST = 50_000

# Names of filters are the names of their parameters.
_CHANGES = "changes_since"
# The leader of a list without filters.
_NO_FILTER = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a list that decide the text of its statements.

    :param ranges: number of ranges.
    :param filters: names of the filters.
    :param columns: columns of the images.
    :param bounded: whether metadata that are longer than their share of the
        page are left out.
    """

    ranges: int
    filters: tuple[str, ...]
    columns: tuple[str, ...]
    bounded: bool

    @property
    def leaders(self) -> list[str]:
        """The filters that can lead."""
        if self.filters in ((), (_CHANGES,)):
            return [*self.filters, _NO_FILTER]
        return list(self.filters)


class Listing:
    """Reads lists.

    :param dialect: dialect of the database.
    """

    def __init__(self, dialect: sa.Dialect) -> None:
        kept = functools.lru_cache(cursor.STATEMENTS)
        self._statement = kept(functools.partial(statement, dialect.name))
        self._probe = kept(functools.partial(probe, dialect.name))

    def read(
        self,
        db: cursor.Cursor,
        query: model.ListQuery,
        viewer: model.Viewer,
        place: Place | None,
        columns: tuple[str, ...],
    ) -> list[cursor.Row]:
        """Return the rows of a page, and one row more if more images follow.

        Metadata that are longer than their share of ``query.max_metadata`` are
        null, except on a page of one image.

        :param place: the page starts after this place.
        :param columns: columns of the images.
        """
        wanted = query.limit + 1
        filters: dict[str, Any] = {
            f"digest_{number}": digest
            for number, digest in enumerate(search_index.digests_of(query))
        }
        if query.changes_since is not None:
            filters[_CHANGES] = query.changes_since
        values = {**filters, "rows": wanted, "size": FIRST * wanted}
        bounded = query.max_metadata is not None and query.limit > 1
        if query.max_metadata is not None:
            # If no image exceeds its share, the page keeps its limit.
            values["share"] = query.max_metadata // wanted
        ranges = [
            (audience, state)
            for audience in search_index.audiences_of(viewer)
            for state in _states(query, viewer)
        ]
        for number, (audience, state) in enumerate(ranges):
            values[f"audience_{number}"] = audience
            values[f"state_{number}"] = int(state)
        plan = Plan(len(ranges), tuple(filters), columns, bounded)
        found: list[cursor.Row] = []
        while True:
            if place is not None:
                values["after_created_at"], values["after_id"] = place
            after = place is not None
            leader, place = self._lead(db, plan, values, after)
            if place is not None:
                values["until_created_at"], values["until_id"] = place
            clause = self._statement(plan, leader, after, place is not None)
            found += db.rows(clause, values)
            if place is None or len(found) >= wanted:
                return found[:wanted]
            values["size"] = min(values["size"] * FURTHER, _MOST)

    def _lead(
        self,
        db: cursor.Cursor,
        plan: Plan,
        values: dict[str, Any],
        after: bool,
    ) -> tuple[str, Place | None]:
        """Return the leading filter, and its last place, None for the end."""
        leaders = plan.leaders
        if len(leaders) == 1:
            return leaders[0], None
        reached: dict[str, Place] = {}
        found = db.rows(self._probe(plan, after), values)
        for number, created_at, image_id in found:
            leader, place = leaders[number], (created_at, image_id)
            reached[leader] = max(reached.get(leader, place), place)
        for leader in leaders:
            if leader not in reached:
                return leader, None
        reached.pop(_CHANGES, None)
        leader = min(reached, key=reached.__getitem__)
        return leader, reached[leader]


def _states(query: model.ListQuery, viewer: model.Viewer) -> list[State]:
    """Return the states of the images that a list shows."""
    if viewer.is_operator:
        return [State.LISTED, State.KILLED, State.HIDDEN]
    if query.status in model.status_words("killed"):
        return [State.KILLED]
    if query.changes_since is not None:
        return [State.LISTED, State.DELETED]
    return [State.LISTED]


def statement(
    dialect: str, plan: Plan, leader: str, after: bool, until: bool
) -> sa.Select[Any]:
    """Return the SELECT of a page, in the order of a list.

    :param after: whether the page starts after a place.
    :param until: whether the page ends at a place.
    """
    parts = []
    for number in range(plan.ranges):
        source, scope = _range(number, leader)
        if leader == _CHANGES:
            # The order and the limit make planners use the index of changes.
            source = (
                sa.select(
                    source.c.image_id, source.c.audience, source.c.created_at
                )
                .where(*scope)
                .order_by(source.c.changed_at.desc())
                .limit(sa.literal_column(str(2**31 - 1)))
                .subquery()
            )
            scope = []
        scope += [
            _matches(source, name) for name in plan.filters if name != leader
        ]
        if after:
            scope += _after(source)
        if until:
            scope += _until(source)
        parts.append(
            sa.select(source.c.created_at, source.c.image_id)
            .where(*scope)
            .order_by(source.c.created_at.desc(), source.c.image_id.desc())
            .limit(sa.bindparam("rows", type_=sa.Integer))
        )
    page = (
        _union(dialect, parts)
        .order_by(sa.desc("created_at"), sa.desc("image_id"))
        .limit(sa.bindparam("rows", type_=sa.Integer))
        .subquery("page")
    )
    order = [page.c.created_at.desc(), page.c.image_id.desc()]
    if dialect == "postgresql":
        # The other databases sort by columns of the page in less time.
        order = [images.c.created_at.desc(), images.c.id.desc()]
    return (
        sa.select(*_columns(dialect, plan))
        .select_from(page.join(images, images.c.id == page.c.image_id))
        .order_by(*order)
    )


def probe(dialect: str, plan: Plan, after: bool) -> sa.CompoundSelect[Any]:
    """Return a SELECT of the places that leaders reach in each range.

    A leader reaches the entry that follows ``size`` entries. If a range has no
    such entry, there is no row for it.
    """
    parts = []
    for number in range(plan.ranges):
        for position, leader in enumerate(plan.leaders):
            source, scope = _range(number, leader)
            time, order = source.c.created_at, [source.c.image_id.desc()]
            if leader == _CHANGES:
                time, order = source.c.changed_at, []
            elif after:
                scope += _after(source)
            parts.append(
                sa.select(
                    sa.literal_column(str(position)).label("leader"),
                    time.label("time"),
                    source.c.image_id,
                )
                .where(*scope)
                .order_by(time.desc(), *order)
                .limit(sa.literal_column("1"))
                .offset(sa.bindparam("size", type_=sa.Integer))
            )
    return _union(dialect, parts)


def _union(
    dialect: str, parts: list[sa.Select[Any]]
) -> sa.CompoundSelect[Any]:
    if dialect == "sqlite":
        # SQLite accepts no parts in parentheses.
        parts = [sa.select(part.subquery()) for part in parts]
    return sa.union_all(*parts)


def _columns(dialect: str, plan: Plan) -> list[sa.ColumnElement[Any]]:
    columns: list[sa.ColumnElement[Any]] = [
        images.c[name] for name in plan.columns
    ]
    if plan.bounded and "metadata" in plan.columns:
        size: sa.ColumnElement[int] = sa.func.octet_length(images.c.metadata)
        if dialect == "sqlite":
            # SQLite has octet_length only since 3.43.
            size = sa.func.length(sa.cast(images.c.metadata, sa.BLOB))
        share = sa.bindparam("share", type_=sa.BigInteger)
        columns[-1] = sa.case((size <= share, images.c.metadata)).label(
            "metadata"
        )
    return columns


def _range(
    number: int, leader: str
) -> tuple[sa.FromClause, list[sa.ColumnElement[bool]]]:
    """Return a table of the search index, and the condition of a range."""
    source = search_entries
    if leader in (_NO_FILTER, _CHANGES):
        source = image_audiences
    scope = [
        source.c.audience == sa.bindparam(f"audience_{number}"),
        source.c.state == sa.bindparam(f"state_{number}"),
    ]
    if leader != _NO_FILTER:
        scope.append(_condition(source, leader))
    return source, scope


def _condition(source: sa.FromClause, name: str) -> sa.ColumnElement[bool]:
    """Return the condition of a filter on its table of the search index."""
    if name == _CHANGES:
        return source.c.changed_at >= sa.bindparam(name)
    return source.c.digest == sa.bindparam(name)


def _matches(source: sa.FromClause, name: str) -> sa.ColumnElement[bool]:
    """Return whether a filter matches an image, looked up by primary key.

    EXISTS has the same result, but planners turn it into a join, and may then
    read all images that the filter matches.
    """
    table = image_audiences if name == _CHANGES else search_entries
    other = table.alias()
    found = sa.select(other.c.image_id).where(
        other.c.image_id == source.c.image_id,
        other.c.audience == source.c.audience,
        _condition(other, name),
    )
    return found.scalar_subquery().is_not(None)


# With these conditions, each database reads an index only from or to a place.
# With the usual OR of two cases, PostgreSQL reads all rows before the place;
# with a comparison of rows, MariaDB does.


def _after(source: sa.FromClause) -> list[sa.ColumnElement[bool]]:
    created_at, image_id = source.c.created_at, source.c.image_id
    time = sa.bindparam("after_created_at", type_=created_at.type)
    older = sa.or_(created_at < time, image_id < sa.bindparam("after_id"))
    return [created_at <= time, older]


def _until(source: sa.FromClause) -> list[sa.ColumnElement[bool]]:
    created_at, image_id = source.c.created_at, source.c.image_id
    time = sa.bindparam("until_created_at", type_=created_at.type)
    newer = sa.or_(created_at > time, image_id >= sa.bindparam("until_id"))
    return [created_at >= time, newer]
