# SPDX-License-Identifier: Apache-2.0
"""The whole API on one screen.

Code, tests and documentation iterate this table; nothing else says which
requests there are.
"""

from typing import NamedTuple

from images_service.api import schemas


class Route(NamedTuple):
    """One action and how it is asked for.

    :param path: below ``/v2.1`` or ``/v2``, with or without a project.
    :param action: controller and method; also the name of the policy rule.
    :param success: HTTP status.
    :param until: the last minor version of 2.N that has the action.
    :param query: schema of the query string, None where it is not read.
    :param body: schema of the body, None where it is not read.
    :param legacy_body: the same for ``/v2``.
    :param etag: whether the answer carries the image's ETag.
    """

    method: str
    path: str
    action: str
    success: int
    until: int
    query: schemas.Schema | None = None
    body: schemas.Schema | None = None
    legacy_body: schemas.Schema | None = None
    etag: bool = False

    @property
    def rule(self) -> str:
        """The policy rule that allows the action."""
        return f"os_compute_api:{self.action}"


_LISTING = schemas.of_query(schemas.LISTING)
_METADATA = (
    schemas.of_body(schemas.METADATA),
    schemas.of_body(schemas.LEGACY_METADATA),
)
_META = (
    schemas.of_body(schemas.META),
    schemas.of_body(schemas.LEGACY_META),
)
_IMAGE = "/images/{image_id}"
_ITEMS = "/images/{image_id}/metadata"
_ITEM = "/images/{image_id}/metadata/{key}"

# fmt: off
ROUTES = (
    Route("GET", "/images", "images:index", 200, 35, _LISTING),
    Route("GET", "/images/detail", "images:detail", 200, 35, _LISTING),
    Route("GET", _IMAGE, "images:show", 200, 35, etag=True),
    Route("DELETE", _IMAGE, "images:delete", 204, 35),
    Route("GET", _ITEMS, "image-metadata:index", 200, 38, etag=True),
    Route("POST", _ITEMS, "image-metadata:create", 200, 38, None, *_METADATA),
    Route("PUT", _ITEMS, "image-metadata:update_all", 200, 38, None, *_METADATA),  # noqa: E501
    Route("GET", _ITEM, "image-metadata:show", 200, 38, etag=True),
    Route("PUT", _ITEM, "image-metadata:update", 200, 38, None, *_META),
    Route("DELETE", _ITEM, "image-metadata:delete", 204, 38),
)
# fmt: on
