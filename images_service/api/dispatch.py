# SPDX-License-Identifier: Apache-2.0
"""Handles one request, with the checks in the order of the contract.

route → token → microversion → content type and body → URL's project → schemas
→ the action: image, policy, change. Only this module reads requests of clients
and builds responses.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import functools
from http import HTTPStatus
import json
import re
from typing import Any
from wsgiref import types as wsgi

from oslo_config import cfg
import webob

from images_service import context
from images_service import exception
from images_service import model
from images_service.api import microversion
from images_service.api import query
from images_service.api import router
from images_service.api import routes
from images_service.api import validation
from images_service.api import versions
from images_service.api import views
from images_service.policy import enforcer
from images_service.policy import refusals
from images_service.store import base

Response = tuple[int, exception.Headers, bytes]

_VERSION_OF_URL = re.compile(r"/v[0-9]+(\.[0-9]+)?/?$")
_NOVA_JSON = "application/vnd.openstack.compute+json"
_MEDIA_TYPES = ("", "application/json", _NOVA_JSON, "text/plain")
_JSON = ("Content-Type", "application/json")
# Catalogs to cache: they are large, and the same for all tokens of a project.
_CATALOGS = 128
# Query strings to cache: many requests have the same, such as "limit=100".
_QUERIES = 128


@dataclasses.dataclass(slots=True)
class Request:
    """A parsed request, for an action."""

    http: webob.Request
    route: routes.Route  # the row of ROUTES that it matches
    caller: context.RequestContext
    viewer: model.Viewer
    links: views.Links
    query: query.Values
    body: Any  # valid JSON; None if the action reads no body
    image: model.Image | None = None  # loaded by the action

    @property
    def token(self) -> str | None:
        """The caller's token, for Glance."""
        token: str | None = self.http.environ.get("HTTP_X_AUTH_TOKEN")
        return token


class Controller:
    """The base of both controllers."""

    # The message of a refused change; the image's id replaces {}.
    refusal = ""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        store: base.ImageStore,
        policy: enforcer.Policy,
    ) -> None:
        self.store = store
        self.policy = policy
        self.metadata_quota: int = conf.quota.metadata_items
        self.max_limit: int = conf.api.max_limit
        self.max_page_metadata: int = conf.api.max_page_metadata

    def authorize(
        self, req: Request, target: Mapping[str, Any], refusal: str = ""
    ) -> None:
        """Raise ``Forbidden`` unless policy allows the action."""
        rule = req.route.rule
        why = self.policy.value.refusal(rule, req.caller, target)
        if why is not None:
            raise exception.Forbidden(
                refusal or f"Policy doesn't allow {rule} to be performed.",
                why=why,
                target=target,
            )

    def visible_image(
        self, req: Request, image_id: str, refusal: str = ""
    ) -> model.Image:
        """Return an image if the caller may perform the action on it."""
        image = self.store.get(image_id, req.viewer)
        self.authorize(req, enforcer.target_of(image), refusal)
        req.image = image
        return image

    def writable_image(self, req: Request, image_id: str) -> model.Image:
        """Return an image if policy and ``If-Match`` allow a change."""
        refusal = self.refusal.format(image_id)
        image = self.visible_image(req, image_id, refusal)
        if str(image.generation) not in req.http.if_match:
            raise exception.PreconditionFailed
        return image


