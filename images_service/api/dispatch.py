# SPDX-License-Identifier: Apache-2.0
"""One request's life, in the contract's order of checks.

route → token → microversion → content type and body → URL's project → schemas
→ the action, which finds the image, asks policy and acts.  The only place that
builds responses, and the only one that reads what a client has sent.
"""

from collections.abc import Iterable
import functools
from http import HTTPStatus
import json
import re
from typing import Any
from typing import TYPE_CHECKING

from oslo_config import cfg
import webob

from images_service import context
from images_service import errors
from images_service import model
from images_service.api import image_metadata
from images_service.api import images
from images_service.api import listing
from images_service.api import microversion
from images_service.api import router
from images_service.api import versions
from images_service.api import views
from images_service.api.request import Request
from images_service.policy import enforcer
from images_service.store import base

if TYPE_CHECKING:
    from wsgiref.types import StartResponse
    from wsgiref.types import WSGIEnvironment

_VERSION_OF_URL = re.compile(r"/v[0-9]+(\.[0-9]+)?/?$")
_MEDIA_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/vnd.openstack.compute+json",
        "text/plain",
    }
)
_LENGTH = re.compile("[0-9]+", re.ASCII)
_JSON = ("Content-Type", "application/json")
# Catalogs are large and the same for every token of a project.
_CATALOGS = 128

Headers = list[tuple[str, str]]


