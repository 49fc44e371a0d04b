# SPDX-License-Identifier: Apache-2.0
"""Converts Glance's images into images for the store.

``new_image`` converts an image from a file, and ``mirrored`` an image from the
API. Some members, such as ``members``, have a meaning in a file only: in the
API they are properties that any tenant can set.
"""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import datetime
import json
import re
from typing import Any
import uuid

from oslo_utils import timeutils

from images_service import exception
from images_service import model

_EPOCH = datetime.datetime(1970, 1, 1)
# Maximum size of an image's properties as JSON: MariaDB accepts 16 MiB, in
# which some characters are written twice.
_DOCUMENT_BYTES = 4 * 2**20
# Maximum length of a value in Glance's tables.
_VALUE_BYTES = 65535
# The columns that "openstack image list -f json" always prints.
_COLUMNS = frozenset({"ID", "Name", "Status"})
# Text that every database can hold: no U+0000 and no lone surrogate.
_STORABLE = "[^\0\ud800-\udfff]"


class Refused(Exception):
    """The store can't hold an image; the message says why."""


class NotImages(Exception):
    """The text holds no images; the message says what it holds."""


# Attributes that become columns, and their defaults.
_ATTRIBUTES: Mapping[str, Any] = {
    "id": None,
    "name": None,
    "status": "active",
    "visibility": "private",
    "owner": None,
    "size": None,
    "min_ram": 0,
    "min_disk": 0,
    "protected": False,
    "os_hidden": False,
    "created_at": None,
    "updated_at": None,
    "deleted_at": None,
}
_TIMES = ("created_at", "updated_at", "deleted_at")
_FLAGS = ("protected", "os_hidden")
# Attributes in Glance's API that are not kept.
_NOT_KEPT_OF_API = frozenset(
    {
        "checksum",
        "container_format",
        "direct_url",
        "disk_format",
        "file",
        "locations",
        "os_hash_algo",
        "os_hash_value",
        "schema",
        "self",
        "tags",
        "virtual_size",
    }
)
# Members of a file that are neither attributes nor metadata.
_NOT_KEPT = _NOT_KEPT_OF_API | {"members", "properties", "stores"}
# Properties that no caller can set in Glance.
_RESERVED = frozenset({"location", "deleted", "deleted_at"})
_RESERVED_PREFIX = "os_glance"
# Attributes in Glance's API.
ATTRIBUTES_OF_API = (_ATTRIBUTES.keys() - {"deleted_at"}) | _NOT_KEPT_OF_API


def _one_of(choices: Iterable[str]) -> tuple[str, re.Pattern[str]]:
    words = list(choices)
    return f"is none of {', '.join(words)}", re.compile("|".join(words))


_PROJECT = ("is not a project's id", re.compile("[ -~]{1,255}"))
# Text attributes -> message for wrong values, and pattern of right values.
_TEXTS = {
    "id": ("is not a UUID", model.IMAGE_ID),
    "name": (
        "is not a string of at most 255 characters without U+0000 and lone "
        "surrogates",
        re.compile(f"{_STORABLE}{{0,255}}"),
    ),
    "status": _one_of(model.STATUSES),
    "visibility": _one_of(model.VISIBILITIES),
    "owner": _PROJECT,
    "member_id": _PROJECT,
    "member_status": _one_of(model.MEMBER_STATUSES),
}


def new_image(
    record: Any,
    now: datetime.datetime,
    owner: str | None = None,
    *,
    generate_id: bool = False,
) -> model.NewImage:
    """Return the image that a JSON value of Glance describes.

    Attributes become columns; other members and all members of ``properties``
    become metadata.

    :param now: the time of creation of images without one.
    :param owner: the owner of images without an owner.
    :param generate_id: give images without an id a random id.
    :raises Refused: the value is not an image, or the store can't hold it.
    :raises NotImages: the value is a row from ``openstack image list``.
    """
    if isinstance(record, Refused):
        raise record
    if not isinstance(record, dict):
        raise Refused("not a JSON object")
    if "id" not in record and record.keys() >= _COLUMNS:
        raise NotImages(
            "these are columns that 'openstack image list' prints, which "
            "lack most of an image; import Glance's answer: curl -H "
            '"X-Auth-Token: $TOKEN" "$GLANCE/v2/images?limit=1000"'
        )
    given = {name: record.get(name) for name in _ATTRIBUTES}
    if given["id"] is None:
        if not generate_id:
            raise Refused("id is missing; --generate-ids makes one")
        given["id"] = str(uuid.uuid4())
    if given["owner"] is None:
        if owner is None:
            raise Refused("owner is missing")
        given["owner"] = owner
    values = {
        name: default if given[name] is None else attribute(name, given[name])
        for name, default in _ATTRIBUTES.items()
    }
    values["created_at"] = values["created_at"] or now
    values["updated_at"] = values["updated_at"] or values["created_at"]
    if values["deleted_at"] is not None:
        values["status"] = "deleted"
    elif values["status"] == "deleted":
        values["deleted_at"] = values["updated_at"]
    image = model.Image(**values, generation=1, metadata="")
    return model.NewImage(image, _metadata(record), _members(record))


