# SPDX-License-Identifier: Apache-2.0
"""What oslo.policy's own commands ask for.

``oslopolicy-validator``, ``-policy-generator`` and ``-list-redundant`` find
this through an entry point, in a process of their own.
"""

from oslo_config import cfg
from oslo_policy import opts
from oslo_policy import policy

from images_service import config
from images_service.policy import enforcer
from images_service.policy import rules


def enforcer_for_tools() -> policy.Enforcer:
    """Return an enforcer that knows the rules and the policy file.

    The tools parse their command line into the process-wide configuration and
    read the policy file's name from there, so that is where it is put.
    """
    tool: cfg.ConfigOpts = cfg.CONF
    conf = config.load(config.file_arguments(tool.config_file))
    opts.set_defaults(tool)
    path = enforcer.main_file(conf, required=True)
    if path is not None:
        tool.set_override("policy_file", path, group="oslo_policy")
    tool.set_override(
        "policy_dirs", conf.oslo_policy.policy_dirs, group="oslo_policy"
    )
    found = policy.Enforcer(tool)
    found.register_defaults(rules.list_rules())
    return found
