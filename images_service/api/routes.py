# SPDX-License-Identifier: Apache-2.0
"""ROUTES, the only table of the API's actions.

Routing, policy rules, the OpenAPI document and tests are derived from it.
"""

from typing import NamedTuple

from oslo_policy import policy

from images_service.api import validation
from images_service.policy import rules


class Route(NamedTuple):
    """An action and its request."""

    method: str
    path: str  # below /v2.1 or /v2, with or without a project
    action: str  # controller and method; also the name of the policy rule
    success: int  # HTTP status
    until: int  # the last N of the versions 2.N that have the action
    default: str  # of the policy rule
    description: str  # of the policy rule
    answer: str | None = None  # its schema in the OpenAPI document
    query: validation.Schema | None = None
    body: validation.Schema | None = None
    legacy_body: validation.Schema | None = None  # for /v2

    @property
    def rule(self) -> str:
        """The policy rule that allows the action."""
        return f"os_compute_api:{self.action}"

    @property
    def etag(self) -> bool:
        """Whether the answer carries the image's ETag."""
        return self.method == "GET" and self.path.startswith(_IMAGE)


# Visibility alone decides which images a caller reads.
_READ = ""
_WRITE = "rule:context_is_admin or (role:member and project_id:%(project_id)s)"

# Schemas of query, body and legacy body.
_LISTING = validation.LISTING
_METADATA = (None, validation.METADATA, validation.LEGACY_METADATA)
_META = (None, validation.META, validation.LEGACY_META)
_IMAGE = "/images/{image_id}"
_ALL = "/images/{image_id}/metadata"
_ONE = "/images/{image_id}/metadata/{key}"

# fmt: off
ROUTES = (
    Route("GET", "/images", "images:index", 200, 35,
          _READ, "List images.", "ImageSummaryPage", _LISTING),
    Route("GET", "/images/detail", "images:detail", 200, 35,
          _READ, "List images with details.", "ImagePage", _LISTING),
    Route("GET", _IMAGE, "images:show", 200, 35,
          _READ, "Show an image.", "OneImage"),
    Route("DELETE", _IMAGE, "images:delete", 204, 35,
          _WRITE, "Delete an image."),
    Route("GET", _ALL, "image-metadata:index", 200, 38,
          _READ, "List an image's metadata.", "AllItems"),
    Route("GET", _ONE, "image-metadata:show", 200, 38,
          _READ, "Show one item of an image's metadata.", "OneItem"),
    Route("POST", _ALL, "image-metadata:create", 200, 38,
          _WRITE, "Add items to an image's metadata.", "AllItems", *_METADATA),
    Route("PUT", _ALL, "image-metadata:update_all", 200, 38,
          _WRITE, "Replace an image's metadata.", "AllItems", *_METADATA),
    Route("PUT", _ONE, "image-metadata:update", 200, 38,
          _WRITE, "Set one item of an image's metadata.", "OneItem", *_META),
    Route("DELETE", _ONE, "image-metadata:delete", 204, 38,
          _WRITE, "Delete one item of an image's metadata."),
)
# fmt: on


def list_rules() -> list[policy.RuleDefault]:
    """Return the policy rules with their defaults, in the API's order.

    oslo.policy's tools also call this function, by its entry point.
    """
    return [
        policy.RuleDefault(
            rules.CONTEXT_IS_ADMIN,
            "role:admin",
            "See the images of every project.",
        ),
        *(
            _documented(r.rule, r.default, r.description, (r.method, r.path))
            for r in ROUTES
        ),
        _documented(
            rules.IMAGE_SIZE,
            _READ,
            "See the size of images.",
            ("GET", _IMAGE),
            ("GET", "/images/detail"),
        ),
    ]


def _documented(
    name: str, check: str, description: str, *requests: tuple[str, str]
) -> policy.DocumentedRuleDefault:
    return policy.DocumentedRuleDefault(
        name,
        check,
        description,
        [{"method": method, "path": path} for method, path in requests],
        scope_types=["project"],
    )
