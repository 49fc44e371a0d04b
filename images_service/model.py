# SPDX-License-Identifier: Apache-2.0
"""The words that every layer shares: an image, a listing, a change.

Plain values: they know no database, no HTTP and nothing else of this package.
"""

from collections.abc import Mapping
import dataclasses
import datetime
import re
from typing import NamedTuple

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
}

# What an image's id looks like, in any letter case.
IMAGE_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I | re.A)

VISIBILITIES = ("public", "private", "shared", "community")

MEMBER_STATUSES = ("pending", "accepted", "rejected")


class Image(NamedTuple):
    """One image, as it is stored.

    A tuple, since a page makes a thousand of them and a row becomes one at no
    cost.  Sizes are bytes, ``min_ram`` MiB, ``min_disk`` GiB; times are UTC
    without a zone.  ``metadata`` is the JSON text of an object of strings.
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
    """Whose eyes the store looks with.

    :param project_id: the project whose images are one's own.
    :param is_admin: sees the images of all projects.
    :param is_operator: an administrator who has the machine, not a token:
        also lists what listings leave out, but for deleted images.
    """

    project_id: str
    is_admin: bool = False
    is_operator: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of images that is asked for.

    :param limit: at most so many images.
    :param marker: the id after which the page starts.
    :param name: exactly this name.
    :param statuses: one of these stored statuses.
    :param min_ram: exactly so many MiB.
    :param min_disk: exactly so many GiB.
    :param changes_since: created, updated or deleted at or after (UTC).
    :param properties: all of these metadata, key and value.
    :param max_metadata: at most about so many characters of metadata, but for
        the page's first image; None for any number.
    """

    limit: int
    marker: str | None = None
    name: str | None = None
    statuses: tuple[str, ...] | None = None
    min_ram: int | None = None
    min_disk: int | None = None
    changes_since: datetime.datetime | None = None
    properties: tuple[tuple[str, str], ...] = ()
    max_metadata: int | None = None


class Page(NamedTuple):
    """Some images of a listing, and whether more follow."""

    images: list[Image]
    more: bool


@dataclasses.dataclass(frozen=True, slots=True)
class MetadataChange:
    """A change of an image's metadata.

    :param items: keys and values to set.
    :param replace: drop every other key.
    :param remove: a key to drop.  Such a change sets nothing and is held to
        no quota.
    """

    items: Mapping[str, str] = dataclasses.field(default_factory=dict)
    replace: bool = False
    remove: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NewImage:
    """An image on its way into the store.

    :param image: its attributes; ``generation`` and ``metadata`` are not read.
    :param metadata: keys and values.
    :param members: project id -> status of the share; None where nothing is
        known of them, so that those the store has stay.
    """

    image: Image
    metadata: Mapping[str, str]
    members: Mapping[str, str] | None
