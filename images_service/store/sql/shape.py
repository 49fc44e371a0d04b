# SPDX-License-Identifier: Apache-2.0
"""What a listing is made of, before it is SQL: sets and their questions."""

import dataclasses

from images_service import model
from images_service.store.sql.schema import State

# How far probes count.  Below the first a set's changes are sorted, and shared
# images are found by their term rather than by their member; up to the second
# the rarest of several terms is looked for.
FEW = 100
RAREST = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Set:
    """One of the sets that make up a listing.

    :param visibility: of all its images.
    :param own: only those of the viewer's project.
    :param shared: only those that the viewer's project has accepted.
    """

    visibility: str
    state: State
    own: bool = False
    shared: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What decides the text of a listing's statements.

    :param terms: how many there are; the first leads.
    :param few_changes: of each set whether changes-since matches few there.
    :param few_shared: whether few shared images have the leading term.
    :param bounded: whether metadata that are more than their share of the page
        are left out at first.
    """

    sets: tuple[Set, ...]
    after_marker: bool
    terms: int
    changes_since: bool
    few_changes: tuple[bool, ...] = ()
    few_shared: bool = False
    bounded: bool = False

    @property
    def shares(self) -> bool:
        """Whether a set is what is shared with the viewer."""
        return any(one.shared for one in self.sets)

    @property
    def needs_probe(self) -> bool:
        """Whether the statement's best form can't be told without looking."""
        return (
            self.terms > 1
            or self.changes_since
            or (self.terms > 0 and self.shares)
        )


def sets(query: model.ListQuery, viewer: model.Viewer) -> tuple[Set, ...]:
    """Return the disjoint sets that a viewer's listing is made of."""
    everybodys: tuple[str, ...] = ("public",)
    if viewer.is_admin:
        everybodys = ("public", "private", "shared")
    states: tuple[State, ...] = (State.LISTED,)
    if query.statuses is not None and "killed" in query.statuses:
        states = (State.KILLED,)
    elif query.changes_since is not None:
        states = (State.LISTED, State.DELETED)
    if viewer.is_operator:
        everybodys = model.VISIBILITIES
        states = (State.LISTED, State.KILLED, State.HIDDEN)
    found = [
        Set(visibility, state, own=visibility not in everybodys)
        for state in states
        for visibility in model.VISIBILITIES
    ]
    if not viewer.is_admin:
        found += [Set("shared", state, shared=True) for state in states]
    return tuple(found)
