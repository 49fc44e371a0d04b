# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a value, in the words that Nova's clients know."""

from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import NoReturn

import jsonschema
from jsonschema import exceptions
from jsonschema import validators

from images_service import errors
from images_service.api import schemas


def _minimum(
    validator: Any, minimum: int, value: Any, _schema: Any
) -> Iterator[exceptions.ValidationError]:
    """Hold digits, which are text, to a minimum of 1."""
    if value and not value.strip("0"):
        yield exceptions.ValidationError(
            f"{value} is less than the minimum of {minimum}"
        )


_formats = jsonschema.FormatChecker(formats=())
_formats.checks(schemas.TIME, raises=ValueError)(
    lambda value: bool(schemas.parse_time(value))
)
_Validator = validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"minimum": _minimum}
)


def complain(schema: Mapping[str, Any], place: str, value: Any) -> NoReturn:
    """Raise an error that names what is wrong with a value.

    :param place: what the value is a part of.
    :param value: one that doesn't fit the schema.
    :raises errors.Invalid: always, but
    :raises errors.MalformedBody: it is nested too deep to be looked at.
    """
    validator = _Validator(schema, format_checker=_formats)
    try:
        error = exceptions.best_match(validator.iter_errors(value))
    except RecursionError as too_deep:
        raise errors.MalformedBody from too_deep
    if error is None:
        raise AssertionError("what doesn't fit has nothing wrong with it")
    path = [step for step in error.path if isinstance(step, str)]
    if not path:
        raise errors.Invalid(error.message)
    raise errors.Invalid(
        f"Invalid input for {place} {path[-1]}. "
        f"Value: {error.instance}. {error.message}"
    )