class Application:
    """The API as a WSGI application.

    :param conf: its ``[api]``, ``[quota]`` and ``[oslo_middleware]`` groups
        are read once.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        store: base.ImageStore,
        policy: enforcer.Policy,
    ) -> None:
        self._policy = policy
        self._maximum: str = conf.api.max_microversion
        self._max_body: int = conf.oslo_middleware.max_request_body_size
        self._link_prefix: str | None = conf.api.compute_link_prefix
        self._glance_prefix: str | None = conf.api.glance_link_prefix
        self._versions = versions.Versions(self._maximum)
        shared = (
            store,
            policy,
            conf.quota.metadata_items,
            conf.api.max_limit,
            conf.api.max_page_metadata,
        )
        self._controllers = {
            "images": images.Images(*shared),
            "image-metadata": image_metadata.ImageMetadata(*shared),
        }
        self._router = router.Router()
        self._image_endpoint = functools.lru_cache(_CATALOGS)(_image_endpoint)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request."""
        headers: Headers = []
        try:
            status, body = self._answer(environ, headers)
        except errors.Error as error:
            status, body = errors.status_of(error), errors.body_of(error)
            headers += [_JSON, *_explanation(error)]
        if status not in (204, 304):
            headers.append(("Content-Length", str(len(body))))
        environ[context.ANSWERED] = True
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(
        self, environ: "WSGIEnvironment", headers: Headers
    ) -> tuple[int, bytes]:
        """Return status and body; add to the headers as they are known."""
        match = self._router.match(environ.get("PATH_INFO", ""))
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            headers.append(("Allow", match.allowed))
            return 200, b""
        if method == "HEAD":
            method = "GET"
        if method not in (match.methods or ("GET",)):
            raise errors.MethodNotAllowed(match.allowed)

        minor = self._microversion(environ, match.version, headers)
        http = webob.Request(environ)
        root = self._link_prefix or http.application_url
        if match.methods is None:
            headers.append(_JSON)
            document = self._versions.of_path(match.version)
            return 200, views.dump(document(root))

        route = match.methods[method]
        environ[context.ACTION] = route.action
        if minor > route.until:
            raise errors.NotFound
        schema = route.legacy_body if match.version == "v2" else route.body
        body = self._body(environ, wanted=schema is not None)
        caller: context.RequestContext | None = environ.get(
            context.ENVIRON_KEY
        )
        if caller is None:
            raise errors.Unauthorized
        project_id = match.arguments.pop("project_id", None)
        viewer = self._viewer(caller, project_id)
        query = listing.decode(environ.get("QUERY_STRING", ""))
        if schema is not None:
            schema.check(body)

        req = Request(
            http=http,
            route=route,
            caller=caller,
            viewer=viewer,
            links=self._links(root, match.version, project_id, caller),
            query=query,
            body=body,
        )
        return self._act(req, match.arguments, headers)

    def _act(
        self, req: Request, arguments: dict[str, str], headers: Headers
    ) -> tuple[int, bytes]:
        controller, _, action = req.route.action.partition(":")
        act = getattr(self._controllers[controller], action)
        view = act(req, **arguments)
        if req.route.etag and req.image is not None:
            headers.append(("ETag", f'"{req.image.generation}"'))
            if req.has_seen(req.image):
                return 304, b""
        if view is None:
            return req.route.success, b""
        headers.append(_JSON)
        return req.route.success, views.dump(view)

    def _microversion(
        self, environ: "WSGIEnvironment", version: str, headers: Headers
    ) -> int:
        """Return N of the version 2.N that is asked for, and tell it.

        The legacy endpoint knows no such versions; it is 2.1 and doesn't say.
        """
        if version != "v2.1":
            return 1
        try:
            asked = microversion.requested(environ, self._maximum)
        except errors.Invalid:
            headers.append(microversion.VARY)
            raise
        headers += microversion.headers(asked)
        return microversion.minor(asked, self._maximum)

    def _body(self, environ: "WSGIEnvironment", *, wanted: bool) -> Any:
        """Read the JSON body, None where there is none or none is wanted.

        :raises errors.UnsupportedMediaType: it isn't said to be JSON.
        :raises errors.BodyTooLarge: it is longer than the limit.
        :raises errors.MalformedBody: it can't be read as JSON.
        """
        media_type = environ.get("CONTENT_TYPE", "").partition(";")[0]
        if media_type.strip().lower() not in _MEDIA_TYPES:
            raise errors.UnsupportedMediaType
        length = environ.get("CONTENT_LENGTH") or None
        if length is not None and not _LENGTH.fullmatch(length):
            raise errors.Invalid("Content-Length is not a length")
        # More digits than Python would make a number of are too many, too.
        if length and (len(length) > 18 or int(length) > self._max_body):
            raise errors.BodyTooLarge
        if not wanted:
            return None
        if length is not None:
            data = environ["wsgi.input"].read(int(length))
        elif environ.get("wsgi.input_terminated"):
            data = environ["wsgi.input"].read(self._max_body + 1)
        else:
            return None
        if len(data) > self._max_body:
            raise errors.BodyTooLarge
        if not data:
            return None
        try:
            return json.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise errors.MalformedBody from error

    def _viewer(
        self, caller: context.RequestContext, project_id: str | None
    ) -> model.Viewer:
        """Return whose eyes the store looks with.

        :param project_id: the URL's.
        :raises errors.Invalid: it isn't the token's.
        :raises errors.Forbidden: there is neither.
        """
        if project_id is not None and project_id != caller.project_id:
            raise errors.Invalid(
                f"Malformed request URL: URL's project_id '{project_id}' "
                f"doesn't match Context's project_id '{caller.project_id}'"
            )
        if not caller.project_id:
            raise errors.Forbidden("The token is not scoped to a project.")
        return model.Viewer(caller.project_id, self._policy.is_admin(caller))

    def _links(
        self,
        root: str,
        version: str,
        project_id: str | None,
        caller: context.RequestContext,
    ) -> views.Links:
        project = f"/{project_id}" if project_id else ""
        alternate = self._glance_prefix
        if alternate is None and caller.service_catalog:
            alternate = self._image_endpoint(caller.service_catalog)
        return views.Links(
            self_=f"{root}/{version}{project}",
            bookmark=f"{root}{project}",
            alternate=alternate or root,
        )


def _explanation(error: errors.Error) -> Headers:
    """Return the headers that belong to an error."""
    if isinstance(error, errors.MethodNotAllowed):
        return [("Allow", error.allow)]
    if isinstance(error, errors.StoreUnavailable):
        return [("Retry-After", errors.RETRY_AFTER)]
    return []


def _image_endpoint(catalog: str) -> str | None:
    """Return the image service's root, without its version, from a catalog.

    :param catalog: JSON text as keystonemiddleware hands it on: a list of
        services with their endpoints.
    """
    try:
        services = json.loads(catalog)
        urls: list[str] = [
            endpoint["publicURL"]
            for service in services
            if service["type"] == "image"
            for endpoint in service["endpoints"]
        ]
    except (ValueError, KeyError, TypeError):
        return None
    return _VERSION_OF_URL.sub("", urls[0]).rstrip("/") if urls else None
