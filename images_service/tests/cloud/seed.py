# SPDX-License-Identifier: Apache-2.0
"""Images of every kind, written into Glance's database.

That is ten times faster than through its API.
"""

import datetime
import uuid

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_START = datetime.datetime(2026, 1, 1)
# What images are, one after another, besides being private and active.
KINDS: tuple[dict, ...] = (
    {},
    {"visibility": "public"},
    {"visibility": "shared"},
    {"visibility": "community"},
    {"visibility": "public", "os_hidden": 1},
    {"status": "queued"},
    {"status": "deactivated"},
    {"protected": 1},
    {"visibility": "community", "os_hidden": 1, "protected": 1},
    # Nobody is to see it.
    {"status": "deleted", "deleted": 1},
)
_MEMBERS = ("accepted", "pending", "rejected")


def seed(glance, projects, count):
    """Add images; return how many Glance shows.

    :param glance: of ``processes``.
    :param projects: the owners' ids, in turn; others share.
    """
    images, properties, locations, members = [], [], [], []
    for number in range(count):
        # Each project has images of each kind.
        kind = KINDS[number % len(KINDS)]
        owner = number // len(KINDS) % len(projects)
        image = _image(number, projects[owner], kind)
        images.append(image)
        at = {
            "image_id": image["id"],
            "created_at": image["created_at"],
            "updated_at": image["created_at"],
        }
        properties += [
            {**at, "name": name, "value": value, "deleted": 0}
            for name, value in _properties(number).items()
        ]
        if image["size"] is not None:
            locations.append(
                {
                    **at,
                    "value": f"file:///nowhere/{image['id']}",
                    "meta_data": '{"store": "file"}',
                    "status": "active",
                    "deleted": 0,
                }
            )
        if kind == {"visibility": "shared"}:
            members += [
                {
                    **at,
                    "member": projects[(owner + 1 + place) % len(projects)],
                    "status": status,
                    "can_share": 0,
                    "deleted": 0,
                }
                for place, status in enumerate(_MEMBERS)
            ]
    for table, rows in (
        ("images", images),
        ("image_properties", properties),
        ("image_locations", locations),
        ("image_members", members),
    ):
        glance.insert(table, rows)
    return sum(not image["deleted"] for image in images)


def _image(number, owner, kind):
    # Several have the same time, as pages must bear.
    created = _START + datetime.timedelta(seconds=number // 7)
    has_data = kind.get("status") not in ("queued", "deleted")
    names = (f"image {number}", None, f"größe-{number}", "n" * 255)
    return {
        "id": str(uuid.uuid5(_NAMESPACE, f"seed-{number}")),
        "name": names[number % len(names)],
        "size": 1024 + number if has_data else None,
        "status": "active",
        "created_at": created,
        "updated_at": created + datetime.timedelta(hours=number % 3),
        "deleted_at": created if kind.get("deleted") else None,
        "deleted": 0,
        "disk_format": "qcow2",
        "container_format": "bare",
        "checksum": "0" * 32 if has_data else None,
        "os_hash_algo": "sha512" if has_data else None,
        "os_hash_value": "0" * 128 if has_data else None,
        "owner": owner,
        "min_disk": number % 5,
        "min_ram": number % 4 * 512,
        "protected": 0,
        "visibility": "private",
        "os_hidden": 0,
        **kind,
    }


def _properties(number):
    return {
        "os_distro": f"distribution-{number % 9}",
        "hw:disk bus": "virtio",
        "empty": "",
        "größe": str(number),
    }
