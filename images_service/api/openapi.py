# SPDX-License-Identifier: Apache-2.0
"""The API as an OpenAPI 3.1 document, generated from ROUTES."""

from collections.abc import Iterator
from collections.abc import Mapping
from http import HTTPStatus
from importlib import metadata
import re
from typing import Any

from images_service import exception
from images_service import model
from images_service.api import microversion
from images_service.api import routes
from images_service.api import validation

# Errors of every action.
_ALWAYS = (400, 401, 403, 404, 406, 413, 415, 500, 503)

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_TOKEN = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}


def _object(
    properties: Mapping[str, Any], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the schema of an object without other properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _page(name: str) -> dict[str, Any]:
    members = {"images": _array(name), "images_links": _array("Link")}
    return _object(members, ("images_links",))


_SUMMARY = {
    "id": {"type": "string", "pattern": f"^{model.IMAGE_ID.pattern}$"},
    "name": {"type": ["string", "null"]},
    "links": _array("Link"),
}
_IMAGE = {
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
    "server": _object({"id": _TEXT, "links": _array("Link")}),
}
_SOMETIMES = ("OS-EXT-IMG-SIZE:size", "OS-DCF:diskConfig", "server")
_SCHEMAS: Mapping[str, Any] = {
    "Link": _object({"rel": _TEXT, "href": _TEXT, "type": _TEXT}, ("type",)),
    # Some values are shown as the JSON that they contain.
    "Metadata": {"type": "object"},
    "Image": _object(_IMAGE, _SOMETIMES),
    "ImageSummary": _object(_SUMMARY),
    "ImagePage": _page("Image"),
    "ImageSummaryPage": _page("ImageSummary"),
    "OneImage": _object({"image": _ref("Image")}),
    "AllItems": _object({"metadata": _ref("Metadata")}),
    "OneItem": _object({"meta": _ref("Metadata")}),
    "Fault": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {
            "enum": sorted({name for _, name in exception.FAULTS.values()})
        },
        "additionalProperties": _object(
            {"code": {"type": "integer"}, "message": _TEXT}
        ),
    },
}


def statuses(route: routes.Route) -> list[int]:
    """Return the statuses of an action's answers other than success."""
    found = {*_ALWAYS}
    if route.etag:
        found.add(304)
    if route.method != "GET":
        found.add(412)
    return sorted(found)


def parameters(route: routes.Route) -> Iterator[tuple[str, str, Any]]:
    """Yield the place, name and schema of each parameter of an action."""
    yield "path", "project_id", _TEXT
    for name in re.findall("{(.+?)}", route.path):
        # Only actions with a body refuse an invalid key; others answer 404.
        written = name == "key" and route.body is not None
        yield "path", name, _portable(validation.KEY) if written else _TEXT
    if route.query is not None:
        for name, listed in route.query.schema["properties"].items():
            yield "query", name, _portable(listed["items"])
    if route.etag:
        yield "header", "If-None-Match", _TEXT
    if route.method != "GET":
        yield "header", "If-Match", _TEXT
    # The header may also name versions of other services.
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
            "securitySchemes": {"token": _TOKEN},
        },
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _response(status: int, schema: str | None = None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if schema is not None and status != 304:
        response |= _json(_ref(schema))
    return response


def _operation(route: routes.Route) -> dict[str, Any]:
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
            str(route.success): _response(route.success, route.answer),
            **{str(s): _response(s, "Fault") for s in statuses(route)},
        },
    }
    if route.body is not None:
        body = _json(_portable(route.body.schema))
        operation["requestBody"] = {"required": True, **body}
    return operation


def _portable(schema: Any) -> Any:
    """Return a schema in the vocabulary of JSON Schema and ECMAScript."""
    if isinstance(schema, Mapping):
        found = {_portable(k): _portable(v) for k, v in schema.items()}
        if found.get("type") == "string" and found.pop("minimum", None):
            found["pattern"] = "^0*[1-9][0-9]*$"
        return found
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    if isinstance(schema, str):
        # JSON texts contain no lone surrogates, so only U+0000 is excluded.
        text = schema.replace(r"\Z", "$")
        return text.replace(validation.NO_SCALAR, r"\u0000")
    return schema
