# SPDX-License-Identifier: Apache-2.0
"""The interface that the API speaks to.  It knows no SQL and no HTTP."""

import abc
from collections.abc import Iterable
from collections.abc import Sequence

from images_service import errors
from images_service import model


class ImageStore(abc.ABC):
    """Images, their metadata and whom they are shared with.

    Every method may raise ``errors.StoreUnavailable``.  A method that takes a
    viewer never lets that viewer learn of an image that it must not see.
    """

    @abc.abstractmethod
    def get(self, image_id: str, viewer: model.Viewer) -> model.Image:
        """Return one image that isn't deleted.

        :param image_id: a UUID in any letter case; anything else is an id
            that no image has.
        :raises errors.ImageNotFound: there is none, or it isn't visible.
        """

    @abc.abstractmethod
    def page(self, query: model.ListQuery, viewer: model.Viewer) -> model.Page:
        """Return a page of images, newest first, then by id, descending.

        :raises errors.MarkerNotFound: the marker is unknown or not visible.
        """

    @abc.abstractmethod
    def change_metadata(
        self,
        image_id: str,
        change: model.MetadataChange,
        quota: int,
        generation: int | None = None,
    ) -> model.Image:
        """Change an image's metadata and return the image after it.

        All or nothing, and as if no other change happened meanwhile.

        :param quota: the most items that may be there after the change.
        :param generation: change only if the image still has this one.
        :raises errors.ImageNotFound: the image is gone.
        :raises errors.MetadataKeyNotFound: the key to remove isn't there.
        :raises errors.PreconditionFailed: it has another generation.
        :raises errors.QuotaExceeded: there would be too many items.
        """

    @abc.abstractmethod
    def delete(self, image_id: str, generation: int | None = None) -> None:
        """Mark an image as deleted.  Exactly one of several callers succeeds.

        :param generation: delete only if the image still has this one.
        :raises errors.ImageNotFound: the image is gone.
        :raises errors.PreconditionFailed: it has another generation.
        """

    @abc.abstractmethod
    def add(
        self, images: Sequence[model.NewImage], *, replace: bool = False
    ) -> Sequence[errors.Error | None]:
        """Store images, each wholly or not at all.

        :param replace: replace images that exist; else they are refused.
        :returns: for each image why it was refused, or None.
        """

    @abc.abstractmethod
    def ping(self) -> None:
        """Do nothing, where images can be read.

        :raises errors.StoreUnavailable: they can't.
        """

    @abc.abstractmethod
    def connection_counts(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are idle."""

    @abc.abstractmethod
    def iterate(
        self, query: model.ListQuery, viewer: model.Viewer
    ) -> Iterable[model.Image]:
        """Yield every image of a listing, ``query.limit`` a database page."""
