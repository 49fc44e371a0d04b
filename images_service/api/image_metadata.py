# SPDX-License-Identifier: Apache-2.0
"""Image metadata: list, show, create, replace, update, delete."""

import json
from typing import Any

from images_service import errors
from images_service import model
from images_service.api import views
from images_service.api.controller import Controller
from images_service.api.request import Request


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
            raise errors.NotFound
        return {"meta": {key: views.item(key, items[key])}}

    def create(self, req: Request, image_id: str) -> dict[str, Any]:
        """Add or change some items.  POST /images/{image_id}/metadata."""
        change = model.MetadataChange(req.body["metadata"])
        image = self._change(req, image_id, change)
        return {"metadata": views.metadata(image.metadata)}

    def update_all(self, req: Request, image_id: str) -> dict[str, Any]:
        """Replace all items.  PUT /images/{image_id}/metadata."""
        items = req.body["metadata"]
        self._change(req, image_id, model.MetadataChange(items, replace=True))
        return {"metadata": items}

    def update(self, req: Request, image_id: str, key: str) -> dict[str, Any]:
        """Set one item.  PUT /images/{image_id}/metadata/{key}."""
        item = req.body["meta"]
        if key not in item:
            raise errors.Invalid("Request body and URI mismatch")
        self._change(req, image_id, model.MetadataChange(item))
        return {"meta": item}

    def delete(self, req: Request, image_id: str, key: str) -> None:
        """Delete one item.  DELETE /images/{image_id}/metadata/{key}."""
        self._change(req, image_id, model.MetadataChange(remove=key))

    def _change(
        self, req: Request, image_id: str, change: model.MetadataChange
    ) -> model.Image:
        image, generation = self.writable_image(req, image_id)
        return self.store.change_metadata(
            image.id, change, self.metadata_quota, generation
        )
