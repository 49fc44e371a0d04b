# SPDX-License-Identifier: Apache-2.0
"""The SQL of a listing: disjoint branches, each read in the listing's order.

What a project sees is a union of sets that have no image in common: public
images, its own by visibility, and those shared with it.  Each set is an
equality prefix of an index whose rest is the order of the listing, so each is
read from where the page starts and no further than the page is long, however
many images there are.  The union of those few rows is then sorted.

A statement depends on the shape of a listing, not on its values, and is built
once for each shape.
"""

from collections.abc import Iterator
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from images_service import model
from images_service.store.sql import documents
from images_service.store.sql.schema import image_members
from images_service.store.sql.schema import image_properties
from images_service.store.sql.schema import images

IMAGE_COLUMNS = tuple(images.c)[: len(model.Image._fields)]


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What decides the text of a listing's statement."""

    is_admin: bool
    is_operator: bool
    after_marker: bool
    changes_since: bool
    name: bool
    statuses: tuple[str, ...] | None
    min_ram: bool
    min_disk: bool
    properties: int

    @classmethod
    def of(
        cls, query: model.ListQuery, viewer: model.Viewer, *, after: bool
    ) -> "Shape":
        """Return the shape of a query."""
        return cls(
            is_admin=viewer.is_admin,
            is_operator=viewer.is_operator,
            after_marker=after,
            changes_since=query.changes_since is not None,
            name=query.name is not None,
            statuses=query.statuses,
            min_ram=query.min_ram is not None,
            min_disk=query.min_disk is not None,
            properties=len(query.properties),
        )


def parameters(
    query: model.ListQuery,
    viewer: model.Viewer,
    marker: tuple[datetime.datetime, str] | None,
) -> dict[str, Any]:
    """Return the values that a statement of the query's shape takes.

    :param marker: when the image before the page was created, and its id.
    """
    values: dict[str, Any] = {
        "project_id": viewer.project_id,
        "rows": query.limit + 1,
        "name": query.name,
        "min_ram": query.min_ram,
        "min_disk": query.min_disk,
        "changes_since": query.changes_since,
    }
    if marker is not None:
        values["marker_created_at"], values["marker_id"] = marker
    for number, (name, value) in enumerate(query.properties):
        values[f"digest_{number}"] = documents.digest(name, value)
    return values


def statement(shape: Shape) -> sa.Select[Any]:
    """Return the SELECT of a page of images, in the listing's order.

    It yields one image more than the page holds, if there is one.
    """
    conditions = list(_filters(shape))
    branches = [
        _branch(source, [*scope, *conditions], shape, created_at, image_id)
        for source, scope, created_at, image_id in _scopes(shape)
    ]
    union = sa.union_all(*branches).subquery()
    return (
        sa.select(*union.c)
        .order_by(union.c.created_at.desc(), union.c.id.desc())
        .limit(sa.bindparam("rows", type_=sa.Integer))
    )


def _branch(
    source: sa.FromClause,
    conditions: list[sa.ColumnElement[bool]],
    shape: Shape,
    created_at: sa.ColumnElement[Any],
    image_id: sa.ColumnElement[Any],
) -> sa.Select[Any]:
    """Return one set of a listing, cut to the page's length.

    :param created_at: the column of the index that orders the set.
    :param image_id: the column after it.
    """
    if shape.after_marker:
        # Both databases' planners and SQLite's read this one from the
        # marker's place on; the usual OR of two cases they would scan up to
        # it, and MariaDB does so for a comparison of rows.
        when = sa.bindparam("marker_created_at", type_=created_at.type)
        marker = sa.bindparam("marker_id", type_=image_id.type)
        conditions = [
            *conditions,
            created_at <= when,
            sa.or_(created_at < when, image_id < marker),
        ]
    rows = (
        sa.select(*IMAGE_COLUMNS)
        .select_from(source)
        .where(*conditions)
        .order_by(created_at.desc(), image_id.desc())
        .limit(sa.bindparam("rows", type_=sa.Integer))
        .subquery()
    )
    # SQLite takes ORDER BY and LIMIT in a part of a union only inside FROM.
    return sa.select(*rows.c)


def _scopes(
    shape: Shape,
) -> Iterator[
    tuple[
        sa.FromClause,
        list[sa.ColumnElement[bool]],
        sa.ColumnElement[Any],
        sa.ColumnElement[Any],
    ]
]:
    """Yield the disjoint sets that make up what the viewer may list.

    Each is a source, its condition, and the columns that order it.
    """
    project_id = sa.bindparam("project_id", type_=images.c.owner.type)
    own = images.c.owner == project_id
    order = (images.c.created_at, images.c.id)
    everybodys: tuple[str, ...] = ("public",)
    if shape.is_admin:
        everybodys = ("public", "private", "shared")
    if shape.is_operator:
        everybodys = model.VISIBILITIES
    # An index has ``deleted`` before the order, so the deleted ones, which
    # only changes-since lists, are sets of their own.
    states = (sa.false(), sa.true()) if shape.changes_since else (sa.false(),)
    for deleted in states:
        state = images.c.deleted == deleted
        for visibility in model.VISIBILITIES:
            scope = [images.c.visibility == visibility, state]
            if visibility not in everybodys:
                scope.append(own)
            yield images, scope, *order
        if not shape.is_admin:
            yield (
                image_members.join(images),
                [
                    image_members.c.member == project_id,
                    image_members.c.status == "accepted",
                    images.c.visibility == "shared",
                    images.c.owner != project_id,
                    state,
                ],
                image_members.c.image_created_at,
                image_members.c.image_id,
            )


def _filters(shape: Shape) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions that hold for every image of the listing."""
    if not shape.is_operator:
        yield images.c.os_hidden == sa.false()
    if shape.statuses is not None:
        yield images.c.status.in_(shape.statuses)
    elif not shape.is_operator:
        yield images.c.status != "killed"
    for name in ("name", "min_ram", "min_disk"):
        if getattr(shape, name):
            column = images.c[name]
            yield column == sa.bindparam(name, type_=column.type)
    if shape.changes_since:
        since = sa.bindparam("changes_since", type_=images.c.changed_at.type)
        yield images.c.changed_at >= since
    for number in range(shape.properties):
        wanted = sa.bindparam(
            f"digest_{number}", type_=image_properties.c.digest.type
        )
        yield sa.exists().where(
            image_properties.c.digest == wanted,
            image_properties.c.image_id == images.c.id,
        )
