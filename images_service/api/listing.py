# SPDX-License-Identifier: Apache-2.0
"""Query strings: what a listing is asked for, and where it goes on."""

from collections.abc import Mapping
import urllib.parse

from images_service import errors
from images_service import model
from images_service.api import schemas

# The largest integer that a database stores.
_LARGEST = str(2**63 - 1)
_MAX_PROPERTIES = 16
_PROPERTY = "property-"
# What a next link keeps, beside properties.
_PARAMETERS = frozenset(
    {*schemas.LISTING["properties"], *schemas.UNCHECKED}
    - {"marker", "page_size", "offset"}
)

# A status, in lower case -> the stored statuses that it means: those shown by
# this name, and the one stored under it.
_STATUSES: Mapping[str, tuple[str, ...]] = {
    word: tuple(
        stored
        for stored, (shown, _) in model.STATUSES.items()
        if word in (stored, shown.lower())
    )
    for word in {
        *model.STATUSES,
        *(shown.lower() for shown, _ in model.STATUSES.values()),
    }
}


def decode(query_string: str) -> list[tuple[str, str]]:
    """Return the names and values of a query string.

    :param query_string: as WSGI has it, bytes as Latin-1.
    :raises errors.Invalid: it isn't UTF-8.
    """
    if not query_string:
        return []
    try:
        text = query_string.encode("latin-1").decode()
        return urllib.parse.parse_qsl(
            text, keep_blank_values=True, errors="strict"
        )
    except UnicodeError as error:
        raise errors.Invalid("Query string is not UTF-8 encoded") from error


def parse(
    pairs: list[tuple[str, str]], schema: schemas.Schema, max_limit: int
) -> model.ListQuery:
    """Return the listing that a query string asks for.

    Of a repeated parameter the last value counts, but every value must be
    valid.

    :raises errors.Invalid: a value is not.
    """
    if not pairs:
        return model.ListQuery(limit=max_limit)
    values: dict[str, list[str]] = {}
    for parameter, value in pairs:
        values.setdefault(parameter, []).append(value)
    schema.check(values)
    last = dict(pairs)
    properties = _properties(last)
    name = last.get("name")
    statuses = (
        _STATUSES.get(last["status"].lower(), ()) if "status" in last else None
    )
    min_ram, min_disk = last.get("minRam"), last.get("minDisk")
    if (name and "\0" in name) or _too_large(min_ram) or _too_large(min_disk):
        # No database can hold such a value, so none is asked for it.
        name, statuses, min_ram, min_disk = None, (), None, None
    since = last.get("changes-since")
    limit = last.get("limit")
    return model.ListQuery(
        limit=max_limit if limit is None else _at_most(limit, max_limit),
        marker=last.get("marker") or None,
        name=name,
        statuses=statuses,
        min_ram=None if min_ram is None else int(min_ram),
        min_disk=None if min_disk is None else int(min_disk),
        changes_since=None if since is None else schemas.parse_time(since),
        properties=properties,
    )


def next_query(pairs: list[tuple[str, str]], marker: str) -> str:
    """Return the query string of the page after an image.

    It keeps what the listing was asked for and drops what means nothing.
    """
    kept = {
        name: value
        for name, value in pairs
        if name in _PARAMETERS or name.startswith(_PROPERTY)
    }
    return urllib.parse.urlencode({**kept, "marker": marker})


def _properties(last: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    properties = [
        (name.removeprefix(_PROPERTY), value)
        for name, value in last.items()
        if name.startswith(_PROPERTY)
    ]
    if len(properties) > _MAX_PROPERTIES:
        raise errors.Invalid(
            f"At most {_MAX_PROPERTIES} property- filters are allowed, "
            f"{len(properties)} were given."
        )
    if "type" in last:
        properties.append(("image_type", last["type"]))
    if "server" in last:
        # The server may be named by its URL.
        server = last["server"].rpartition("/")[2]
        properties.append(("instance_uuid", server))
    return tuple(properties)


def _too_large(digits: str | None) -> bool:
    if digits is None:
        return False
    digits = digits.lstrip("0")
    return (len(digits), digits) > (len(_LARGEST), _LARGEST)


def _at_most(digits: str, maximum: int) -> int:
    return maximum if _too_large(digits) else min(int(digits), maximum)
