# SPDX-License-Identifier: Apache-2.0
"""Every rule, in the API's order."""

from oslo_policy import policy

CONTEXT_IS_ADMIN = "context_is_admin"
IMAGE_SIZE = "os_compute_api:image-size"

# Reading asks for nothing but a project: what there is to see, visibility
# decides.  An image is changed by its owner's members and by administrators.
_READ = ""
_WRITE = "rule:context_is_admin or (role:member and project_id:%(project_id)s)"


def _rule(
    name: str, check: str, description: str, method: str, path: str
) -> policy.DocumentedRuleDefault:
    return policy.DocumentedRuleDefault(
        name=f"os_compute_api:{name}",
        check_str=check,
        description=description,
        operations=[{"method": method, "path": path}],
        scope_types=["project"],
    )


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules and their defaults.

    Also an entry point of oslo.policy's tools.  The objects are new each time:
    an enforcer keeps and changes those that are registered with it.
    """
    image = "/images/{image_id}"
    metadata = f"{image}/metadata"
    item = f"{metadata}/{{key}}"
    return [
        policy.RuleDefault(
            CONTEXT_IS_ADMIN,
            "role:admin",
            "Who sees the images of every project.",
        ),
        _rule("images:index", _READ, "List images.", "GET", "/images"),
        _rule(
            "images:detail",
            _READ,
            "List images with details.",
            "GET",
            "/images/detail",
        ),
        _rule("images:show", _READ, "Show an image.", "GET", image),
        _rule("images:delete", _WRITE, "Delete an image.", "DELETE", image),
        _rule(
            "image-metadata:index",
            _READ,
            "List an image's metadata.",
            "GET",
            metadata,
        ),
        _rule(
            "image-metadata:show",
            _READ,
            "Show one item of an image's metadata.",
            "GET",
            item,
        ),
        _rule(
            "image-metadata:create",
            _WRITE,
            "Add items to an image's metadata.",
            "POST",
            metadata,
        ),
        _rule(
            "image-metadata:update_all",
            _WRITE,
            "Replace an image's metadata.",
            "PUT",
            metadata,
        ),
        _rule(
            "image-metadata:update",
            _WRITE,
            "Set one item of an image's metadata.",
            "PUT",
            item,
        ),
        _rule(
            "image-metadata:delete",
            _WRITE,
            "Delete one item of an image's metadata.",
            "DELETE",
            item,
        ),
        _rule(
            "image-size",
            "",
            "See the size of images in show and detail.",
            "GET",
            image,
        ),
    ]