def mirrored(
    record: Mapping[str, Any], members: Mapping[str, str] | None
) -> tuple[model.NewImage, list[str]]:
    """Return the image that an answer of Glance's API describes.

    Values that the store can't hold are left out: no property hides an image.

    :param members: the image's shares; None keeps the stored shares.
    :returns: the image, and a line for each value that was left out.
    :raises Refused: the image has no usable id.
    """
    refused: list[str] = []

    def usable(name: str, value: Any) -> Any:
        try:
            return attribute(name, value)
        except Refused as error:
            refused.append(str(error))
            return None

    values = {
        **_ATTRIBUTES,
        "id": attribute("id", record.get("id")),
        # No owner: only administrators see the image, unless it is public.
        "owner": "",
        "status": model.UNKNOWN,
        "created_at": _EPOCH,
        "updated_at": _EPOCH,
    }
    for name in _ATTRIBUTES.keys() - {"id", "deleted_at"}:
        if record.get(name) is not None:
            value = usable(name, record[name])
            values[name] = values[name] if value is None else value
    image = model.Image(**values, generation=0, metadata="")
    items = {}
    for name in [name for name in record if name not in ATTRIBUTES_OF_API]:
        value = "" if record[name] is None else record[name]
        try:
            check_property(name, value)
        except Refused as error:
            refused.append(str(error))
        else:
            items[name] = value
    for name in _longest(items):
        refused.append(f"property {name} is too long, with all the others")
        del items[name]
    shares = None
    if members is not None:
        shares = {
            member: status
            for member, status in members.items()
            if usable("member_id", member) and usable("member_status", status)
        }
    return model.NewImage(image, items, shares), refused


def _longest(items: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of properties that don't fit with the others."""
    sizes = {
        # The size of the value in JSON.
        name: len(json.dumps(value))
        for name, value in items.items()
    }
    total = sum(sizes.values())
    # Sorted, so that each process leaves out the same properties.
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if total <= _DOCUMENT_BYTES:
            return
        total -= sizes[name]
        yield name


def is_reserved(key: str) -> bool:
    """Tell whether a property is one that no caller can change in Glance."""
    return key in _RESERVED or key.startswith(_RESERVED_PREFIX)


def check_writable(items: Mapping[str, str], changed: Iterable[str]) -> None:
    """Check that Glance can hold properties.

    :param items: all properties of an image after the change.
    :param changed: keys of the properties that the change sets.
    :raises Invalid: Glance can't hold a property; the message names it.
    """
    folded: dict[str, int] = collections.Counter(key.lower() for key in items)
    for key in changed:
        problem = None
        if key in ATTRIBUTES_OF_API:
            problem = "is the name of an attribute in Glance"
        elif is_reserved(key):
            problem = "is reserved by Glance"
        elif key != key.strip():
            problem = "begins or ends with a space"
        elif folded[key.lower()] > 1:
            problem = "differs from another one only in the case of letters"
        elif max(key + items[key], default="") > "\uffff":
            problem = "holds a character beyond U+FFFF"
        elif len(items[key].encode()) > _VALUE_BYTES:
            problem = f"has a value of more than {_VALUE_BYTES} bytes"
        if problem:
            raise exception.Invalid(f"Metadata key {key!r} {problem}.")


def attribute(name: str, value: Any) -> Any:
    """Return the value of an attribute, as the store keeps it.

    :raises Refused: the attribute can't have this value.
    """
    if name in _TEXTS:
        problem, pattern = _TEXTS[name]
        if isinstance(value, str) and pattern.fullmatch(value):
            return value.lower() if name == "id" else value
    elif name in _TIMES:
        problem = "is not an ISO 8601 time"
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return timeutils.normalize_time(timeutils.parse_isotime(value))
    elif name in _FLAGS:
        problem = "is neither true nor false"
        if isinstance(value, bool):
            return value
    else:
        problem = "is not a whole number"
        if type(value) is int and 0 <= value < 2**63:
            return value
    raise Refused(f"{name} {problem}: {value!r}")


def check_property(key: str, value: Any) -> None:
    """Check that every database can hold a property.

    :raises Refused: some database can't hold it.
    """
    if not isinstance(value, str):
        raise Refused(f"property {key} is not a string")
    if not re.fullmatch(f"{_STORABLE}*", key + value):
        raise Refused(f"property {key!r} holds U+0000 or a lone surrogate")


def _metadata(record: Mapping[str, Any]) -> dict[str, str]:
    named = record.get("properties")
    if named is not None and not isinstance(named, dict):
        raise Refused("properties is not an object")
    items = {
        name: value
        for name, value in record.items()
        if name not in _ATTRIBUTES and name not in _NOT_KEPT
    }
    items.update(named or {})
    for name, value in items.items():
        items[name] = "" if value is None else value
        check_property(name, items[name])
    return items


def _members(record: Mapping[str, Any]) -> dict[str, str] | None:
    members = record.get("members")
    if members is None:
        return None
    if not isinstance(members, list):
        raise Refused("members is not a list")
    shares = {}
    for member in members:
        if not isinstance(member, dict):
            raise Refused("a member is not an object")
        status = member.get("status")
        shares[attribute("member_id", member.get("member_id"))] = attribute(
            "member_status", "pending" if status is None else status
        )
    return shares
