# SPDX-License-Identifier: Apache-2.0
"""Which 2.N a request asks for."""

from collections.abc import Mapping
import re
from typing import Any

import microversion_parse

from images_service import errors

HEADER = "OpenStack-API-Version"
LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
VARY = ("Vary", f"{HEADER}, {LEGACY_HEADER}")

_FORMAT = re.compile(r"([1-9][0-9]*)\.(0|[1-9][0-9]*)", re.ASCII)
# More digits than any version has.
_LONGEST = 20


def headers(version: str) -> list[tuple[str, str]]:
    """Return the headers that name a version in an answer."""
    return [(HEADER, f"compute {version}"), (LEGACY_HEADER, version), VARY]


def requested(environ: Mapping[str, Any], maximum: str) -> str:
    """Return the version that a request asks for, ``2.1`` where it doesn't.

    :param maximum: what ``latest`` means.
    :raises errors.Invalid: it isn't written as ``N.M``.
    """
    if (
        "HTTP_OPENSTACK_API_VERSION" not in environ
        and "HTTP_X_OPENSTACK_NOVA_API_VERSION" not in environ
    ):
        return "2.1"
    version = microversion_parse.get_version(
        {
            HEADER.lower(): environ.get("HTTP_OPENSTACK_API_VERSION", ""),
            LEGACY_HEADER.lower(): environ.get(
                "HTTP_X_OPENSTACK_NOVA_API_VERSION", ""
            ),
        },
        service_type="compute",
        legacy_headers=[LEGACY_HEADER],
    )
    if not version:
        return "2.1"
    if version == "latest":
        return maximum
    if len(version) > _LONGEST or not _FORMAT.fullmatch(version):
        raise errors.Invalid(
            f"API Version String {version} is of invalid format. "
            "Must be of format MajorNum.MinorNum."
        )
    return version


def minor(version: str, maximum: str) -> int:
    """Return N of a version 2.N that the service has.

    :raises errors.NotAcceptable: it hasn't.
    """
    number = tuple(map(int, version.split(".")))
    if not (2, 1) <= number <= tuple(map(int, maximum.split("."))):
        raise errors.NotAcceptable(
            f"Version {version} is not supported by the API. "
            f"Minimum is 2.1 and maximum is {maximum}."
        )
    return number[1]
