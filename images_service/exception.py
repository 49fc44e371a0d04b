# SPDX-License-Identifier: Apache-2.0
"""Errors that callers see, and the table that turns them into faults."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

Headers = list[tuple[str, str]]


class Error(Exception):
    """An error whose message is written for the caller of the API.

    :param headers: headers of the answer besides the usual ones.
    """

    message = ""

    def __init__(
        self,
        message: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(self.message if message is None else message)
        self.headers = headers


class Invalid(Error):
    """The request is invalid; the message names the invalid part."""


class MalformedBody(Invalid):
    message = "Malformed request body"


class MarkerNotFound(Invalid):
    """No image that the caller can see has the marker's id."""

    def __init__(self, marker: str) -> None:
        super().__init__(f"No image found with ID {marker}")


class Unauthorized(Error):
    message = "The request you have made requires authentication."


class Forbidden(Error):
    """The caller may not do this.

    :param why: the reason for operators; the default is the message.
    :param target: target of the rule that refuses, None if no rule refuses.
    """

    message = "Policy does not allow this action."

    def __init__(
        self,
        message: str | None = None,
        *,
        why: str | None = None,
        target: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.why = str(self) if why is None else why
        self.target = target


class QuotaExceeded(Forbidden):
    message = "Image metadata limit exceeded"


class NotFound(Error):
    message = "The resource could not be found."


class ImageNotFound(NotFound):
    message = "Image not found."


class MethodNotAllowed(Error):
    message = "The method is not allowed for the requested URL."


class NotAcceptable(Error):
    """The microversion is out of range."""


class Conflict(Error):
    message = "An image with this id exists already."


class PreconditionFailed(Error):
    message = "The image has changed since the given ETag."


class BodyTooLarge(Error):
    message = "The request body is too large."


class UnsupportedMediaType(Error):
    message = "Unsupported Content-Type"


class Unavailable(Error):
    message = "The service is temporarily unavailable. Try again later."


class StoreUnavailable(Unavailable):
    """The database can't be reached, or stays locked."""


class IdentityUnavailable(Unavailable):
    """Keystone doesn't answer."""


class PolicyUnavailable(Unavailable):
    """The remote service of a policy rule doesn't answer."""


class GlanceUnavailable(Unavailable):
    """Glance doesn't answer, or its answer can't be used."""


class Unexpected(Error):
    message = (
        "The server has either erred or is incapable of performing the "
        "requested operation."
    )


FAULTS: dict[type[Error], tuple[int, str]] = {
    Invalid: (400, "badRequest"),
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    NotFound: (404, "itemNotFound"),
    MethodNotAllowed: (405, "badMethod"),
    NotAcceptable: (406, "computeFault"),
    Conflict: (409, "conflictingRequest"),
    PreconditionFailed: (412, "computeFault"),
    BodyTooLarge: (413, "overLimit"),
    UnsupportedMediaType: (415, "badMediaType"),
    Unexpected: (500, "computeFault"),
    Unavailable: (503, "serviceUnavailable"),
}

_NAMES = dict(FAULTS.values())
# Seconds after which the caller may try again.
_RETRY_AFTER = "5"


def status_of(error: Error) -> int:
    """Return the HTTP status of an error."""
    for kind in type(error).__mro__:
        if kind in FAULTS:
            return FAULTS[kind][0]
    return FAULTS[Unexpected][0]


def answer(error: Error) -> tuple[int, Headers, bytes]:
    """Return status, headers and body of an error's answer.

    The error's own headers replace the usual ones.
    """
    status = status_of(error)
    headers, body = fault(status, str(error))
    own = {name.lower() for name, _ in error.headers}
    usual = [header for header in headers if header[0].lower() not in own]
    return status, [*error.headers, *usual], body


def fault(status: int, message: str) -> tuple[Headers, bytes]:
    """Return headers and body of an answer with a compute fault."""
    name = _NAMES.get(status, "computeFault")
    document = {name: {"code": status, "message": message}}
    # Bytes of a URL that are not UTF-8 are lone surrogates here.
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
    ]
    if status == 503:
        headers.append(("Retry-After", _RETRY_AFTER))
    return headers, body
