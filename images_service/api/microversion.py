# SPDX-License-Identifier: Apache-2.0
"""The microversion of a request."""

from collections.abc import Mapping
import re
from typing import Any

import microversion_parse

from images_service import exception

HEADER = "OpenStack-API-Version"
LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
_VARY = ("Vary", f"{HEADER}, {LEGACY_HEADER}")
_VARIABLES = (
    "HTTP_OPENSTACK_API_VERSION",
    "HTTP_X_OPENSTACK_NOVA_API_VERSION",
)
# Python converts no more than 4,300 digits.
_FORMAT = re.compile(r"[1-9][0-9]{0,17}\.(0|[1-9][0-9]{0,17})", re.ASCII)


def headers(version: str) -> list[tuple[str, str]]:
    """Return the headers that name a version in an answer."""
    return [(HEADER, f"compute {version}"), (LEGACY_HEADER, version), _VARY]


def negotiate(environ: Mapping[str, Any], maximum: str) -> int:
    """Return N of the version 2.N that a request asks for.

    :param maximum: the highest version, which is also ``latest``.
    :raises Invalid: the version isn't written as ``N.M``.
    :raises NotAcceptable: the service doesn't have it.
    """
    sent = {name: environ[name] for name in _VARIABLES if name in environ}
    if not sent:
        return 1
    version = microversion_parse.get_version(
        sent, service_type="compute", legacy_headers=[LEGACY_HEADER]
    )
    if version is None:
        return 1
    if version == "latest":
        version = maximum
    if not _FORMAT.fullmatch(version):
        raise exception.Invalid(
            f"API Version String {version} is of invalid format. "
            "Must be of format MajorNum.MinorNum.",
            [_VARY],
        )
    parse = microversion_parse.parse_version_string
    found = parse(version)
    if not found.matches((2, 1), parse(maximum)):
        raise exception.NotAcceptable(
            f"Version {version} is not supported by the API. "
            f"Minimum is 2.1 and maximum is {maximum}.",
            headers(version),
        )
    return int(found.minor)
