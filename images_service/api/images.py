# SPDX-License-Identifier: Apache-2.0
"""Images: list, show, delete."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from images_service import errors
from images_service import model
from images_service.api import listing
from images_service.api import views
from images_service.api.controller import Controller
from images_service.api.request import Request
from images_service.policy import enforcer
from images_service.policy import rules


class Images(Controller):
    """The actions ``images:…``."""

    refusal = "You are not allowed to delete the image."

    def index(self, req: Request) -> dict[str, Any]:
        """List images.  GET /images."""
        return self._page(req, "/images", views.summary)

    def detail(self, req: Request) -> dict[str, Any]:
        """List images with details.  GET /images/detail."""
        target = {"project_id": req.caller.project_id}
        sized = self.policy.allows(rules.IMAGE_SIZE, req.caller, target)
        view = functools.partial(views.detail, with_size=sized)
        return self._page(req, "/images/detail", view)

    def show(self, req: Request, image_id: str) -> dict[str, Any]:
        """Show one image.  GET /images/{image_id}."""
        image = self.visible_image(req, image_id)
        target = enforcer.target_of(image)
        sized = self.policy.allows(rules.IMAGE_SIZE, req.caller, target)
        return {"image": views.detail(image, req.links, with_size=sized)}

    def delete(self, req: Request, image_id: str) -> None:
        """Delete one image.  DELETE /images/{image_id}."""
        image, generation = self.writable_image(req, image_id)
        if image.protected:
            raise errors.Forbidden(self.refusal)
        self.store.delete(image.id, generation)

    def _page(
        self,
        req: Request,
        path: str,
        view: Callable[[model.Image, views.Links], dict[str, Any]],
    ) -> dict[str, Any]:
        assert req.route.query is not None
        query = dataclasses.replace(
            listing.parse(req.query, req.route.query, self.max_limit),
            max_metadata=self.max_page_metadata,
        )
        self.authorize_project(req)
        page = self.store.page(query, req.viewer)
        answer: dict[str, Any] = {
            "images": [view(image, req.links) for image in page.images]
        }
        if page.more:
            follows = listing.next_query(req.query, page.images[-1].id)
            href = f"{req.links.self_}{path}?{follows}"
            answer["images_links"] = [{"rel": "next", "href": href}]
        return answer
