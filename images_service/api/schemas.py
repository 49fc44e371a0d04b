# SPDX-License-Identifier: Apache-2.0
"""What query strings and bodies must look like, and how they fail to."""

from collections.abc import Mapping
from typing import Any

import fastjsonschema
from oslo_utils import timeutils

# Every Unicode scalar value but U+0000, which PostgreSQL can't store.
NO_SCALAR = r"\x00\ud800-\udfff"
_SCALARS = f"[^{NO_SCALAR}]"
_VALUE = {"type": "string", "maxLength": 255, "pattern": rf"^{_SCALARS}*\Z"}
_KEY = r"^[a-zA-Z0-9-_:. ]{1,255}\Z"
KEY = {"type": "string", "pattern": _KEY}
_LEGACY_KEY = rf"^{_SCALARS}{{1,255}}\Z"


def _items(key: str, **limits: int) -> dict[str, Any]:
    return {
        "type": "object",
        "patternProperties": {key: _VALUE},
        "additionalProperties": False,
        **limits,
    }


def _body(name: str, items: dict[str, Any], *, extra: bool) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: items},
        "required": [name],
        "additionalProperties": extra,
    }


def _listed(schema: dict[str, Any]) -> dict[str, Any]:
    """Say that each value of a repeated parameter fits a schema."""
    return {"type": "array", "items": {"type": "string", **schema}}


TIME = "ISO 8601 time"
_DIGITS = {"pattern": r"^[0-9]+\Z"}
# They may be more digits than Python makes a number of.
_POSITIVE = _listed({**_DIGITS, "minimum": 1})

LISTING: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "limit": _POSITIVE,
        "page_size": _POSITIVE,
        "offset": _POSITIVE,
        "minRam": _listed(_DIGITS),
        "minDisk": _listed(_DIGITS),
        "changes-since": _listed({"format": TIME}),
    },
}

# Parameters of a listing for which any text is good; so are property-KEY's.
UNCHECKED = ("marker", "name", "status", "type", "server")

_ONE = {"minProperties": 1, "maxProperties": 1}
METADATA = _body("metadata", _items(_KEY), extra=False)
META = _body("meta", _items(_KEY, **_ONE), extra=False)
# The legacy endpoint ignores what it doesn't know.
LEGACY_METADATA = _body("metadata", _items(_LEGACY_KEY), extra=True)
LEGACY_META = _body("meta", _items(_LEGACY_KEY, **_ONE), extra=True)


def parse_time(value: str) -> Any:
    """Return the time that an ISO 8601 text names, in UTC without a zone.

    No zone means UTC.

    :raises ValueError: it names none.
    """
    try:
        return timeutils.normalize_time(timeutils.parse_isotime(value))
    except OverflowError as error:
        raise ValueError(str(error)) from error


def plain(schema: Any) -> Any:
    """Return a schema in the words of JSON Schema alone.

    To it digits are text, which has no minimum: a pattern says the same.
    """
    if isinstance(schema, list):
        return [plain(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: plain(value) for key, value in schema.items()}
    if found.get("type") == "string" and found.pop("minimum", None):
        found["pattern"] = r"^0*[1-9][0-9]*\Z"
    return found


class Schema:
    """A schema, compiled to code that says whether a value fits.

    It takes 1 us for a body of one item, where a validator takes 16.

    :param schema: in which digits may have a minimum of 1.
    :param place: ``field/attribute`` or ``query parameters``, in messages.
    """

    def __init__(self, schema: Mapping[str, Any], place: str) -> None:
        self.schema = schema
        self._place = place
        self._check = fastjsonschema.compile(
            plain(schema), formats={TIME: _is_time}, use_default=False
        )

    def check(self, value: Any) -> None:
        """Raise an error that names what is wrong with a value, if anything.

        :raises errors.Invalid: the value doesn't fit.
        :raises errors.MalformedBody: it is nested too deep to be looked at.
        """
        try:
            self._check(value)
        except fastjsonschema.JsonSchemaException:
            # What says so in Nova's words takes 3 MB, which a worker need not
            # have before somebody sends something wrong.
            from images_service.api import complaints  # noqa: PLC0415

            complaints.complain(self.schema, self._place, value)


def _is_time(value: str) -> bool:
    try:
        parse_time(value)
    except ValueError:
        return False
    return True


def of_query(schema: Mapping[str, Any]) -> Schema:
    """Return a schema of a query: parameter -> list of its values."""
    return Schema(schema, "query parameters")


def of_body(schema: Mapping[str, Any]) -> Schema:
    """Return a schema of a JSON body."""
    return Schema(schema, "field/attribute")