class Application:
    """The API as a WSGI application.

    :param controllers: classes by the controllers' names in ROUTES.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        store: base.ImageStore,
        policy: enforcer.Policy,
        controllers: Mapping[str, type[Controller]],
    ) -> None:
        self._policy = policy
        self._maximum: str = conf.api.max_microversion
        self._max_body: int = conf.oslo_middleware.max_request_body_size
        self._link_prefix: str | None = conf.api.compute_link_prefix
        self._glance_prefix: str | None = conf.api.glance_link_prefix
        self._controllers = {
            name: controller(conf, store, policy)
            for name, controller in controllers.items()
        }
        self._router = router.Router()
        self._image_endpoint = functools.lru_cache(_CATALOGS)(
            functools.partial(_image_endpoint, conf)
        )
        self._query = functools.lru_cache(_QUERIES)(_query)

    def __call__(
        self, environ: wsgi.WSGIEnvironment, start_response: wsgi.StartResponse
    ) -> Iterable[bytes]:
        """Answer a request."""
        method = environ["REQUEST_METHOD"]
        version_headers: exception.Headers = []
        try:
            match = self._router.match(environ.get("PATH_INFO", ""))
            if method == "OPTIONS":
                status, headers, body = 200, [("Allow", match.allowed)], b""
            else:
                route = match.route(method)
                # The legacy endpoint has no microversions: it is 2.1.
                minor = 1
                if match.version == "v2.1":
                    minor = microversion.negotiate(environ, self._maximum)
                    version_headers = microversion.headers(f"2.{minor}")
                status, headers, body = self._answer(
                    environ, match, route, minor
                )
            if status not in (204, 304):
                headers.append(("Content-Length", str(len(body))))
        except exception.Error as error:
            status, headers, body = exception.answer(error)
            if isinstance(error, exception.Forbidden):
                refusals.log(
                    environ[context.ACTION],
                    environ[context.ENVIRON_KEY],
                    error,
                )
        environ[context.ANSWERED] = True
        start_response(
            f"{status} {HTTPStatus(status).phrase}",
            [*version_headers, *headers],
        )
        return [] if method == "HEAD" else [body]

    def _answer(
        self,
        environ: wsgi.WSGIEnvironment,
        match: router.Match,
        route: routes.Route | None,
        minor: int,
    ) -> Response:
        http = webob.Request(environ)
        root = self._link_prefix or http.application_url
        if route is None:
            document = versions.document(match.version, root, self._maximum)
            return 200, [_JSON], views.dump(document)

        environ[context.ACTION] = route.action
        arguments = dict(match.arguments)
        environ[context.IMAGE_ID] = arguments.get("image_id")
        if minor > route.until:
            raise exception.NotFound
        schema = route.legacy_body if match.version == "v2" else route.body
        body = self._body(http, wanted=schema is not None)
        caller: context.RequestContext = environ[context.ENVIRON_KEY]
        project_id = arguments.pop("project_id", None)
        viewer = self._viewer(caller, project_id)
        values = self._query(environ.get("QUERY_STRING", ""), route.query)
        if schema is not None:
            schema.check(body)
        project = f"/{project_id}" if project_id else ""
        links = views.Links(
            self_=f"{root}/{match.version}{project}",
            bookmark=f"{root}{project}",
            alternate=self._image_service(caller) or root,
        )
        req = Request(http, route, caller, viewer, links, values, body)
        return self._act(req, arguments)

    def _act(self, req: Request, arguments: dict[str, str]) -> Response:
        controller, _, action = req.route.action.partition(":")
        act = getattr(self._controllers[controller], action)
        view = base.retried(lambda: act(req, **arguments), req.caller.began)
        headers: exception.Headers = []
        if req.route.etag and req.image is not None:
            generation = str(req.image.generation)
            headers.append(("ETag", f'"{generation}"'))
            if generation in req.http.if_none_match:
                return 304, headers, b""
        if view is None:
            return req.route.success, headers, b""
        return req.route.success, [*headers, _JSON], views.dump(view)

    def _body(self, http: webob.Request, *, wanted: bool) -> Any:
        """Read the JSON body, None if it is missing or not wanted."""
        if http.content_type.strip().lower() not in _MEDIA_TYPES:
            raise exception.UnsupportedMediaType
        length = http.content_length
        if (length or 0) > self._max_body:
            raise exception.BodyTooLarge
        chunked = http.environ.get("wsgi.input_terminated")
        if not wanted or (length is None and not chunked):
            return None
        size = self._max_body + 1 if length is None else max(length, 0)
        try:
            data = http.environ["wsgi.input"].read(size)
        except Exception as error:
            # Each server has its own errors for a client that leaves, is too
            # slow, or sends wrong chunks.
            raise exception.MalformedBody from error
        if len(data) > self._max_body:
            raise exception.BodyTooLarge
        if len(data) < (length or 0):
            raise exception.MalformedBody
        try:
            return json.loads(data.decode()) if data else None
        except (ValueError, RecursionError) as error:
            raise exception.MalformedBody from error

    def _viewer(
        self, caller: context.RequestContext, project_id: str | None
    ) -> model.Viewer:
        """Return the scope of queries; check the projects of URL and token."""
        if project_id is not None and project_id != caller.project_id:
            raise exception.Invalid(
                f"Malformed request URL: URL's project_id '{project_id}' "
                f"doesn't match Context's project_id '{caller.project_id}'"
            )
        if not caller.project_id:
            raise exception.Forbidden("The token is not scoped to a project.")
        # Databases can't compare other text with the ids of projects.
        if not (
            caller.project_id.isascii() and caller.project_id.isprintable()
        ):
            raise exception.Forbidden("The token's project id is not ASCII.")
        return model.Viewer(
            caller.project_id,
            self._policy.is_admin(caller),
            roles=tuple(caller.roles),
        )

    def _image_service(self, caller: context.RequestContext) -> str | None:
        if self._glance_prefix is None and caller.service_catalog:
            return self._image_endpoint(caller.service_catalog)
        return self._glance_prefix


def _query(
    query_string: str, schema: validation.Schema | None
) -> query.Values:
    """Return the parameters of a query string.

    :raises Invalid: the parameters do not match the schema.
    """
    values = query.decode(query_string)
    if schema is not None:
        schema.check(values)
    return values


def _image_endpoint(conf: cfg.ConfigOpts, catalog: str) -> str | None:
    """Return the image service's root URL in a catalog, without its version.

    The endpoint of the configured region is preferred to the first public one.
    """
    try:
        public = [
            (endpoint.get("region"), endpoint["publicURL"])
            for service in json.loads(catalog)
            if service["type"] == "image"
            for endpoint in service["endpoints"]
            if endpoint.get("publicURL")
            and isinstance(endpoint["publicURL"], str)
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    wanted = conf.keystone_authtoken.region_name
    configured = [url for region, url in public if wanted and region == wanted]
    for url in configured or [url for _, url in public]:
        return _VERSION_OF_URL.sub("", url).rstrip("/")
    return None
