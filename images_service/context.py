# SPDX-License-Identifier: Apache-2.0
"""The context of a request."""

import time
from typing import Any

from oslo_context import context

# Keys of the WSGI environment. When the request arrived, by the monotonic
# clock, if the server tells it:
ARRIVED = "images_service.arrived"
# The context of an identified caller:
ENVIRON_KEY = "images_service.context"
# The context before the caller is known.
_REQUEST_KEY = "images_service.request"
# True if no filter may rewrite the answer.
ANSWERED = "images_service.answered"
# The action of ROUTES, set by dispatch.
ACTION = "images_service.action"
# The id of the image that the path names, set by dispatch.
IMAGE_ID = "images_service.image_id"


class RequestContext(context.RequestContext):
    """A request, and its caller after an identity filter has validated it.

    It registers itself with the thread, so that log lines carry the request's
    id.

    :ivar service_catalog: the token's catalog as JSON text, None if the
        strategy has no catalog.
    :ivar began: when the request arrived, by the monotonic clock; its
        deadlines count from here.
    :param kwargs: arguments of ``oslo_context.context.RequestContext``.
    """

    service_catalog: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.began = time.monotonic()


def of_request(environ: dict[str, Any]) -> RequestContext:
    """Return a request's context; the first call creates it."""
    found: RequestContext | None = environ.get(_REQUEST_KEY)
    if found is None:
        found = environ[_REQUEST_KEY] = RequestContext(
            request_id=environ.get("openstack.request_id"),
            global_request_id=environ.get("openstack.global_request_id"),
        )
        found.began = environ.get(ARRIVED, found.began)
    return found
