# SPDX-License-Identifier: Apache-2.0
"""The one class that is asked whether an action is allowed."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from images_service import config
from images_service import context
from images_service import model
from images_service.policy import rules


class Policy:
    """Answers by the rules of the policy file, else by their defaults.

    :param conf: its ``[oslo_policy]`` group names the file.
    :raises oslo_policy.policy.InvalidDefinitionError: a rule of the file
        refers to one that doesn't exist, or to itself.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        name = conf.oslo_policy.policy_file
        self._enforcer = policy.Enforcer(
            conf, policy_file=config.find_file(conf, name) or name
        )
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(rules.list_rules())
        self._enforcer.load_rules()
        self._enforcer.check_rules(raise_on_violation=True)

    def allows(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> bool:
        """Tell whether the caller may do what a rule is about."""
        try:
            allowed: bool = self._enforcer.authorize(
                rule, dict(target), caller.to_policy_values(), do_raise=False
            )
        except policy.InvalidScope:
            return False
        return allowed


def target_of(image: model.Image) -> dict[str, Any]:
    """Return what a rule can ask of an image."""
    return {
        "project_id": image.owner,
        "visibility": image.visibility,
        "status": image.status,
        "protected": image.protected,
        "image_id": image.id,
    }
