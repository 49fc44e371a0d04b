# SPDX-License-Identifier: Apache-2.0
"""What /healthcheck tells, beside that the service answers."""

from oslo_config import cfg
import oslo_middleware
from oslo_middleware.healthcheck import pluginbase

from images_service.policy import enforcer

# Under which the middleware's conf holds what is looked at.
_POLICY = "policy"


class PolicyCheck(pluginbase.HealthcheckBaseExtension):
    """Whether the policy files are in force as they are now.

    A file that can't be taken makes no node unhealthy: all of them go on with
    the last good rules, and none would be left.
    """

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Return OK or a warning; where it is detailed, with the reason."""
        policy: enforcer.Policy = self.conf[_POLICY]
        if policy.problem is None:
            return pluginbase.HealthcheckResult(True, "OK")
        return pluginbase.HealthcheckResult(
            True,
            "WARNING: the policy files can't be taken; the last good rules "
            "are in force",
            policy.problem,
        )


class Healthcheck(oslo_middleware.Healthcheck):
    """oslo.middleware's, whose checks know the policy.

    :param conf: its ``[healthcheck]`` group is read.
    """

    def __init__(self, conf: cfg.ConfigOpts, policy: enforcer.Policy) -> None:
        super().__init__(None, conf)
        # The checks have been given this dictionary.
        self.conf[_POLICY] = policy
