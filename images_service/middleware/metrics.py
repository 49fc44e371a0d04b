# SPDX-License-Identifier: Apache-2.0
"""Counts requests; a filter that is there only where metrics are on."""

from collections.abc import Iterable
from collections.abc import Mapping
import os
import time
from typing import Any
from typing import TYPE_CHECKING

from oslo_log import log

from images_service import metrics
from images_service.context import ACTION
from images_service.middleware.standard import CONF
from images_service.middleware.standard import Filter
from images_service.middleware.standard import POLICY
from images_service.middleware.standard import STORE

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIApplication
    from wsgiref.types import WSGIEnvironment

LOG = log.getLogger(__name__)

# What was asked where it is no action of the API, or none that was got to.
_OTHER = "other"


class Counted:
    """Counts each request and how long its answer took.

    :param counts: where they are counted.
    """

    def __init__(
        self, application: "WSGIApplication", counts: metrics.Metrics
    ) -> None:
        self._application = application
        self._counts = counts

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on and count it."""
        start = time.perf_counter()
        answered = ""

        def note(status: str, *args: Any) -> Any:
            nonlocal answered
            answered = status
            return start_response(status, *args)

        body = self._application(environ, note)
        self._counts.answered(
            environ.get(ACTION, _OTHER),
            answered.partition(" ")[0],
            time.perf_counter() - start,
        )
        return body


def filter_factory(global_conf: Mapping[str, Any], **_local: str) -> Filter:
    """Return the filter, for PasteDeploy."""
    if global_conf[CONF].metrics.port is None:
        return lambda app: app
    if metrics.FOLDER not in os.environ:
        LOG.warning(
            "[metrics] port is set, but %s is not: what this process counts "
            "stays in it",
            metrics.FOLDER,
        )
    counts = metrics.Metrics(global_conf[STORE], global_conf[POLICY])
    return lambda app: Counted(app, counts)
