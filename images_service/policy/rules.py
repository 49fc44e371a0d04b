# SPDX-License-Identifier: Apache-2.0
"""Names of rules, and what rules know of a target."""

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
    """Return what a rule can look at of its target.

    A list is asked with the caller's own project. Whether a caller is an
    administrator is asked without a target: the answer is the same for all
    images.
    """
    if not isinstance(rule, policy.DocumentedRuleDefault):
        return frozenset()
    if any("{image_id}" in each["path"] for each in rule.operations):
        return IMAGE_ATTRIBUTES
    return PROJECT_ATTRIBUTES
