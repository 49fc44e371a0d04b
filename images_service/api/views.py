# SPDX-License-Identifier: Apache-2.0
"""What the API shows of images: pure functions of images and links."""

import json
from typing import Any

import orjson
from oslo_utils import strutils

from images_service import model

_DECODED = ("block_device_mapping", "mappings")
# Keys with a meaning, as stored metadata contain them: metadata without them
# are sent as they are stored.
_DEVICES, _MAPPINGS = '"block_device_mapping"', '"mappings"'
_SERVER, _DISK_CONFIG = '"instance_uuid"', '"auto_disk_config"'
_UNKNOWN = ("UNKNOWN", 0)
# Times are UTC without a zone, in whole seconds: 2026-03-01T10:00:00Z.
_TIMES = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
# Stands for an image's id in links, which contain no such character.
_ID = "…"


class Links:
    """What the links of one answer start with.

    :param self_: of this version of the API, with the project if the request
        named it.
    :param bookmark: the same without the version.
    :param alternate: of the image service.
    """

    def __init__(self, self_: str, bookmark: str, alternate: str) -> None:
        self.self_ = self_
        self.bookmark = bookmark
        path = f"/images/{_ID}"
        links = [
            {"rel": "self", "href": self_ + path},
            {"rel": "bookmark", "href": bookmark + path},
            {
                "rel": "alternate",
                "type": "application/vnd.openstack.image",
                "href": alternate + path,
            },
        ]
        # Encoded once for all images of a page.
        self._around_ids = orjson.dumps(links).decode().split(_ID)

    def of_image(self, image_id: str) -> orjson.Fragment:
        """Return the three links of an image.

        :param image_id: a stored image's, which is hex digits and hyphens.
        """
        return orjson.Fragment(image_id.join(self._around_ids))

    def of_server(self, server_id: str) -> list[dict[str, str]]:
        """Return the two links of a server."""
        path = f"/servers/{server_id}"
        return [
            {"rel": "self", "href": self.self_ + path},
            {"rel": "bookmark", "href": self.bookmark + path},
        ]


def dump(view: object) -> bytes:
    """Return a view as JSON text."""
    return orjson.dumps(view, option=_TIMES)


def summary(image: model.Summary, links: Links) -> dict[str, Any]:
    """Return an image as the index shows it."""
    return {
        "id": image.id,
        "name": image.name,
        "links": links.of_image(image.id),
    }


def detail(
    image: model.Image, links: Links, *, with_size: bool
) -> dict[str, Any]:
    """Return an image with all that the API shows of it."""
    document = image.metadata
    status, progress = model.STATUSES.get(image.status, _UNKNOWN)
    view: dict[str, Any] = {
        "id": image.id,
        "name": image.name,
        "minRam": image.min_ram,
        "minDisk": image.min_disk,
        "metadata": metadata(document),
        "created": image.created_at,
        "updated": image.updated_at,
        "status": status,
        "progress": progress,
    }
    if with_size:
        view["OS-EXT-IMG-SIZE:size"] = image.size or 0
    view["links"] = links.of_image(image.id)
    if _SERVER in document or _DISK_CONFIG in document:
        items = json.loads(document)
        server = items.get("instance_uuid")
        if server is not None:
            view["server"] = {"id": server, "links": links.of_server(server)}
        disk_config = items.get("auto_disk_config")
        if disk_config is not None:
            automatic = strutils.bool_from_string(disk_config)
            view["OS-DCF:diskConfig"] = "AUTO" if automatic else "MANUAL"
    return view


def metadata(document: str) -> orjson.Fragment | dict[str, Any]:
    """Return stored metadata as the API shows them."""
    if _DEVICES not in document and _MAPPINGS not in document:
        return orjson.Fragment(document)
    return {
        key: item(key, value) for key, value in json.loads(document).items()
    }


def item(key: str, value: str) -> Any:
    """Return one value as the API shows it: JSON of two keys is decoded."""
    if key not in _DECODED:
        return value
    try:
        orjson.loads(value)
    except ValueError:
        return value
    # Python would change numbers that it can't hold.
    return orjson.Fragment(value)
