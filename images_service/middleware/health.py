# SPDX-License-Identifier: Apache-2.0
"""What /healthcheck tells, beside that the service answers."""

import queue
import threading

from oslo_config import cfg
import oslo_middleware
from oslo_middleware.healthcheck import pluginbase

from images_service import errors
from images_service.middleware.standard import POLICY
from images_service.middleware.standard import STORE
from images_service.policy import enforcer
from images_service.store import base

# Seconds within which the store must answer.
_PATIENCE = 1.0


class PolicyCheck(pluginbase.HealthcheckBaseExtension):
    """Whether the policy files are in force as they are now.

    A file that can't be taken makes no node unhealthy: all of them go on with
    the last good rules, and none would be left.
    """

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Return OK or a warning; where it is detailed, with the reason."""
        policy: enforcer.Policy = self.conf[POLICY]
        if policy.problem is None:
            return pluginbase.HealthcheckResult(True, "OK")
        return pluginbase.HealthcheckResult(
            True,
            "WARNING: the policy files can't be taken; the last good rules "
            "are in force",
            policy.problem,
        )


class StoreCheck(pluginbase.HealthcheckBaseExtension):
    """Whether the database answers within a second.

    Only where ``[healthcheck] detailed`` is set: what is asked every second
    must cost nothing, and a database that is away would take every node out
    of a load balancer at once.
    """

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Return OK, or that the database doesn't answer."""
        if not self.oslo_conf.healthcheck.detailed:
            return pluginbase.HealthcheckResult(True, "OK")
        store: base.ImageStore = self.conf[STORE]
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

        def ask() -> None:
            try:
                store.ping()
            except errors.StoreUnavailable:
                answers.put(False)
            else:
                answers.put(True)

        # It ends by itself: connecting and waiting have limits of their own.
        threading.Thread(target=ask, daemon=True).start()
        try:
            good = answers.get(timeout=_PATIENCE)
        except queue.Empty:
            good = False
        if good:
            return pluginbase.HealthcheckResult(True, "OK")
        return pluginbase.HealthcheckResult(
            False,
            "The database doesn't answer",
            f"It can't be reached, or took more than {_PATIENCE:.0f} second.",
        )


class Healthcheck(oslo_middleware.Healthcheck):
    """oslo.middleware's, whose checks know the policy and the store.

    :param conf: its ``[healthcheck]`` group is read.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        policy: enforcer.Policy,
        store: base.ImageStore,
    ) -> None:
        if conf.healthcheck.disable_by_file_path:
            # Its check complains of every request where no path is set.
            backends = [*conf.healthcheck.backends, "disable_by_file"]
            conf.set_default("backends", backends, "healthcheck")
        super().__init__(None, conf)
        # The checks have been given this dictionary.
        self.conf[POLICY] = policy
        self.conf[STORE] = store
