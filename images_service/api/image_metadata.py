# SPDX-License-Identifier: Apache-2.0
"""Image metadata: list, show, create, replace, update, delete."""

import json
from typing import Any

from images_service import exception
from images_service import model
from images_service.api import views
from images_service.api.dispatch import Controller
from images_service.api.dispatch import Request


class ImageMetadata(Controller):
    """The actions ``image-metadata:…``."""

    refusal = "Not authorized for image {}."

    def index(self, req: Request, image_id: str) -> dict[str, Any]:
        """List all items.  GET /images/{image_id}/metadata."""
        image = self.visible_image(req, image_id)
        return {"metadata": views.metadata(image.metadata)}

    def show(self, req: Request, image_id: str, key: str) -> dict[str, Any]:
        """Show one item.  GET /images/{image_id}/metadata/{key}."""
        image = self.visible_image(req, image_id)
        items = json.loads(image.metadata)
        if key not in items:
            raise exception.NotFound
        return {"meta": {key: views.item(key, items[key])}}

    def create(self, req: Request, image_id: str) -> dict[str, Any]:
        """Add or change some items.  POST /images/{image_id}/metadata."""
        image = self.writable_image(req, image_id)
        items = {**json.loads(image.metadata), **req.body["metadata"]}
        after = self._set(req, image, items)
        return {"metadata": views.metadata(after.metadata)}

    def update_all(self, req: Request, image_id: str) -> dict[str, Any]:
        """Replace all items.  PUT /images/{image_id}/metadata."""
        items = req.body["metadata"]
        self._set(req, self.writable_image(req, image_id), items)
        return {"metadata": items}

    def update(self, req: Request, image_id: str, key: str) -> dict[str, Any]:
        """Set one item.  PUT /images/{image_id}/metadata/{key}."""
        item = req.body["meta"]
        if key not in item:
            raise exception.Invalid("Request body and URI mismatch")
        image = self.writable_image(req, image_id)
        self._set(req, image, {**json.loads(image.metadata), **item})
        return {"meta": item}

    def delete(self, req: Request, image_id: str, key: str) -> None:
        """Delete one item.  DELETE /images/{image_id}/metadata/{key}."""
        image = self.writable_image(req, image_id)
        items = json.loads(image.metadata)
        if key not in items:
            raise exception.NotFound("Invalid metadata key")
        del items[key]
        # No quota: an image may have more items than the present quota allows.
        self.store.change_metadata(image, items, req.token)

    def _set(
        self, req: Request, image: model.Image, items: dict[str, str]
    ) -> model.Image:
        """Replace an image's items.

        :raises QuotaExceeded: there are more items than the quota allows.
        """
        if len(items) > self.metadata_quota:
            raise exception.QuotaExceeded
        return self.store.change_metadata(image, items, req.token)
