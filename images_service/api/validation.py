# SPDX-License-Identifier: Apache-2.0
"""Schemas of query strings and bodies, with Nova's error messages."""

from collections.abc import Iterator
from collections.abc import Mapping
import datetime
from typing import Any

import jsonschema
from jsonschema import exceptions
from jsonschema import validators
from oslo_utils import timeutils

from images_service import exception

# Not allowed: lone surrogates, and U+0000, which PostgreSQL can't store.
NO_SCALAR = r"\x00\ud800-\udfff"
_SCALARS = f"[^{NO_SCALAR}]"
_KEY = r"^[a-zA-Z0-9-_:. ]{1,255}\Z"
_LEGACY_KEY = rf"^{_SCALARS}{{1,255}}\Z"
_VALUE = {"type": "string", "maxLength": 255, "pattern": rf"^{_SCALARS}*\Z"}


def parse_time(value: str) -> datetime.datetime:
    """Return the time that an ISO 8601 text names, in UTC without a zone.

    :raises ValueError: the text is not a time.
    """
    try:
        time: datetime.datetime = timeutils.parse_isotime(value)
        return timeutils.normalize_time(time)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _minimum(
    _validator: Any, minimum: int, value: str, _schema: Any
) -> Iterator[exceptions.ValidationError]:
    """Check that digits are not all zero; Python can't convert very many."""
    if value and not value.strip("0"):
        yield exceptions.ValidationError(
            f"{value} is less than the minimum of {minimum}"
        )


_FORMATS = jsonschema.FormatChecker(formats=())
_FORMATS.checks("date-time", raises=ValueError)(
    lambda text: bool(parse_time(text))
)
_Validator = validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"minimum": _minimum}
)


class Schema:
    """A JSON schema with Nova's error messages.

    :param schema: a JSON schema; digits in strings may have a minimum of 1.
    :param place: description of the value's place, for messages.
    """

    def __init__(
        self, schema: Mapping[str, Any], place: str = "field/attribute"
    ) -> None:
        self.schema = schema
        self._place = place
        self._validator = _Validator(schema, format_checker=_FORMATS)

    def check(self, value: Any) -> None:
        """Check a value against the schema.

        :raises Invalid: the message names the field, the value and the reason.
        """
        try:
            error = exceptions.best_match(self._validator.iter_errors(value))
        except RecursionError as too_deep:
            raise exception.MalformedBody from too_deep
        if error is None:
            return
        path = [step for step in error.path if isinstance(step, str)]
        if not path:
            raise exception.Invalid(error.message)
        raise exception.Invalid(
            f"Invalid input for {self._place} {path[-1]}. "
            f"Value: {error.instance}. {error.message}"
        )


def _body(name: str, *, legacy: bool, **limits: int) -> Schema:
    """Return the schema of a body with metadata items in one member."""
    items = {
        "type": "object",
        "patternProperties": {_LEGACY_KEY if legacy else _KEY: _VALUE},
        "additionalProperties": False,
        **limits,
    }
    return Schema(
        {
            "type": "object",
            "properties": {name: items},
            "required": [name],
            "additionalProperties": legacy,
        }
    )


def _each(**schema: Any) -> dict[str, Any]:
    """Return the schema of a parameter: each of its values is checked."""
    return {"type": "array", "items": {"type": "string", **schema}}


_DIGITS = r"^[0-9]+\Z"
_POSITIVE = _each(pattern=_DIGITS, minimum=1)
_ONE = {"minProperties": 1, "maxProperties": 1}

KEY = {"type": "string", "pattern": _KEY}
METADATA = _body("metadata", legacy=False)
META = _body("meta", legacy=False, **_ONE)
LEGACY_METADATA = _body("metadata", legacy=True)
LEGACY_META = _body("meta", legacy=True, **_ONE)
LISTING = Schema(
    {
        "type": "object",
        "properties": {
            "limit": _POSITIVE,
            "page_size": _POSITIVE,
            "offset": _POSITIVE,
            "minRam": _each(pattern=_DIGITS),
            "minDisk": _each(pattern=_DIGITS),
            "changes-since": _each(format="date-time"),
            "marker": _each(),
            "name": _each(),
            "status": _each(),
            "type": _each(),
            "server": _each(),
        },
    },
    "query parameters",
)
