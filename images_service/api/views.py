# SPDX-License-Identifier: Apache-2.0
"""Images as the API shows them.  Pure functions of images and links."""

import dataclasses
import datetime
import json
from typing import Any

import orjson
from oslo_utils import strutils

from images_service import model

# Keys that mean something to a view; a document without them goes into the
# answer as it is stored.
_SHOWN_DECODED = ("block_device_mapping", "mappings")
_DISK_CONFIG = "auto_disk_config"
_SERVER = "instance_uuid"
_MEANINGFUL = tuple(
    f'"{key}"' for key in (*_SHOWN_DECODED, _DISK_CONFIG, _SERVER)
)


@dataclasses.dataclass(frozen=True, slots=True)
class Links:
    """What the links of one answer start with.

    :param self_: of this version of the API, with the project if the request
        named it.
    :param bookmark: the same without the version.
    :param alternate: of the image service.
    """

    self_: str
    bookmark: str
    alternate: str

    def of(self, collection: str, item_id: str) -> list[dict[str, str]]:
        """Return the two links of an item of a collection."""
        path = f"/{collection}/{item_id}"
        return [
            {"rel": "self", "href": self.self_ + path},
            {"rel": "bookmark", "href": self.bookmark + path},
        ]

    def of_image(self, image_id: str) -> list[dict[str, str]]:
        """Return the three links of an image."""
        return [
            *self.of("images", image_id),
            {
                "rel": "alternate",
                "type": "application/vnd.openstack.image",
                "href": f"{self.alternate}/images/{image_id}",
            },
        ]


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
    status, progress = model.STATUSES.get(image.status, ("UNKNOWN", 0))
    view: dict[str, Any] = {
        "id": image.id,
        "name": image.name,
        "minRam": image.min_ram,
        "minDisk": image.min_disk,
        "metadata": metadata(image.metadata),
        "created": _time(image.created_at),
        "updated": _time(image.updated_at),
        "status": status,
        "progress": progress,
    }
    if with_size:
        view["OS-EXT-IMG-SIZE:size"] = image.size or 0
    view["links"] = links.of_image(image.id)
    if (
        f'"{_SERVER}"' in image.metadata
        or f'"{_DISK_CONFIG}"' in image.metadata
    ):
        view.update(_of_properties(json.loads(image.metadata), links))
    return view


def metadata(document: str) -> orjson.Fragment | dict[str, Any]:
    """Return stored metadata as the API shows them."""
    if not any(key in document for key in _MEANINGFUL[:2]):
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
    if _SERVER in items:
        server = items[_SERVER]
        view["server"] = {"id": server, "links": links.of("servers", server)}
    if _DISK_CONFIG in items:
        automatic = strutils.bool_from_string(items[_DISK_CONFIG])
        view["OS-DCF:diskConfig"] = "AUTO" if automatic else "MANUAL"
    return view


def _time(time: datetime.datetime) -> str:
    return time.isoformat(timespec="seconds") + "Z"
