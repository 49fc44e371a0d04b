# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, and how HTTP says it.

Every error that a caller may see is a class here; ``FAULTS`` is the one place
that turns an error into a status and the name of a compute fault.
"""

import json


class Error(Exception):
    """An error whose message is written for the caller of the API."""

    message = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.message if message is None else message)


class Invalid(Error):
    """The request can't be understood; the message says which part."""


class MalformedBody(Invalid):
    """The body is no JSON text in UTF-8, or is nested too deep."""

    message = "Malformed request body"


class MarkerNotFound(Invalid):
    """A page was to start after an image that the caller can't see."""

    def __init__(self, marker: str) -> None:
        super().__init__(f"No image found with ID {marker}")


class Unauthorized(Error):
    """No token, or one that isn't good."""

    message = "The request you have made requires authentication."


class Forbidden(Error):
    """Policy or an image's protection says no."""

    message = "Policy does not allow this action."


class QuotaExceeded(Forbidden):
    """The image would have more metadata items than the quota allows."""

    message = "Image metadata limit exceeded"


class NotFound(Error):
    """No such path, key, or action at this microversion."""

    message = "The resource could not be found."


class ImageNotFound(NotFound):
    """No such image, or none that the caller may know of."""

    message = "Image not found."


class MetadataKeyNotFound(NotFound):
    """The key that was to be deleted isn't there."""

    message = "Invalid metadata key"


class MethodNotAllowed(Error):
    """The path is known, its method isn't.

    :param allow: the methods that the path knows, as ``Allow`` lists them.
    """

    message = "The method is not allowed for the requested URL."

    def __init__(self, allow: str) -> None:
        super().__init__()
        self.allow = allow


class NotAcceptable(Error):
    """A microversion out of range."""


class Conflict(Error):
    """An image with this id exists, or once existed."""

    message = "An image with this id exists already."


class PreconditionFailed(Error):
    """The image has changed since the caller read it."""

    message = "The image has changed since the given ETag."


class BodyTooLarge(Error):
    """The body is larger than the service reads."""

    message = "The request body is too large."


class UnsupportedMediaType(Error):
    """A body of a type that the service doesn't read."""

    message = "Unsupported Content-Type"


class StoreUnavailable(Error):
    """The database can't be reached, or stays locked; a retry may help."""

    message = "The service is temporarily unavailable. Try again later."


class IdentityUnavailable(Error):
    """Keystone can't be asked; a retry may help."""

    message = StoreUnavailable.message


class Unexpected(Error):
    """What nobody thought of.  Its message never says more than this."""

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
    StoreUnavailable: (503, "serviceUnavailable"),
    IdentityUnavailable: (503, "serviceUnavailable"),
}

# Seconds after which a caller who got a 503 may try again.
RETRY_AFTER = "5"


def status_of(error: Error) -> int:
    """Return the HTTP status of an error."""
    return _fault_of(error)[0]


def body_of(error: Error) -> bytes:
    """Return the JSON body that tells an error.

    Lone surrogates, which come from bytes in a URL that are no UTF-8, are
    escaped; everything else is sent as it is.
    """
    status, name = _fault_of(error)
    document = {name: {"code": status, "message": str(error)}}
    text = json.dumps(document, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _fault_of(error: Error) -> tuple[int, str]:
    for kind in type(error).__mro__:
        if kind in FAULTS:
            return FAULTS[kind]
    return FAULTS[Unexpected]
