# SPDX-License-Identifier: Apache-2.0
"""Images: list, show, delete."""

from typing import Any

from images_service import exception
from images_service import model
from images_service.api import query
from images_service.api import views
from images_service.api.dispatch import Controller
from images_service.api.dispatch import Request
from images_service.policy import enforcer
from images_service.policy import refusals
from images_service.policy import rules


class Images(Controller):
    """The actions ``images:…``."""

    refusal = "You are not allowed to delete the image."

    def index(self, req: Request) -> dict[str, Any]:
        """List images.  GET /images."""
        page = self.store.page(self._query(req), req.viewer, model.Summary)
        images = views.summaries(page.images, req.links)
        return _page(req, images, page.next)

    def detail(self, req: Request) -> dict[str, Any]:
        """List images with details.  GET /images/detail."""
        page = self.store.page(self._query(req), req.viewer, model.Detail)
        target = {"project_id": req.caller.project_id}
        sized = self.policy.allows(rules.IMAGE_SIZE, req.caller, target)
        images = views.details(page.images, req.links, with_size=sized)
        return _page(req, images, page.next)

    def show(self, req: Request, image_id: str) -> dict[str, Any]:
        """Show one image.  GET /images/{image_id}."""
        image = self.visible_image(req, image_id)
        target = enforcer.target_of(image)
        sized = self.policy.allows(rules.IMAGE_SIZE, req.caller, target)
        details = [model.Detail.of(image)]
        (view,) = views.details(details, req.links, with_size=sized)
        return {"image": view}

    def delete(self, req: Request, image_id: str) -> None:
        """Delete one image.  DELETE /images/{image_id}."""
        image = self.writable_image(req, image_id)
        if image.protected:
            raise exception.Forbidden(self.refusal, why=refusals.PROTECTED)
        self.store.delete(image, req.token)

    def _query(self, req: Request) -> model.ListQuery:
        """Return the listing that a request asks for, if policy allows it."""
        asked = query.parse(req.query, self.max_limit, self.max_page_metadata)
        self.authorize(req, {"project_id": req.caller.project_id})
        return asked


def _page(
    req: Request, images: list[dict[str, Any]], marker: str | None
) -> dict[str, Any]:
    """Return a page of images with the link to the next one, if any.

    :param marker: the last image's id, None if no image follows.
    """
    page: dict[str, Any] = {"images": images}
    if marker is not None:
        url = req.links.self_ + req.route.path
        href = f"{url}?{query.next_query(req.query, marker)}"
        page["images_links"] = [{"rel": "next", "href": href}]
    return page
