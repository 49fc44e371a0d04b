# SPDX-License-Identifier: Apache-2.0
"""Counts requests, connections and edits of the policy for Prometheus.

The processes of a server count together if ``PROMETHEUS_MULTIPROC_DIR`` is set
when they import the client library. So the library is imported late, and only
if ``[metrics] port`` is set.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import os
import time
from typing import Any
from wsgiref import types as wsgi

from oslo_log import log

from images_service.context import ACTION
from images_service.middleware import pipeline
from images_service.policy import enforcer
from images_service.store import base

LOG = log.getLogger(__name__)

# The environment variable of the folder in which processes count together.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# The action of a request that matches no row of ROUTES.
_OTHER = "other"
# Seconds; an answer takes one millisecond, an answer with a large page 20.
_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
# Bytes of a file of counts: twice as many as all actions and statuses need.
_FILE_BYTES = 1 << 16


def filter_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> pipeline.Filter:
    """Return the filter, for PasteDeploy; none if metrics are off."""
    if global_conf[pipeline.CONF].metrics.port is None:
        return lambda app: app
    if FOLDER in os.environ:
        _allocate_files()
    else:
        LOG.warning(
            "[metrics] port is set, but %s is not: what this process counts "
            "stays in it",
            FOLDER,
        )
    return lambda app: Metrics(
        app, global_conf[pipeline.STORE], global_conf[pipeline.POLICY]
    )


def _allocate_files() -> None:
    """Make the library allocate the space of its files.

    The library maps its files into memory. If the file system is full, SIGBUS
    kills a process that writes to a page without space.
    """
    from prometheus_client import mmap_dict
    from prometheus_client import values

    class File(mmap_dict.MmapedDict):
        def __init__(self, path: str) -> None:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                os.posix_fallocate(file, 0, _FILE_BYTES)
            except OSError:
                # A scrape cannot read an incomplete file.
                os.remove(path)
                raise
            finally:
                os.close(file)
            super().__init__(path)  # type: ignore[no-untyped-call]

    values.MmapedDict = File  # type: ignore[assignment,attr-defined]


class Metrics:
    """Counts each request, and how long its answer takes.

    :param store: its connections are counted.
    :param policy: its edits are counted.
    """

    def __init__(
        self,
        application: wsgi.WSGIApplication,
        store: base.ImageStore,
        policy: enforcer.Policy,
    ) -> None:
        import prometheus_client

        self._application = application
        self._store = store
        self._has_failed = False
        self.registry = prometheus_client.CollectorRegistry()
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
        reloads = prometheus_client.Counter(
            "images_service_policy_reloads",
            "Edits of the policy files that a worker took or refused.",
            ("result",),
            registry=self.registry,
        )

        def edited(taken: bool) -> None:
            reloads.labels("taken" if taken else "refused").inc()

        policy.tell_of_edits(lambda taken: self._count(edited, taken))

    def __call__(
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Pass the request on and count it."""
        start = time.perf_counter()
        status, headers, body = pipeline.answer_of(self._application, environ)
        self._count(
            self.answered,
            environ.get(ACTION, _OTHER),
            status[:3],
            time.perf_counter() - start,
        )
        start_response(status, headers)
        return body

    def _count(self, count: Callable[..., None], *args: Any) -> None:
        """Call a function that counts; log its first error, and go on.

        The folder of the files may be gone, or the file system may be full.
        """
        try:
            count(*args)
        except Exception:
            if not self._has_failed:
                LOG.exception(
                    "Metrics are incomplete: this process can't count"
                )
            self._has_failed = True

    def answered(self, action: str, status: str, seconds: float) -> None:
        """Count a request.

        :param action: action of a row of ROUTES, or ``other``.
        """
        self._requests.labels(action, status).inc()
        self._seconds.labels(action).observe(seconds)
        used, idle = self._store.connection_counts()
        self._connections.labels("used").set(used)
        self._connections.labels("idle").set(idle)


def application() -> wsgi.WSGIApplication:
    """Return an application with the metrics of all processes.

    :raises ValueError: ``PROMETHEUS_MULTIPROC_DIR`` names no folder.
    """
    import prometheus_client
    from prometheus_client import multiprocess

    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return prometheus_client.make_wsgi_app(registry)


def began(number: int) -> None:
    """Make this process count in the files of its number.

    An earlier process with this number has left them. Otherwise each process
    would leave its own files, and each scrape would read all of them.

    :param number: a number that no other running process has.
    """
    if FOLDER in os.environ:
        from prometheus_client import values

        make = values.MultiProcessValue
        values.ValueClass = make(lambda: number)  # type: ignore[no-untyped-call]


def ended(number: int) -> None:
    """Remove the connections of a process that has ended from the count."""
    if FOLDER in os.environ:
        from prometheus_client import multiprocess

        # An error would end gunicorn's master.
        with contextlib.suppress(OSError):
            multiprocess.mark_process_dead(number)  # type: ignore[no-untyped-call]
