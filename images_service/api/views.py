# SPDX-License-Identifier: Apache-2.0
"""Images as the API shows them.  Pure functions of images and links."""

import json
from typing import Any

import orjson
from oslo_utils import strutils

from images_service import model

# Keys that mean something to a view, as they stand in a stored document; one
# without them goes into the answer as it is stored.
_DEVICES, _MAPPINGS = '"block_device_mapping"', '"mappings"'
_SERVER, _DISK_CONFIG = '"instance_uuid"', '"auto_disk_config"'
_UNKNOWN = ("UNKNOWN", 0)
_SHOWN_DECODED = ("block_device_mapping", "mappings")
# Times are UTC without a zone, in whole seconds: 2026-03-01T10:00:00Z.
_TIMES = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


class Links:
    """What the links of one answer start with.

    :param self_: of this version of the API, with the project if the request
        named it.
    :param bookmark: the same without the version.
    :param alternate: of the image service.
    """

    __slots__ = ("_around_ids", "bookmark", "self_")

    def __init__(self, self_: str, bookmark: str, alternate: str) -> None:
        self.self_ = self_
        self.bookmark = bookmark
        # The JSON text of an image's three links, without its id, once for
        # all images of a page.
        kind = "application/vnd.openstack.image"
        self._around_ids = (
            f'[{{"rel":"self","href":{_open(self_)}',
            f'"}},{{"rel":"bookmark","href":{_open(bookmark)}',
            f'"}},{{"rel":"alternate","type":"{kind}","href":{_open(alternate)}',
            '"}]',
        )

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


def _open(prefix: str) -> str:
    """Return a JSON string of images' URLs, up to where an id goes."""
    return json.dumps(f"{prefix}/images/").removesuffix('"')


def dump(view: object) -> bytes:
    """Return a view as JSON text."""
    return orjson.dumps(view, option=_TIMES)


def summary(image: model.Image, links: Links) -> dict[str, Any]:
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
    # Runs for each image of a page, so it calls what it must and no more.
    image_id, document = image.id, image.metadata
    status, progress = model.STATUSES.get(image.status, _UNKNOWN)
    view: dict[str, Any] = {
        "id": image_id,
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
    view["links"] = links.of_image(image_id)
    if _SERVER in document or _DISK_CONFIG in document:
        view.update(_of_properties(json.loads(document), links))
    return view


def metadata(document: str) -> orjson.Fragment | dict[str, Any]:
    """Return stored metadata as the API shows them."""
    if _DEVICES not in document and _MAPPINGS not in document:
        return orjson.Fragment(document)
    return {
        key: item(key, value) for key, value in json.loads(document).items()
    }


def item(key: str, value: str) -> Any:
    """Return one value as the API shows it.

    Two keys hold JSON, which is shown as what it says; where it says nothing
    it is shown as the string it is.
    """
    if key not in _SHOWN_DECODED:
        return value
    try:
        orjson.loads(value)
    except ValueError:
        return value
    # What was checked is sent, not what Python makes of it.
    return orjson.Fragment(value)


def _of_properties(items: dict[str, str], links: Links) -> dict[str, Any]:
    """Return the members of an image that its metadata imply."""
    view: dict[str, Any] = {}
    server = items.get("instance_uuid")
    if server is not None:
        view["server"] = {"id": server, "links": links.of_server(server)}
    disk_config = items.get("auto_disk_config")
    if disk_config is not None:
        automatic = strutils.bool_from_string(disk_config)
        view["OS-DCF:diskConfig"] = "AUTO" if automatic else "MANUAL"
    return view
