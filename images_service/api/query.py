# SPDX-License-Identifier: Apache-2.0
"""Parses query strings of lists, and builds the next page's query string."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
import urllib.parse

from images_service import exception
from images_service import model
from images_service.api import validation

# The values of each parameter, in the order of the query string.
Values = Mapping[str, Sequence[str]]

_MAX_PROPERTIES = 16
_PROPERTY = "property-"
# The largest integer that a database stores.
_LARGEST = 2**63 - 1


def _number(digits: str) -> int:
    """Convert digits; 20 digits exceed every number that a database stores."""
    return int(digits.lstrip("0")[:20] or "0")


# Parameter -> (attribute of the listing, conversion).
_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "limit": ("limit", _number),
    "marker": ("marker", lambda text: text or None),
    "name": ("name", str),
    "status": ("status", str.lower),
    "minRam": ("min_ram", _number),
    "minDisk": ("min_disk", _number),
    "changes-since": ("changes_since", validation.parse_time),
}
# Parameters that a next link keeps, besides property filters.
_KEPT = frozenset({*_FIELDS, "type", "server"} - {"marker"})


def decode(query_string: str) -> Values:
    """Return the parameters of a query string.

    :param query_string: bytes as Latin-1, as in WSGI.
    :raises Invalid: it isn't UTF-8.
    """
    try:
        text = query_string.encode("latin-1").decode()
        return urllib.parse.parse_qs(
            text, keep_blank_values=True, errors="strict"
        )
    except UnicodeError as error:
        raise exception.Invalid("Query string is not UTF-8 encoded") from error


def parse(
    values: Values, max_limit: int, max_metadata: int
) -> model.ListQuery:
    """Return the listing that valid parameters ask for.

    If a parameter is repeated, its last value counts.

    :param max_metadata: bytes of metadata that the page may hold.
    :raises Invalid: there are too many filters by properties.
    """
    last = {name: repeated[-1] for name, repeated in values.items()}
    fields: dict[str, Any] = {
        "limit": max_limit,
        "max_metadata": max_metadata,
    }
    for name, (field, convert) in _FIELDS.items():
        if name in last:
            fields[field] = convert(last[name])
    fields["limit"] = min(fields["limit"], max_limit)
    largest = max(fields.get("min_ram", 0), fields.get("min_disk", 0))
    if largest > _LARGEST or "\0" in fields.get("name", ""):
        # Databases refuse such values: ask for a status that no image has.
        fields |= {"name": None, "min_ram": None, "min_disk": None}
        fields["status"] = ""
    return model.ListQuery(**fields, properties=_properties(last))


def next_query(values: Values, marker: str) -> str:
    """Return the query string of the page after an image."""
    kept = {
        name: repeated[-1]
        for name, repeated in values.items()
        if name in _KEPT or name.startswith(_PROPERTY)
    }
    return urllib.parse.urlencode({**kept, "marker": marker})


def _properties(last: dict[str, str]) -> tuple[tuple[str, str], ...]:
    properties = [
        (name.removeprefix(_PROPERTY), value)
        for name, value in last.items()
        if name.startswith(_PROPERTY)
    ]
    if len(properties) > _MAX_PROPERTIES:
        raise exception.Invalid(
            f"At most {_MAX_PROPERTIES} property- filters are allowed, "
            f"{len(properties)} were given."
        )
    if "type" in last:
        properties.append(("image_type", last["type"]))
    if "server" in last:
        # A URL names the server by its last segment.
        server = last["server"].rpartition("/")[2]
        properties.append(("instance_uuid", server))
    return tuple(properties)
