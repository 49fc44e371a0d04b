# SPDX-License-Identifier: Apache-2.0
"""The SQL of a listing: disjoint sets, each read in the listing's order.

What a project sees is a union of sets that have no image in common: public
images, its own by visibility, and those shared with it.  Each set is an
equality prefix of an index whose rest is the order of the listing, so each is
read from where the page starts and no further than the page is long, however
many images there are.  The union of those few rows is sorted, cut to the page,
and only then are the images themselves read.

Filters for equality walk the index of terms, which has the same prefixes below
the term.  Of several terms the rarest leads and the others are looked up image
by image.  changes-since is a range, which no index has in the listing's order:
where it matches few images of a set, these are sorted; where it matches many,
the set is walked.  Which it is a probe tells, that counts no further than it
needs to.

A statement depends on the shape of a listing, not on its values, and is built
once for each shape.
"""

from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from images_service import model
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_terms
from images_service.store.sql.schema import images
from images_service.store.sql.schema import State
from images_service.store.sql.shape import FEW
from images_service.store.sql.shape import RAREST
from images_service.store.sql.shape import Set
from images_service.store.sql.shape import Shape

IMAGE_COLUMNS = tuple(images.c)[: len(model.Image._fields)]


def parameters(
    query: model.ListQuery,
    viewer: model.Viewer,
    digests: Sequence[bytes],
    marker: tuple[datetime.datetime, str] | None,
) -> dict[str, Any]:
    """Return the values that a query's statements take.

    :param digests: its terms, the one that leads first.
    :param marker: when the image before the page was created, and its id.
    """
    values: dict[str, Any] = {
        "project_id": viewer.project_id,
        "rows": query.limit + 1,
        "changes_since": query.changes_since,
    }
    if query.max_metadata is not None:
        # If none has more, all of them together have no more than the page
        # may have.
        values["share"] = query.max_metadata // (query.limit + 1)
    if marker is not None:
        values["marker_created_at"], values["marker_id"] = marker
    for number, digest in enumerate(digests):
        values[f"digest_{number}"] = digest
    return values


def probe(shape: Shape) -> sa.Select[Any]:
    """Return a SELECT of one row that counts what a shape depends on.

    Its columns: for each of several terms how many images have it, then for
    each term how many shared ones do, then for each set how many have changed.
    """
    counts: list[sa.ColumnElement[Any]] = []
    numbers = range(shape.terms)
    if shape.terms > 1:
        for number in numbers:
            has = image_terms.c.digest == _digest(number)
            counts.append(_count(image_terms.c.image_id, [has], RAREST))
    if shape.shares:
        for number in numbers:
            shared = [
                image_terms.c.digest == _digest(number),
                image_terms.c.visibility == "shared",
                image_terms.c.state == State.LISTED,
            ]
            counts.append(_count(image_terms.c.image_id, shared, FEW))
    if shape.changes_since:
        for one in shape.sets:
            changed = images.c.changed_at >= _changes_since()
            scope = [*_scope(images.c, one), changed]
            counts.append(_count(images.c.id, scope, FEW))
    return sa.select(*counts)


def probed(
    shape: Shape, digests: Sequence[bytes], counts: Sequence[int]
) -> tuple[Shape, list[bytes]]:
    """Return the shape that suits what a probe has counted.

    With it come the terms, the rarest first.
    """
    left = list(counts)
    numbers = list(range(shape.terms))
    if shape.terms > 1:
        found, left = left[: shape.terms], left[shape.terms :]
        numbers.sort(key=found.__getitem__)
    few_shared = False
    if shape.shares and shape.terms:
        found, left = left[: shape.terms], left[shape.terms :]
        few_shared = found[numbers[0]] <= FEW
    refined = dataclasses.replace(
        shape,
        few_changes=tuple(count <= FEW for count in left),
        few_shared=few_shared,
    )
    return refined, [digests[number] for number in numbers]


def statement(shape: Shape) -> sa.Select[Any]:
    """Return the SELECT of a page of images, in the listing's order.

    It yields one image more than the page holds, if there is one.  Metadata
    that are longer than their share of a bounded page are null.
    """
    rows = sa.union_all(
        *(_rows(shape, number) for number in range(len(shape.sets)))
    ).subquery("rows")
    page = (
        sa.select(rows.c.image_id)
        .order_by(rows.c.created_at.desc(), rows.c.image_id.desc())
        .limit(_row_count())
        .subquery("page")
    )
    columns: list[sa.ColumnElement[Any]] = list(IMAGE_COLUMNS)
    if shape.bounded:
        share = sa.bindparam("share", type_=sa.BigInteger)
        within = sa.func.length(images.c.metadata) <= share
        columns[-1] = sa.case((within, images.c.metadata)).label("metadata")
    return (
        sa.select(*columns)
        .select_from(page.join(images, images.c.id == page.c.image_id))
        .order_by(images.c.created_at.desc(), images.c.id.desc())
    )


