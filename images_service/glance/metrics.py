# SPDX-License-Identifier: Apache-2.0
"""Counts the work of the mirror, for Prometheus."""

from images_service.store.sql.reconciling import Outcome

_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)


class Metrics:
    """The metrics of the mirror, in a separate registry."""

    def __init__(self) -> None:
        # At its import, the library decides whether processes count together,
        # as the API's processes do, so it must not be imported earlier.
        import prometheus_client as prometheus

        self.registry = prometheus.CollectorRegistry()
        self._images = prometheus.Counter(
            "images_service_mirror_images",
            "Images that were compared with Glance, one by one.",
            ("found_by", "outcome"),
            registry=self.registry,
        )
        self.lag = prometheus.Histogram(
            "images_service_mirror_lag_seconds",
            "Time from a notification of Glance to its image in the store.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._runs = prometheus.Counter(
            "images_service_mirror_runs",
            "Polls, sweeps and comparisons of members that have ended.",
            ("kind", "result"),
            registry=self.registry,
        )
        self._last = prometheus.Gauge(
            "images_service_mirror_last_success_seconds",
            "When one has last ended well, in seconds since 1970.",
            ("kind",),
            registry=self.registry,
        )
        self.waiting = prometheus.Gauge(
            "images_service_mirror_waiting_hints",
            "Images that were notified of, and wait.",
            registry=self.registry,
        )
        self._glance = prometheus.Histogram(
            "images_service_mirror_glance_seconds",
            "Time that Glance takes for an answer.",
            ("method", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._left_out = prometheus.Counter(
            "images_service_mirror_properties_left_out",
            "Properties that images were stored without.",
            registry=self.registry,
        )

    def image(self, found_by: str, outcome: Outcome, left_out: int) -> None:
        """Count an image.

        :param found_by: hint, poll or sweep.
        :param left_out: number of properties that were left out.
        """
        self._images.labels(found_by, outcome.value).inc()
        self._left_out.inc(left_out)

    def answer(self, method: str, status: str, seconds: float) -> None:
        """Count an answer of Glance."""
        self._glance.labels(method, status).observe(seconds)

    def run(self, kind: str, *, good: bool) -> None:
        """Count a poll, a sweep, or a comparison of members."""
        self._runs.labels(kind, "good" if good else "failed").inc()
        if good:
            self._last.labels(kind).set_to_current_time()

    def serve(self, port: int, host: str) -> None:
        """Serve the metrics on a port, in a thread.

        :raises OSError: the port can't be opened.
        """
        import prometheus_client

        prometheus_client.start_http_server(port, host, self.registry)
