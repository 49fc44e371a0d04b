# SPDX-License-Identifier: Apache-2.0
"""One request, as an action sees it."""

import dataclasses
from typing import Any

import webob

from images_service import context
from images_service import errors
from images_service import model
from images_service.api import routes
from images_service.api import views


@dataclasses.dataclass(slots=True)
class Request:
    """What dispatch has found out about a request, in its order of checks.

    :param route: the row of ROUTES that it matches.
    :param caller: who asks.
    :param viewer: whose eyes the store looks with.
    :param links: what links of the answer start with.
    :param query: names and values of the query string.
    :param body: the validated JSON body, None where the action reads none.
    :param image: the image that the action has looked at, if any.
    """

    http: webob.Request
    route: routes.Route
    caller: context.RequestContext
    viewer: model.Viewer
    links: views.Links
    query: list[tuple[str, str]]
    body: Any
    image: model.Image | None = None

    def unchanged_since(self, image: model.Image) -> int | None:
        """Return the generation that a change must find, None for any.

        :raises errors.PreconditionFailed: the caller's ``If-Match`` names
            another one already.
        """
        if "HTTP_IF_MATCH" not in self.http.environ:
            return None
        if str(image.generation) not in self.http.if_match:
            raise errors.PreconditionFailed
        return image.generation

    def has_seen(self, image: model.Image) -> bool:
        """Tell whether ``If-None-Match`` names the image's generation."""
        return (
            "HTTP_IF_NONE_MATCH" in self.http.environ
            and str(image.generation) in self.http.if_none_match
        )
