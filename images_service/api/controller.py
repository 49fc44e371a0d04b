# SPDX-License-Identifier: Apache-2.0
"""What both controllers do before they act."""

from images_service import errors
from images_service import model
from images_service.api.request import Request
from images_service.policy import enforcer
from images_service.store import base


class Controller:
    """The store and the policy, asked in the contract's order.

    :param metadata_quota: the most metadata items that a change may leave.
    :param max_limit: the most images in one page.
    :param max_page_metadata: the most characters of metadata in one page.
    """

    # What a refused write says; the image's id takes the place of {}.
    refusal = ""

    def __init__(
        self,
        store: base.ImageStore,
        policy: enforcer.Policy,
        metadata_quota: int,
        max_limit: int,
        max_page_metadata: int,
    ) -> None:
        self.store = store
        self.policy = policy
        self.metadata_quota = metadata_quota
        self.max_limit = max_limit
        self.max_page_metadata = max_page_metadata

    def authorize_project(self, req: Request) -> None:
        """Ask policy about an action on the caller's project.

        :raises errors.Forbidden: policy says no.
        """
        target = {"project_id": req.caller.project_id}
        if not self.policy.allows(req.route.rule, req.caller, target):
            raise errors.Forbidden(_denial(req))

    def visible_image(self, req: Request, image_id: str) -> model.Image:
        """Return an image that the caller may read.

        :raises errors.ImageNotFound: there is none that the caller may see.
        :raises errors.Forbidden: policy says no.
        """
        return self._image(req, image_id, _denial(req))

    def writable_image(
        self, req: Request, image_id: str
    ) -> tuple[model.Image, int | None]:
        """Return an image that the caller may change.

        With it comes the generation that the change must find, None for any.

        :raises errors.ImageNotFound: there is none that the caller may see.
        :raises errors.Forbidden: policy says no.
        :raises errors.PreconditionFailed: ``If-Match`` names another state.
        """
        image = self._image(req, image_id, self.refusal.format(image_id))
        return image, req.unchanged_since(image)

    def _image(self, req: Request, image_id: str, denial: str) -> model.Image:
        image = self.store.get(image_id, req.viewer)
        target = enforcer.target_of(image)
        if not self.policy.allows(req.route.rule, req.caller, target):
            raise errors.Forbidden(denial)
        req.image = image
        return image


def _denial(req: Request) -> str:
    return f"Policy doesn't allow {req.route.rule} to be performed."
