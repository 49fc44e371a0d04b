# SPDX-License-Identifier: Apache-2.0
"""The server inside images-service-api: gunicorn, with threads."""

import gc
from typing import Any
from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

# How many more objects there must be before garbage is looked for; a page of a
# thousand images makes eight thousand.
_OBJECTS = 25_000


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn around the application, which every worker shares.

    :param settings: gunicorn's, by name.
    """

    def __init__(
        self, application: "WSGIApplication", settings: dict[str, Any]
    ) -> None:
        self._application = application
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand the settings over."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        """Serve, until the process is told to end."""
        # What is there now stays. Collections of garbage need not look at it,
        # nor at the many objects of a large page, none of which is garbage.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_OBJECTS)
        super().run()

    def load(self) -> "WSGIApplication":
        """Return the application."""
        return self._application


def serve(
    application: "WSGIApplication",
    address: str,
    port: int,
    workers: int,
    threads: int,
) -> None:
    """Serve an application until the process is told to end.

    :param address: to listen on; of IPv6 in brackets.
    :param workers: processes.
    :param threads: of each process.
    """
    Server(
        application,
        {
            "bind": f"{address}:{port}",
            "workers": workers,
            "threads": threads,
            "worker_class": "gthread",
            "keepalive": 75,
            "proc_name": "images-service-api",
            # URLs and headers as long as Nova's own server takes them.
            "limit_request_line": 16384,
            "limit_request_field_size": 16384,
            "graceful_timeout": 30,
            "control_socket_disable": True,
        },
    ).run()
