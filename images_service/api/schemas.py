# SPDX-License-Identifier: Apache-2.0
"""What query strings and bodies must look like, and how they fail to."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import fastjsonschema
import jsonschema
from jsonschema import exceptions
from jsonschema import validators
from oslo_utils import timeutils

from images_service import errors

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


def _minimum(
    validator: Any, minimum: int, value: Any, _schema: Any
) -> Iterator[exceptions.ValidationError]:
    """Hold the digits of a query parameter to a minimum of 1.

    They may be more digits than Python makes a number of.
    """
    assert minimum == 1
    if value and not value.strip("0"):
        yield exceptions.ValidationError(
            f"{value} is less than the minimum of {minimum}"
        )


_formats = jsonschema.FormatChecker(formats=())
_formats.checks(TIME, raises=(ValueError, OverflowError))(
    lambda value: bool(timeutils.normalize_time(parse_time(value)))
)
_QueryValidator = validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"minimum": _minimum}
)


def parse_time(value: str) -> Any:
    """Return the time that an ISO 8601 text names; no zone means UTC.

    :raises ValueError: it names none.
    """
    return timeutils.parse_isotime(value)


class Schema:
    """A schema, compiled once, and the place that its messages name.

    :param place: ``field/attribute`` or ``query parameters``.
    :param quick: raises an exception where a value may not fit; finds out
        sooner that one does than ``validator``, which knows the messages.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        place: str,
        validator: Any,
        quick: Callable[[Any], object] | None = None,
    ) -> None:
        self.schema = schema
        self._place = place
        self._validator = validator(schema, format_checker=_formats)
        self._quick = quick

    def check(self, value: Any) -> None:
        """Raise an error that names what is wrong with a value, if anything.

        :raises errors.Invalid: the value doesn't fit.
        :raises errors.MalformedBody: it is nested too deep to be looked at.
        """
        if self._quick is not None:
            try:
                self._quick(value)
                return
            except fastjsonschema.JsonSchemaException:
                # What is wrong with it is said below.
                pass
        try:
            error = exceptions.best_match(self._validator.iter_errors(value))
        except RecursionError as too_deep:
            raise errors.MalformedBody from too_deep
        if error is None:
            return
        path = [step for step in error.path if isinstance(step, str)]
        if not path:
            raise errors.Invalid(error.message)
        raise errors.Invalid(
            f"Invalid input for {self._place} {path[-1]}. "
            f"Value: {error.instance}. {error.message}"
        )


def of_query(schema: Mapping[str, Any]) -> Schema:
    """Return a schema of a query: parameter -> list of its values."""
    return Schema(schema, "query parameters", _QueryValidator)


def of_body(schema: Mapping[str, Any]) -> Schema:
    """Return a schema of a JSON body."""
    return Schema(
        schema,
        "field/attribute",
        jsonschema.Draft202012Validator,
        # Code made of the schema: 1 us for one item, where the validator
        # takes 16.
        fastjsonschema.compile(dict(schema), use_default=False),
    )
