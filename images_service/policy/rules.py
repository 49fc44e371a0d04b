# SPDX-License-Identifier: Apache-2.0
"""Names of rules, and the attributes of targets that rules can read."""

from oslo_policy import policy

CONTEXT_IS_ADMIN = "context_is_admin"
IMAGE_SIZE = "os_compute_api:image-size"
DELETE = "os_compute_api:images:delete"

# The attributes of a target: of an image, and of a project.
IMAGE_ATTRIBUTES = frozenset(
    {"project_id", "visibility", "status", "protected", "image_id"}
)
PROJECT_ATTRIBUTES = frozenset({"project_id"})


def attributes(rule: policy.RuleDefault) -> frozenset[str]:
    """Return the attributes of its target that a rule can read.

    The target of a list is the caller's own project. The rule that makes a
    caller an administrator has no target, since its result is the same for all
    images.
    """
    if not isinstance(rule, policy.DocumentedRuleDefault):
        return frozenset()
    if any("{image_id}" in each["path"] for each in rule.operations):
        return IMAGE_ATTRIBUTES
    return PROJECT_ATTRIBUTES
