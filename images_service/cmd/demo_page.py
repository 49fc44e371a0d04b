# SPDX-License-Identifier: Apache-2.0
"""The demonstration's page: what callers see, and may do by policy.json.

Only the demonstration's pipeline has it, and only this machine can read it.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from importlib import resources
import ipaddress
from typing import Any
from urllib import parse
from wsgiref import types as wsgi

import webob

from images_service import exception
from images_service import files
from images_service import model
from images_service.api import routes
from images_service.context import RequestContext
from images_service.middleware import pipeline
from images_service.policy import enforcer
from images_service.policy import loader
from images_service.policy import rules

_STATE = "/demo/state"
_FILES = {
    "/demo": ("demo.html", "text/html"),
    "/demo/demo.css": ("demo.css", "text/css"),
    "/demo/demo.js": ("demo.js", "text/javascript"),
}
_HEADERS = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
)
_PROJECT = "demo"
# Users with their projects and roles, as in noauth2.
_CALLERS = (
    ("alice", _PROJECT, ["member", "reader"]),
    ("carol", _PROJECT, ["reader"]),
    ("bob", "partner", ["member", "reader"]),
    ("admin", _PROJECT, ["admin", "member", "reader"]),
)
_QUERY = model.ListQuery(limit=50)
_DETAIL = "os_compute_api:images:detail"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def filter_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> pipeline.Filter:
    """Return the filter that adds the page, for PasteDeploy."""
    return lambda application: Page(application, global_conf)


class Page:
    """Answers requests for the page and its state, and passes others on."""

    def __init__(
        self, application: wsgi.WSGIApplication, global_conf: Mapping[str, Any]
    ) -> None:
        self._application = application
        self._store = global_conf[pipeline.STORE]
        self._policy = global_conf[pipeline.POLICY]
        self._path = loader.main_file(global_conf[pipeline.CONF]) or ""
        self._callers = [
            RequestContext(
                user_id=user, project_id=project, roles=roles, overwrite=False
            )
            for user, project, roles in _CALLERS
        ]

    def __call__(
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Answer a request."""
        request = webob.Request(environ)
        path = environ["PATH_INFO"]
        is_known = path == _STATE or path in _FILES
        if not (is_known and request.method == "GET" and _is_local(request)):
            return self._application(environ, start_response)
        if path == _STATE:
            try:
                response = webob.Response(json=self._state())
            except exception.Unavailable as error:
                response = webob.Response(
                    str(error), 503, content_type="text/plain"
                )
        else:
            name, kind = _FILES[path]
            file = resources.files("images_service.cmd").joinpath(name)
            response = webob.Response(file.read_bytes(), content_type=kind)
        response.headers.update(_HEADERS)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _state(self) -> dict[str, Any]:
        """Return the values that the page shows.

        :raises Unavailable: the database, or a service that a rule asks, gives
            no answer.
        """
        everything = model.Viewer(_PROJECT, is_admin=True)
        images = self._store.page(_QUERY, everything, model.Image).images
        lists = [self._sizes(caller) for caller in self._callers]
        free = [image for image in images if not image.protected]
        own = [image for image in free if image.owner == _PROJECT]
        public = [image for image in free if image.visibility == "public"]
        return {
            "file": self._path,
            "text": _text(self._path),
            "problem": self._policy.problem,
            "warnings": self._policy.value.warnings,
            "callers": [
                {"name": user, "note": f"{roles[0]} of {project}"}
                for user, project, roles in _CALLERS
            ],
            "images": [
                {
                    **_words(image),
                    "seen": [seen.get(image.id) for seen in lists],
                }
                for image in images
            ],
            "actions": [
                action
                for image in (None, *own[:1], *public[:1])
                for action in self._actions(image)
            ],
        }

    def _actions(self, image: model.Image | None) -> list[dict[str, Any]]:
        """Return the actions on an image, or on no image, with each outcome.

        An outcome is ``allowed``, ``refused`` (403) or ``hidden`` (404).
        """
        sees = [self._sees(caller, image) for caller in self._callers]
        return [
            {
                "image": image and _words(image),
                "rule": rule.name,
                "does": rule.description,
                "outcomes": [
                    self._outcome(rule.name, caller, image)
                    if seen
                    else "hidden"
                    for caller, seen in zip(self._callers, sees, strict=True)
                ],
            }
            for rule in routes.list_rules()
            if (rules.attributes(rule) == rules.IMAGE_ATTRIBUTES)
            == (image is not None)
        ]

    def _sizes(self, caller: RequestContext) -> dict[str, dict[str, int]]:
        """Return the size of each image in a caller's list, by id."""
        if self._outcome(_DETAIL, caller, None) != "allowed":
            return {}
        target = {"project_id": caller.project_id}
        sized = self._policy.allows(rules.IMAGE_SIZE, caller, target)
        images = self._store.page(
            _QUERY, self._viewer(caller), model.Detail
        ).images
        return {
            each.id: {"size": each.size or 0} if sized else {}
            for each in images
        }

    def _outcome(
        self, rule: str, caller: RequestContext, image: model.Image | None
    ) -> str:
        """Return ``allowed`` or ``refused`` (403)."""
        target = {"project_id": caller.project_id}
        if image is not None:
            target = enforcer.target_of(image)
        allowed = (
            self._policy.is_admin(caller)
            if rule == rules.CONTEXT_IS_ADMIN
            else self._policy.allows(rule, caller, target)
        )
        return "allowed" if allowed else "refused"

    def _sees(self, caller: RequestContext, image: model.Image | None) -> bool:
        """Tell whether a caller sees an image; otherwise the answer is 404."""
        if image is not None:
            try:
                self._store.get(image.id, self._viewer(caller))
            except exception.ImageNotFound:
                return False
        return True

    def _viewer(self, caller: RequestContext) -> model.Viewer:
        return model.Viewer(
            caller.project_id or "", self._policy.is_admin(caller)
        )


def _is_local(request: webob.Request) -> bool:
    """Tell whether this machine sends the request, with its own name as host.

    The name of another site may resolve to this machine; then pages of this
    site could read the answer.
    """
    try:
        name = parse.urlsplit(f"//{request.host}").hostname
    except ValueError:
        return False
    return all(map(is_loopback, (request.remote_addr or "", name or "")))


def _text(path: str) -> str:
    try:
        return files.read(path).decode("utf-8", "replace")
    except files.FileError:
        return ""


def _words(image: model.Image) -> dict[str, str]:
    note = f"{image.visibility}, of {image.owner}"
    return {"name": image.name or image.id, "note": note}
