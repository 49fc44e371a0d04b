# SPDX-License-Identifier: Apache-2.0
"""Answers /healthcheck, and defines its checks."""

from collections.abc import Iterable
import ipaddress
import math
import time
from typing import Any
from typing import NoReturn
from wsgiref import types as wsgi

from oslo_config import cfg
from oslo_log import log
import oslo_middleware
from oslo_middleware.healthcheck import pluginbase

from images_service import exception
from images_service import guard
from images_service.middleware import pipeline
from images_service.policy import enforcer
from images_service.store import base

LOG = log.getLogger(__name__)

# Seconds to wait for the store's answer to a check, of which two may wait one
# after the other, and seconds to reuse the answer.
_PATIENCE = 0.3
_INTERVAL = 1.0
# Seconds between two questions for the mirror's state.
_MIRROR_INTERVAL = 5.0


class PolicyCheck(pluginbase.HealthcheckBaseExtension):
    """Checks that the present policy files are in force.

    An invalid file does not make a node unhealthy, since a load balancer would
    remove all nodes. They keep the last good rules.
    """

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Return OK or a warning; detailed answers have the reason."""
        policy: enforcer.Policy = self.conf[pipeline.POLICY]
        if policy.problem is None:
            return pluginbase.HealthcheckResult(True, "OK")
        return pluginbase.HealthcheckResult(
            True,
            "WARNING: the policy files are invalid; the last valid rules "
            "are in force",
            policy.problem,
        )


class StoreCheck(pluginbase.HealthcheckBaseExtension):
    """Checks that the database answers within 0.3 seconds.

    It asks only if ``[healthcheck] detailed`` is set: a check every second
    must cost nothing, and a load balancer would remove all nodes at once while
    the database is down.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # While the database hangs, one thread waits for it.
        self._guard = guard.Guard(threads=1)
        self._asked = -math.inf
        self._is_good = True

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Return OK, or that the database doesn't answer."""
        if not self.oslo_conf.healthcheck.detailed or self._answers():
            return pluginbase.HealthcheckResult(True, "OK")
        return pluginbase.HealthcheckResult(
            False,
            "The database doesn't answer",
            f"It can't be reached, or took more than {_PATIENCE} seconds.",
        )

    def _answers(self) -> bool:
        """Tell whether the database answered the last question."""
        store: base.ImageStore = self.conf[pipeline.STORE]
        now = time.monotonic()
        if now - self._asked < _INTERVAL:
            return self._is_good
        good = False
        try:
            self._guard.call(store.ping, now + _PATIENCE)
            good = True
        except guard.Refused:
            # Another request is asking the database.
            return self._is_good
        except (exception.StoreUnavailable, TimeoutError):
            pass
        except Exception:
            LOG.exception("The health check can't ask the database")
        self._asked, self._is_good = now, good
        return good


class MirrorCheck(pluginbase.HealthcheckBaseExtension):
    """Checks every five seconds at most that the mirror is up to date.

    A mirror that is behind Glance does not make a node unhealthy, since all
    nodes are equally far behind.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._guard = guard.Guard(threads=1)
        self._asked = -math.inf
        self._warning: str | None = None

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Return OK or a warning; detailed answers have the reason."""
        store: base.ImageStore = self.conf[pipeline.STORE]
        now = time.monotonic()
        if now - self._asked > _MIRROR_INTERVAL:
            self._asked = now
            try:
                self._warning = self._guard.call(
                    store.warning, now + _PATIENCE
                )
            except (exception.StoreUnavailable, TimeoutError):
                # StoreCheck reports a database that does not answer.
                pass
            except Exception:
                LOG.exception("The health check can't ask for the mirror")
        if self._warning is None:
            return pluginbase.HealthcheckResult(True, "OK")
        return pluginbase.HealthcheckResult(
            True,
            "WARNING: the images may be behind Glance's",
            self._warning,
        )


class Healthcheck(oslo_middleware.Healthcheck):
    """oslo.middleware's application, with checks of policy and store.

    :param conf: its ``[healthcheck]`` group is read.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        policy: enforcer.Policy,
        store: base.ImageStore,
    ) -> None:
        backends = [*conf.healthcheck.backends]
        if conf.healthcheck.disable_by_file_path:
            # Without a path its check logs a warning for every request.
            backends.append("disable_by_file")
        if conf.glance.mode == "mirror":
            backends.append("images_service_mirror")
        conf.set_default("backends", backends, "healthcheck")
        super().__init__(_refuse, conf)
        # The checks use this dictionary.
        self.conf.update({pipeline.POLICY: policy, pipeline.STORE: store})

    # A WSGI application; the library's types describe the method inside its
    # decorator.
    def __call__(  # type: ignore[override]
        self, environ: wsgi.WSGIEnvironment, start_response: wsgi.StartResponse
    ) -> Iterable[bytes]:
        """Answer a request.

        :raises Forbidden: the client's address is not allowed, or a
            proxy sent the request.
        """
        if self._source_ranges:
            # A proxy can pass anything as the client's address.
            try:
                ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
            except ValueError:
                _refuse()
        if self._ignore_proxied_requests and "HTTP_FORWARDED" in environ:
            _refuse()
        answer: Iterable[bytes] = super().__call__(environ, start_response)
        return answer


def _refuse(*_args: Any) -> NoReturn:
    """Refuse a request, as the application behind oslo.middleware's filter.

    Without an application, WebOb sends the request to the server that the
    request names, which is this service.
    """
    raise exception.Forbidden(
        "The health check is not available to this client."
    )
