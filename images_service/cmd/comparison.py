# SPDX-License-Identifier: Apache-2.0
"""Compares two answers to the same read, field by field."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import json
import re
from typing import Any
from typing import NamedTuple
from urllib import parse

# The headers on which clients depend.
_HEADERS = (
    *("Content-Type", "Vary", "Retry-After"),
    *("OpenStack-API-Version", "X-OpenStack-Nova-API-Version"),
)
# Stands for a value that an answer lacks.
MISSING = "-"
# Characters of a value that a report shows.
_SHOWN = 120

_HEAD = "Nova answers no HEAD"
_FAILS = (
    "Nova fails on a query string of metadata, and on a block_device_mapping "
    "that is not JSON"
)
_MARKER = "a marker that the caller may not see is 400"
_NUMBER = "minRam and minDisk must be numbers"
_DELETED = "changes-since lists deleted images"
_EXACT = "filters compare exactly"
LAST = "there is a next link only if more images follow"


@dataclasses.dataclass
class Answer:
    """An endpoint's answer to a read.

    :ivar headers: values by names in lower case.
    :ivar document: the JSON value of the body, without the endpoint's address
        in links; the text of a body that is not JSON.
    """

    status: int
    headers: Mapping[str, str]
    document: Any

    @classmethod
    def read(
        cls, status: int, headers: Mapping[str, str], body: bytes, root: str
    ) -> "Answer":
        """Return an answer in the form for a comparison.

        :param root: the endpoint's URL, which is the start of its links.
        """
        text = body.decode("utf-8", "replace")
        document: Any = text
        with contextlib.suppress(ValueError, RecursionError):
            document = _without_root(json.loads(text), root)
        return cls(status, headers, document)

    @property
    def listed(self) -> Mapping[str, Any]:
        """The images of a list by id, none in other answers."""
        images = None
        if isinstance(self.document, dict):
            images = self.document.get("images")
        return _by_key(images, "id") or {}

    @property
    def next_query(self) -> str | None:
        """The query string of the next page, None if no page follows."""
        with contextlib.suppress(
            LookupError, TypeError, ValueError, AttributeError
        ):
            (link,) = self.document["images_links"]
            return str(parse.urlsplit(link["href"]).query)
        return None

    def __str__(self) -> str:
        """Return the status, with the message of a fault."""
        if self.status >= 400 and isinstance(self.document, dict):
            for fault in self.document.values():
                if isinstance(fault, dict) and "message" in fault:
                    return f"{self.status} {_shown(fault['message'])}"
        return str(self.status)


class Difference(NamedTuple):
    """A field that differs.

    :ivar field: ``status``, ``header NAME``, or a path in the document, such
        as ``images.status``, without ids.
    :ivar where: the id of the first image in a list, or a list's index, and
        the number of others.
    :ivar nova: Nova's value, as JSON.
    :ivar images: this service's value.
    :ivar reason: reason of a difference on purpose, else empty.
    """

    field: str
    where: str
    nova: str
    images: str
    reason: str = ""


def differences(
    method: str, target: str, nova: Answer, images: Answer
) -> list[Difference]:
    """Return the differences of two answers to a request, by field."""
    query = dict(parse.parse_qsl(target.partition("?")[2], True))
    if nova.status != images.status:
        reason = _reason_of_status(method, query, nova.status, images.status)
        return [Difference("status", "", str(nova), str(images), reason)]
    found = list(_of_headers(nova.headers, images.headers))
    if method == "HEAD":
        return found
    try:
        found += _diff("", "", nova.document, images.document)
    except RecursionError:
        found.append(Difference("body", "", "nested too deep", ""))
    return _grouped(
        one._replace(reason=_reason_of_image(one, query, nova, images))
        for one in found
    )


def _grouped(found: Iterable[Difference]) -> list[Difference]:
    """Return the first difference of each field, with the number of others."""
    groups: dict[tuple[object, ...], list[Difference]] = {}
    for one in found:
        missing = (one.nova == MISSING, one.images == MISSING)
        groups.setdefault((one.field, one.reason, *missing), []).append(one)
    return [
        first._replace(where=f"{first.where} and {len(more)} more")
        if more
        else first
        for first, *more in groups.values()
    ]


def _of_headers(
    nova: Mapping[str, str], images: Mapping[str, str]
) -> Iterator[Difference]:
    for name in _HEADERS:
        values = [one.get(name.lower(), MISSING) for one in (nova, images)]
        # The order of words has no meaning, and JSON is always UTF-8.
        words = [set(re.split("[,; ]+", value.lower())) for value in values]
        if (words[0] ^ words[1]) - {"charset=utf-8"}:
            yield Difference(f"header {name}", "", *map(_shown, values))


def _by_key(value: Any, name: str) -> dict[str, Any] | None:
    """Return the objects of a list by a member, None if it is not a key."""
    if not isinstance(value, list):
        return None
    found = {
        item[name]: item
        for item in value
        if isinstance(item, dict) and isinstance(item.get(name), str)
    }
    return found if len(found) == len(value) else None


def _diff(
    field: str, where: str, nova: Any, images: Any
) -> Iterator[Difference]:
    """Yield the differences of two JSON values."""
    both = [nova, images]
    is_list = False
    if all(isinstance(one, list) for one in both):
        both, is_list = _mappings(nova, images)
    elif not all(isinstance(one, dict) for one in both):
        texts = [json.dumps(one, sort_keys=True) for one in both]
        if texts[0] != texts[1]:
            yield Difference(field or "body", where, *map(_shown, both))
        return
    keys = [key for key in both[0] if key in both[1]]
    for key in {**both[0], **both[1]}:
        place = (f"{field}.{key}".lstrip("."), where)
        if is_list:
            place = (field, f"{where} {key}".lstrip())
        if key in both[0] and key in both[1]:
            yield from _diff(*place, both[0][key], both[1][key])
        else:
            values = (
                _shown(one[key]) if key in one else MISSING for one in both
            )
            yield Difference(*place, *values)
    order = [key for key in both[1] if key in both[0]]
    if is_list and keys != order:
        yield Difference(
            f"{field} (order)", where, _shown(keys), _shown(order)
        )


def _mappings(
    nova: list[Any], images: list[Any]
) -> tuple[list[dict[str, Any]], bool]:
    """Return two lists as mappings, and whether their order has a meaning.

    The keys are the ``rel`` of links, ids, or else indexes.
    """
    for name, is_ordered in (("rel", False), ("id", True)):
        left, right = _by_key(nova, name), _by_key(images, name)
        if left is not None and right is not None:
            return [left, right], is_ordered
    return [
        {str(number): item for number, item in enumerate(one)}
        for one in (nova, images)
    ], True


def _shown(value: Any) -> str:
    """Return a value as JSON in ASCII, cut if it is long."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _without_root(value: Any, root: str) -> Any:
    """Return a JSON value without an endpoint's address in its links."""
    if isinstance(value, list):
        return [_without_root(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _without_root(item, root) for key, item in value.items()}
    link = found.get("href")
    if isinstance(link, str):
        if link.startswith(f"{root}/"):
            link = link.removeprefix(root)
        # The order of parameters has no meaning.
        path, mark, query = link.partition("?")
        pairs = sorted(parse.parse_qsl(query, keep_blank_values=True))
        found["href"] = path + mark + parse.urlencode(pairs)
    return found


def _reason_of_status(
    method: str, query: Mapping[str, str], nova: int, images: int
) -> str:
    """Return why statuses differ on purpose, "" if it is a mistake."""
    if method == "HEAD" and nova == 404:
        return _HEAD
    if nova == 500 and images == 200:
        return _FAILS
    if (nova, images) == (403, 400) and "marker" in query:
        return _MARKER
    numbers = [query.get(name, "0") for name in ("minRam", "minDisk")]
    if (nova, images) == (200, 400) and not all(
        re.fullmatch("[0-9]+", number) for number in numbers
    ):
        return _NUMBER
    return ""


def _reason_of_image(
    one: Difference, query: Mapping[str, str], nova: Answer, images: Answer
) -> str:
    """Return why an image is in one list on purpose, "" for a mistake."""
    if one.field != "images" or not one.where:
        return ""
    if one.images != MISSING:
        status = images.listed.get(one.where, {}).get("status")
        if "changes-since" in query and status == "DELETED":
            return _DELETED
    elif not _matches(nova.listed.get(one.where, {}), query):
        return _EXACT
    return ""


def _matches(image: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Tell whether an image may match filters that compare exactly."""
    metadata = image.get("metadata")
    for name, value in query.items():
        if name == "name" and image.get("name") != value:
            return False
        key = "property-image_type" if name == "type" else name
        if (
            key.startswith("property-")
            and metadata is not None
            and metadata.get(key.removeprefix("property-")) != value
        ):
            return False
    return True
