# SPDX-License-Identifier: Apache-2.0
"""What the service counts, in Prometheus' terms.

The client library decides when it is imported whether the processes of a
server count together, so it is imported only where there is something to
count, and by then ``PROMETHEUS_MULTIPROC_DIR`` must be set.
"""

from collections.abc import Iterator
import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from oslo_config import cfg

from images_service.policy import enforcer
from images_service.store import base

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# Names the folder in which the processes of a server count together.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# Seconds; an answer of the service takes a millisecond, of a large page 20.
_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)


class Metrics:
    """Requests, connections and edits of the policy, counted.

    :param store: its connections are counted.
    :param policy: its edits are counted.
    """

    def __init__(
        self, store: base.ImageStore, policy: enforcer.Policy
    ) -> None:
        import prometheus_client

        self.registry = prometheus_client.CollectorRegistry()
        self._store = store
        self._requests = prometheus_client.Counter(
            "images_service_requests",
            "Requests that were answered.",
            ("action", "status"),
            registry=self.registry,
        )
        self._seconds = prometheus_client.Histogram(
            "images_service_request_seconds",
            "Time from a request's head to its answer's.",
            ("action",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._connections = prometheus_client.Gauge(
            "images_service_database_connections",
            "Connections to the database, after the last answer.",
            ("state",),
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._reloads = prometheus_client.Counter(
            "images_service_policy_reloads",
            "Edits of the policy files that a worker took or refused.",
            ("result",),
            registry=self.registry,
        )
        policy.tell_of_edits(self._edited)

    def answered(self, action: str, status: str, seconds: float) -> None:
        """Count a request.

        :param action: a row of ROUTES' action, or another word for what was
            asked.
        """
        self._requests.labels(action, status).inc()
        self._seconds.labels(action).observe(seconds)
        used, idle = self._store.connection_counts()
        self._connections.labels("used").set(used)
        self._connections.labels("idle").set(idle)

    def _edited(self, taken: bool) -> None:
        self._reloads.labels("taken" if taken else "refused").inc()


def together() -> "CollectorRegistry":
    """Return what all processes of a server have counted.

    :raises ValueError: ``PROMETHEUS_MULTIPROC_DIR`` names no folder.
    """
    import prometheus_client
    from prometheus_client import multiprocess

    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


@contextlib.contextmanager
def served(conf: cfg.ConfigOpts) -> Iterator[None]:
    """Serve what is counted while the service runs, if ``[metrics]`` says so.

    :raises OSError: the port can't be listened on.
    """
    if conf.metrics.port is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        if FOLDER not in os.environ:
            os.environ[FOLDER] = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="images-service-metrics-")
            )
        import prometheus_client

        server, _ = prometheus_client.start_http_server(
            conf.metrics.port, conf.metrics.host, together()
        )
        stack.callback(server.server_close)
        yield


def ended(pid: int) -> None:
    """Take the connections of a process that has ended out of the count."""
    if FOLDER in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