def _rows(shape: Shape, number: int) -> sa.Select[Any]:
    """Return when and which images a set yields, cut to the page's length."""
    one = shape.sets[number]
    few_changes = bool(shape.few_changes) and shape.few_changes[number]
    source, scope, first = _source(shape, one, few_changes=few_changes)
    image_id = source.c.id if source is images else source.c.image_id
    created_at = source.c.created_at
    if one.shared and source is not image_members:
        scope += [source.c.owner != _project_id(), _accepted(image_id)]
    for other in range(first, shape.terms):
        scope.append(_has_term(image_id, other))
    if shape.changes_since and not few_changes:
        scope.append(_has_changed(source, image_id))
    if shape.after_marker:
        # Every database reads this one from the marker's place on; the usual
        # OR of two cases PostgreSQL would scan up to it, and MariaDB does so
        # for a comparison of rows.
        when = sa.bindparam(
            "marker_created_at", type_=images.c.created_at.type
        )
        marker = sa.bindparam("marker_id", type_=images.c.id.type)
        scope += [
            created_at <= when,
            sa.or_(created_at < when, image_id < marker),
        ]
    rows = (
        sa.select(created_at.label("created_at"), image_id.label("image_id"))
        .where(*scope)
        .order_by(created_at.desc(), image_id.desc())
        .limit(_row_count())
        .subquery()
    )
    # SQLite takes ORDER BY and LIMIT in a part of a union only inside FROM.
    return sa.select(*rows.c)


def _source(
    shape: Shape, one: Set, *, few_changes: bool
) -> tuple[sa.FromClause, list[sa.ColumnElement[bool]], int]:
    """Return what a set is read from, its condition, and the terms it covers.

    :returns: the number is that of the first term which is left to look up.
    """
    if few_changes:
        return _changed(one), [], 0
    if shape.terms and (shape.few_shared or not one.shared):
        leading = image_terms.c.digest == _digest(0)
        return image_terms, [leading, *_scope(image_terms.c, one)], 1
    if one.shared:
        return image_members, _shared_scope(one), 0
    return images, _scope(images.c, one), 0


def _scope(
    columns: sa.ColumnCollection[str, sa.ColumnElement[Any]], one: Set
) -> list[sa.ColumnElement[bool]]:
    """Return the condition of a set, as a prefix of an index."""
    scope = [
        columns["visibility"] == one.visibility,
        columns["state"] == one.state,
    ]
    if one.own:
        scope.append(columns["owner"] == _project_id())
    return scope


def _shared_scope(one: Set) -> list[sa.ColumnElement[bool]]:
    """Return the condition of what is shared, as rows of members."""
    shown = _there_is(
        images.c.id,
        images.c.id == image_members.c.image_id,
        images.c.visibility == one.visibility,
        images.c.owner != _project_id(),
    )
    return [
        image_members.c.member == _project_id(),
        image_members.c.status == "accepted",
        image_members.c.state == one.state,
        shown,
    ]


def _accepted(image_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return whether the viewer's project has accepted an image."""
    return _there_is(
        image_members.c.image_id,
        image_members.c.image_id == image_id,
        image_members.c.member == _project_id(),
        image_members.c.status == "accepted",
    )


def _changed(one: Set) -> sa.FromClause:
    """Return the few images of a set that have changed, in no order."""
    # The order and the limit keep the planner on the index by time of change.
    # The limit is far from what the probe has counted: what changes between
    # the two statements must not push an image off the page.
    return (
        sa.select(
            images.c.id.label("image_id"), images.c.created_at, images.c.owner
        )
        .where(*_scope(images.c, one), images.c.changed_at >= _changes_since())
        .order_by(images.c.changed_at.desc())
        .limit(sa.literal_column(str(FEW * 100)))
        .subquery()
    )


def _has_term(
    image_id: sa.ColumnElement[str], number: int
) -> sa.ColumnElement[bool]:
    other = image_terms.alias()
    return _there_is(
        other.c.image_id,
        other.c.image_id == image_id,
        other.c.digest == _digest(number),
    )


def _has_changed(
    source: sa.FromClause, image_id: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    changed_at: sa.ColumnElement[Any]
    if source is images:
        # What isn't a bare column keeps the planner off the index by time of
        # change, where the set is to be walked in its order.
        changed_at = sa.func.coalesce(images.c.changed_at, images.c.created_at)
        return changed_at >= _changes_since()
    other = images.alias()
    return _there_is(
        other.c.id,
        other.c.id == image_id,
        other.c.changed_at >= _changes_since(),
    )


def _there_is(
    column: sa.ColumnElement[Any], *scope: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Return whether a row exists, looked up row by row.

    EXISTS says the same, but planners turn it into a join, and may then read
    all that has the second of two terms.
    """
    found = sa.select(column).where(*scope).scalar_subquery()
    return found.is_not(None)


def _count(
    column: sa.ColumnElement[Any],
    scope: list[sa.ColumnElement[bool]],
    limit: int,
) -> sa.ScalarSelect[int]:
    rows = (
        sa.select(column)
        .where(*scope)
        .limit(sa.literal_column(str(limit + 1)))
        .subquery()
    )
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()


def _digest(number: int) -> sa.BindParameter[Any]:
    return sa.bindparam(f"digest_{number}", type_=image_terms.c.digest.type)


def _project_id() -> sa.BindParameter[Any]:
    return sa.bindparam("project_id", type_=images.c.owner.type)


def _changes_since() -> sa.BindParameter[Any]:
    return sa.bindparam("changes_since", type_=images.c.changed_at.type)


def _row_count() -> sa.BindParameter[Any]:
    return sa.bindparam("rows", type_=sa.Integer)
