# SPDX-License-Identifier: Apache-2.0
"""Images as Glance writes them, on their way into the store.

Reads what ``GET /v2/images`` of Glance answers, in one document or several, a
JSON array of images, or one image or answer a line.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import datetime
import json
import re
from typing import Any
from typing import IO
import uuid

from oslo_utils import timeutils

from images_service import model

_NOT_KEPT = frozenset(
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
        "stores",
        "tags",
        "virtual_size",
    }
)
_ATTRIBUTES = frozenset(
    {
        "id",
        "name",
        "status",
        "visibility",
        "owner",
        "size",
        "min_ram",
        "min_disk",
        "protected",
        "os_hidden",
        "created_at",
        "updated_at",
        "deleted_at",
        "members",
        "properties",
    }
)
_LARGEST = 2**63 - 1
_WHITE_SPACE = re.compile(r"\s*")


class Refused(Exception):
    """An image that can't be taken; the message says why."""


def read(stream: IO[str]) -> Iterator[Any]:
    """Yield what stands for an image in a text, one by one.

    Lines that are complete JSON texts are read one at a time, so that a file
    of any size takes little memory; any other text is read as a whole.  What
    is no JSON is yielded as a ``Refused``, and ends a text that isn't lines.
    """
    first = ""
    while not first.strip():
        line = stream.readline()
        if not line:
            return
        first = line
    try:
        start = json.loads(first)
    except ValueError:
        yield from _read_documents(first + stream.read())
        return
    yield from _images_of(start)
    for line in stream:
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Refused(f"not JSON: {error}")
            else:
                yield from _images_of(value)


def _read_documents(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield Refused(f"not JSON: {error}")
            return
        yield from _images_of(value)
        space = _WHITE_SPACE.match(text, position)
        assert space is not None
        position = space.end()


def _images_of(value: Any) -> Iterator[Any]:
    """Yield the images of an answer, an array of either, or an image."""
    if isinstance(value, list):
        for item in value:
            yield from _images_of(item)
    elif isinstance(value, dict) and isinstance(value.get("images"), list):
        yield from value["images"]
    else:
        yield value


def new_image(
    record: Any, now: datetime.datetime, owner: str | None = None
) -> model.NewImage:
    """Return the image that a JSON value of Glance describes.

    Attributes become columns, every other string metadata, and so does all
    that stands under ``properties``, whatever its name.

    :param now: the time of images that have none.
    :param owner: the owner of images that have none.
    :raises Refused: it describes none that the store can hold.
    """
    if isinstance(record, Refused):
        raise record
    if not isinstance(record, dict):
        raise Refused("not a JSON object")
    created = _time(record, "created_at") or now
    updated = _time(record, "updated_at") or created
    deleted = _time(record, "deleted_at")
    status = _choice(record, "status", tuple(model.STATUSES), "active")
    if deleted is not None:
        status = "deleted"
    elif status == "deleted":
        deleted = updated
    image = model.Image(
        id=_id(record),
        name=_name(record),
        status=status,
        visibility=_choice(
            record, "visibility", model.VISIBILITIES, "private"
        ),
        owner=_owner(record, owner),
        size=_number(record, "size"),
        min_ram=_number(record, "min_ram") or 0,
        min_disk=_number(record, "min_disk") or 0,
        protected=_flag(record, "protected"),
        os_hidden=_flag(record, "os_hidden"),
        created_at=created,
        updated_at=updated,
        deleted_at=deleted,
        generation=1,
        metadata="",
    )
    return model.NewImage(image, _metadata(record), _members(record))


def attribute(name: str, value: Any) -> Any:
    """Return an attribute's value, as the store takes it.

    :param name: one of ``name``, ``owner``, ``min_ram`` and ``min_disk``.
    :raises Refused: the attribute can't have it.
    """
    if name == "name":
        return _name({name: value})
    if name == "owner":
        return _project(value, "a project")
    return _number({name: value}, name)


def check_property(key: str, value: str) -> None:
    """Do nothing, if every database can hold a property.

    :raises Refused: not every one can.
    """
    _storable(f"property {key}", key + value)


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
        if value is None:
            items[name] = ""
        elif not isinstance(value, str):
            raise Refused(f"property {name} is not a string")
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
        project_id = _project(member.get("member_id"), "member_id")
        shares[project_id] = _choice(
            member, "status", model.MEMBER_STATUSES, "pending"
        )
    return shares


def _id(record: Mapping[str, Any]) -> str:
    value = record.get("id")
    if value is None:
        return str(uuid.uuid4())
    if not isinstance(value, str) or not model.IMAGE_ID.fullmatch(value):
        raise Refused(f"id is not a UUID: {value!r}")
    return value.lower()


def _name(record: Mapping[str, Any]) -> str | None:
    name = record.get("name")
    if name is None:
        return None
    if not isinstance(name, str) or len(name) > 255:
        raise Refused("name is not a string of at most 255 characters")
    return _storable("name", name)


def _owner(record: Mapping[str, Any], default: str | None) -> str:
    owner = record.get("owner")
    owner = default if owner is None else owner
    if owner is None:
        raise Refused("owner is missing")
    return _project(owner, "owner")


def _project(value: Any, name: str) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= 255
        or not value.isascii()
        or not value.isprintable()
    ):
        raise Refused(f"{name} is not a project's id: {value!r}")
    return value


def _number(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise Refused(f"{name} is not a whole number: {value!r}")
    return value


def _flag(record: Mapping[str, Any], name: str) -> bool:
    value = record.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(f"{name} is neither true nor false: {value!r}")
    return bool(value)


def _choice(
    record: Mapping[str, Any],
    name: str,
    choices: tuple[str, ...],
    default: str,
) -> str:
    value = record.get(name)
    if value is None:
        return default
    if value not in choices:
        raise Refused(f"{name} is none of {', '.join(choices)}: {value!r}")
    return str(value)


def _time(record: Mapping[str, Any], name: str) -> datetime.datetime | None:
    value = record.get(name)
    if value is None:
        return None
    try:
        time = timeutils.normalize_time(timeutils.parse_isotime(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(f"{name} is not an ISO 8601 time: {value!r}") from error
    assert isinstance(time, datetime.datetime)
    return time


def _storable(what: str, text: str) -> str:
    """Return a text that every database can hold.

    :raises Refused: it holds U+0000 or half a surrogate pair.
    """
    if "\0" in text or not _is_unicode(text):
        raise Refused(f"{what!r} holds U+0000 or a lone surrogate")
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeError:
        return False
    return True
