# SPDX-License-Identifier: Apache-2.0
"""Who asks."""

from typing import Any

from oslo_context import context

# Where the identity filters leave the context in the WSGI environment, and
# dispatch finds it.
ENVIRON_KEY = "images_service.context"
# Set there by dispatch: the answer is its own, which no filter rewrites.
ANSWERED = "images_service.answered"
# Set there by dispatch: the action of ROUTES that is asked for.
ACTION = "images_service.action"


class RequestContext(context.RequestContext):
    """The caller of one request.

    Made by an identity filter from what it has validated, and by nothing else.
    It registers itself with the thread, so that log lines carry the request's
    id.

    :param service_catalog: the token's catalog as JSON text, None where the
        strategy has none.
    :param kwargs: as ``oslo_context.context.RequestContext`` takes them.
    """

    def __init__(
        self, service_catalog: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.service_catalog = service_catalog

    @classmethod
    def of_environ(
        cls, environ: dict[str, Any], **kwargs: Any
    ) -> "RequestContext":
        """Make a context that carries the ids of the request in environ."""
        return cls(
            request_id=environ.get("openstack.request_id"),
            global_request_id=environ.get("openstack.global_request_id"),
            **kwargs,
        )
