# SPDX-License-Identifier: Apache-2.0
"""Values that every layer uses: images, listings, changes."""

from collections.abc import Mapping
import dataclasses
import datetime
import operator
import re
from typing import Generic
from typing import NamedTuple
from typing import TypeVar

# Stored status -> (status that the API shows, progress in percent).
STATUSES: Mapping[str, tuple[str, int]] = {
    "active": ("ACTIVE", 100),
    "queued": ("SAVING", 25),
    "saving": ("SAVING", 50),
    "uploading": ("UNKNOWN", 0),
    "importing": ("UNKNOWN", 0),
    "deactivated": ("UNKNOWN", 0),
    "killed": ("ERROR", 0),
    "pending_delete": ("DELETED", 0),
    "deleted": ("DELETED", 0),
    # Stands for the statuses of newer releases of Glance.
    "unknown": ("UNKNOWN", 0),
}
UNKNOWN = "unknown"
VISIBILITIES = ("public", "private", "shared", "community")
MEMBER_STATUSES = ("pending", "accepted", "rejected")
IMAGE_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I | re.A)


def status_words(status: str) -> frozenset[str]:
    """Return the values of a status filter that match a stored status."""
    return frozenset({status, STATUSES[status][0].lower()})


class Image(NamedTuple):
    """A stored image.

    A tuple is the fastest object to create from a row. Sizes are in bytes,
    ``min_ram`` in MiB, ``min_disk`` in GiB; times are UTC without a zone.
    ``metadata`` is the JSON text of an object of strings.
    """

    id: str
    name: str | None
    status: str
    visibility: str
    owner: str
    size: int | None
    min_ram: int
    min_disk: int
    protected: bool
    os_hidden: bool
    created_at: datetime.datetime
    updated_at: datetime.datetime
    deleted_at: datetime.datetime | None
    generation: int
    metadata: str


@dataclasses.dataclass(frozen=True, slots=True)
class Viewer:
    """Scope of a query: project and privileges."""

    project_id: str
    is_admin: bool = False  # sees the images of all projects
    # Lists also contain hidden and killed images, and community images of
    # other projects.
    is_operator: bool = False
    # For properties that Glance protects.
    roles: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of a listing, and its filters."""

    limit: int
    marker: str | None = None  # the id after which the page starts
    name: str | None = None
    status: str | None = None  # stored or shown, in lower case
    min_ram: int | None = None
    min_disk: int | None = None
    changes_since: datetime.datetime | None = None  # UTC
    properties: tuple[tuple[str, str], ...] = ()  # metadata keys and values
    max_metadata: int | None = None  # bytes in a page of several images


class Summary(NamedTuple):
    """The attributes of an image that a listing without details shows."""

    id: str
    name: str | None


class Detail(NamedTuple):
    """The attributes of an image that the API shows."""

    id: str
    name: str | None
    status: str
    size: int | None
    min_ram: int
    min_disk: int
    created_at: datetime.datetime
    updated_at: datetime.datetime
    metadata: str

    @classmethod
    def of(cls, image: Image) -> "Detail":
        """Return the details of a stored image."""
        return cls(*_detail(image))


_detail = operator.attrgetter(*Detail._fields)

T = TypeVar("T", Image, Detail, Summary)


class Page(NamedTuple, Generic[T]):
    """Some images of a listing, and whether more follow."""

    images: list[T]
    more: bool

    @property
    def next(self) -> str | None:
        """The marker of the next page, None if no page follows."""
        return self.images[-1].id if self.more else None


@dataclasses.dataclass(frozen=True, slots=True)
class NewImage:
    """An image to store."""

    image: Image  # generation and metadata are not read
    metadata: Mapping[str, str]
    # Project id -> status of the share; None keeps the stored shares.
    members: Mapping[str, str] | None
    # When the store learned of the last change; None for the latest time of
    # the image itself.
    changed_at: datetime.datetime | None = None
