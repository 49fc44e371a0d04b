# SPDX-License-Identifier: Apache-2.0
"""The API as an OpenAPI 3.1 document, made from ROUTES and the schemas."""

from collections.abc import Iterator
from collections.abc import Mapping
from http import HTTPStatus
from importlib import metadata
import re
from typing import Any

from images_service import errors
from images_service import model
from images_service.api import microversion
from images_service.api import routes
from images_service.api import schemas

# What any request may be answered, beside its success.
_ALWAYS = (400, 401, 403, 404, 406, 413, 415, 500, 503)

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}


def _object(
    properties: Mapping[str, Any], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _ref(name: str, kind: str = "schemas") -> dict[str, Any]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _list(of: Any) -> dict[str, Any]:
    return {"type": "array", "items": of}


_LINK = _object({"rel": _TEXT, "href": _TEXT, "type": _TEXT}, ("type",))
# Two keys are shown as the JSON that they hold, so values are not all text.
_ITEMS = {"type": "object"}
_SUMMARY = {
    "id": {"type": "string", "pattern": f"^{model.IMAGE_ID.pattern}$"},
    "name": {"type": ["string", "null"]},
    "links": _list(_ref("Link")),
}
_SERVER = _object({"id": _TEXT, "links": _list(_ref("Link"))})
_DETAIL = {
    **_SUMMARY,
    "minRam": _COUNT,
    "minDisk": _COUNT,
    "metadata": _ref("Metadata"),
    "created": _TIME,
    "updated": _TIME,
    "status": {
        "enum": sorted({shown for shown, _ in model.STATUSES.values()})
    },
    "progress": {"type": "integer", "minimum": 0, "maximum": 100},
    "OS-EXT-IMG-SIZE:size": _COUNT,
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    "server": _SERVER,
}
_SOMETIMES = ("OS-EXT-IMG-SIZE:size", "OS-DCF:diskConfig", "server")
_FAULT = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {
        "enum": sorted({name for _, name in errors.FAULTS.values()})
    },
    "additionalProperties": _object(
        {"code": {"type": "integer"}, "message": _TEXT}
    ),
}


def _page(of: str) -> dict[str, Any]:
    return _object(
        {"images": _list(_ref(of)), "images_links": _list(_ref("Link"))},
        ("images_links",),
    )


_SCHEMAS = {
    "Link": _LINK,
    "Metadata": _ITEMS,
    "Image": _object(_DETAIL, _SOMETIMES),
    "ImageSummary": _object(_SUMMARY),
    "Fault": _FAULT,
}
# What an action answers where it succeeds, None for nothing.
ANSWERS: Mapping[str, dict[str, Any] | None] = {
    "images:index": _page("ImageSummary"),
    "images:detail": _page("Image"),
    "images:show": _object({"image": _ref("Image")}),
    "images:delete": None,
    "image-metadata:index": _object({"metadata": _ref("Metadata")}),
    "image-metadata:create": _object({"metadata": _ref("Metadata")}),
    "image-metadata:update_all": _object({"metadata": _ref("Metadata")}),
    "image-metadata:show": _object({"meta": _ref("Metadata")}),
    "image-metadata:update": _object({"meta": _ref("Metadata")}),
    "image-metadata:delete": None,
}


def statuses(route: routes.Route) -> list[int]:
    """Return the statuses that an action may be answered but for success."""
    found = {*_ALWAYS}
    if route.etag:
        found.add(304)
    if route.method != "GET":
        found.add(412)
    return sorted(found)


def parameters(route: routes.Route) -> Iterator[tuple[str, str, Any]]:
    """Yield an action's parameters: where they are, name, schema."""
    yield "path", "project_id", _TEXT
    for name in re.findall("{(.+?)}", route.path):
        # What is no key is no error but where it would be written.
        written = name == "key" and route.body is not None
        yield "path", name, _portable(schemas.KEY) if written else _TEXT
    if route.query is not None:
        for name, listed in schemas.plain(route.query.schema)[
            "properties"
        ].items():
            yield "query", name, _portable(listed["items"])
        for name in schemas.UNCHECKED:
            yield "query", name, _TEXT
    if route.etag:
        yield "header", "If-None-Match", _TEXT
    if route.method != "GET":
        yield "header", "If-Match", _TEXT
    # Versions of other services are none of this one's business.
    yield "header", microversion.HEADER, {**_TEXT, "examples": ["compute 2.1"]}
    versions = ["", "latest", *(f"2.{n}" for n in range(1, route.until + 1))]
    yield "header", microversion.LEGACY_HEADER, {"enum": versions}


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.ROUTES:
        path = f"/v2.1/{{project_id}}{route.path}"
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "images_service",
            "description": "The image part of an OpenStack compute endpoint. "
            "The project may be left out of each path, and each GET answers "
            "HEAD, too.",
            "version": metadata.version("images-service"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "responses": {
                str(status): _response(status) for status in _faults()
            },
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Auth-Token",
                }
            },
        },
    }


def _faults() -> list[int]:
    return sorted({304, *(status for status, _ in errors.FAULTS.values())})


def _response(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status >= 400:
        found["content"] = {"application/json": {"schema": _ref("Fault")}}
    return found


def _operation(route: routes.Route) -> dict[str, Any]:
    answer = ANSWERS[route.action]
    success: dict[str, Any] = {"description": HTTPStatus(route.success).phrase}
    if answer is not None:
        success["content"] = {"application/json": {"schema": answer}}
    operation: dict[str, Any] = {
        "operationId": route.action,
        "tags": [route.action.partition(":")[0]],
        "description": f"To microversion 2.{route.until}.",
        "parameters": [
            {
                "in": where,
                "name": name,
                "required": where == "path",
                "schema": schema,
            }
            for where, name, schema in parameters(route)
        ],
        "responses": {
            str(route.success): success,
            **{
                str(status): _ref(str(status), "responses")
                for status in statuses(route)
            },
        },
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _portable(route.body.schema)}
            },
        }
    return operation


def _portable(schema: Any) -> Any:
    """Return a schema as other programs than Python's read it."""
    if isinstance(schema, dict):
        return {_portable(k): _portable(v) for k, v in schema.items()}
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    if schema == schemas.TIME:
        return "date-time"
    if isinstance(schema, str):
        # A JSON text holds no lone surrogates, if it is good.
        return schema.replace(r"\Z", "$").replace(schemas.NO_SCALAR, r"\u0000")
    return schema
