# SPDX-License-Identifier: Apache-2.0
"""Version documents, which need no token."""

from typing import Any

_TYPE = "application/vnd.openstack.compute+json"


def document(path: str, base: str, maximum: str) -> dict[str, Any]:
    """Return the document of a version, or the list of versions.

    :param path: ``v2`` or ``v2.1``, empty for the list.
    :param base: start of the links.
    :param maximum: the highest microversion.
    """
    versions = {
        "v2": {
            "id": "v2.0",
            "status": "DEPRECATED",
            "version": "",
            "min_version": "",
            "updated": "2025-07-04T12:00:00Z",
            "links": [{"rel": "self", "href": f"{base}/v2/"}],
        },
        "v2.1": {
            "id": "v2.1",
            "status": "CURRENT",
            "version": maximum,
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{base}/v2.1/"}],
        },
    }
    if not path:
        return {"versions": [*versions.values()]}
    version: dict[str, Any] = versions[path]
    version["links"].append(
        {
            "rel": "describedby",
            "type": "text/html",
            "href": "http://docs.openstack.org/",
        }
    )
    number = path.removeprefix("v")
    version["media-types"] = [
        {"base": "application/json", "type": f"{_TYPE};version={number}"}
    ]
    return {"version": version}
