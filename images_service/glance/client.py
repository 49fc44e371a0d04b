# SPDX-License-Identifier: Apache-2.0
"""Asks Glance, within a deadline."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
import re
import time
from typing import Any
from typing import TypeVar
from urllib import parse

from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1 import loading
from oslo_config import cfg
from oslo_log import log
import urllib3

from images_service import exception
from images_service import guard
from images_service import sessions
from images_service.store import base

LOG = log.getLogger(__name__)

T = TypeVar("T")
Record = Mapping[str, Any]

_GROUP = "glance"
# Default and maximum of [glance] timeout, in seconds: other processes may
# change an image when its lease has expired.
_TIMEOUT, _LONGEST_TIMEOUT = 4, 5
# Seconds of an action's time that it keeps for the database.
_FOR_STORE = 0.5
_PATCH = "application/openstack-images-v2.1-json-patch"
# Images of a page: each may have 128 properties of 64 KB.
_PAGE = 100
# Maximum attempts to read a list, if its marker is deleted each time.
_ATTEMPTS = 3
# Seconds for a page; Glance lists up to some hundred images a second.
_PAGE_TIMEOUT = 60
# In the order of changes, a changed marker would move, and the list would lack
# images.
_ORDER = "created_at:asc,id:asc"
# The role with which Glance shows the images of all projects.
_ROLE = "admin"
# Maximum number of threads that wait for Glance; callers limit their requests.
_THREADS = 64


class NoRole(exception.GlanceUnavailable):
    """Glance does not show all images to the service's own user.

    :ivar reason: message for operators.
    """

    reason = (
        f"The user of [{_GROUP}] lacks the role {_ROLE}, so Glance doesn't "
        "show it all images."
    )


class NotSent(exception.GlanceUnavailable):
    """Glance has not received the request."""


def _auth_type(conf: cfg.ConfigOpts) -> str:
    """Register keystoneauth's options in ``[glance]``; return ``auth_type``.

    :raises oslo_config.cfg.Error: ``auth_type`` is not set.
    """
    loading.register_auth_conf_options(conf, _GROUP)
    loading.register_session_conf_options(conf, _GROUP)
    loading.register_adapter_conf_options(conf, _GROUP)
    conf.set_default("timeout", _TIMEOUT, _GROUP)
    conf.set_default("service_type", "image", _GROUP)
    conf.set_default("valid_interfaces", ["internal", "public"], _GROUP)
    found: str | None = conf.glance.auth_type
    if found is None:
        raise cfg.RequiredOptError("auth_type", cfg.OptGroup(_GROUP))
    return found


def option_names(conf: cfg.ConfigOpts) -> list[str]:
    """Return the names of all options that keystoneauth reads.

    :raises oslo_config.cfg.Error: ``auth_type`` is missing or unknown.
    """
    plugin = _auth_type(conf)
    options = [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(),
        *loading.get_auth_plugin_conf_options(plugin),
    ]
    names = {opt.dest for opt in options}
    for opt in options:
        names |= {old.name for old in opt.deprecated_opts if old.name}
    return sorted(name.replace("-", "_") for name in names)


class Glance:
    """The image service of the cloud.

    Reads use the service's own session. Changes use only the caller's token: a
    service token would also give the caller the service's roles.

    :param conf: its ``[glance]`` group is read.
    :raises oslo_config.cfg.Error: an option is missing or wrong.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        _auth_type(conf)
        try:
            auth = loading.load_auth_from_conf_options(conf, _GROUP)
        except keystone_errors.OptionError as error:
            raise cfg.Error(f"[{_GROUP}]: {error}") from error
        if not hasattr(auth, "get_access"):
            raise cfg.Error(
                f"[{_GROUP}] auth_type = {conf.glance.auth_type} gives a "
                "token without roles. Use password, or another of Keystone's."
            )
        if conf.glance.timeout > _LONGEST_TIMEOUT:
            raise cfg.Error(
                f"[{_GROUP}] timeout is {conf.glance.timeout} seconds. Set "
                f"{_LONGEST_TIMEOUT} at most."
            )
        self._auth: Any = auth
        self._session = loading.load_session_from_conf_options(
            conf, _GROUP, auth=auth
        )
        sessions.limit(self._session)
        self._adapter = loading.load_adapter_from_conf_options(
            conf, _GROUP, session=self._session, auth=auth
        )
        # Called with method, status and seconds of each answer.
        self.observe: Callable[[str, str, float], object] | None = None
        self._timeout: float = conf.glance.timeout
        self._guard = guard.Guard(threads=_THREADS, patient=_THREADS)

    def image(self, image_id: str) -> Record | None:
        """Return one image, None if Glance lacks it.

        :raises GlanceUnavailable: there is no usable answer.
        :raises NoRole: Glance may have an image that it does not show.
        """
        return self._one(f"/v2/images/{parse.quote(image_id)}", "id")

    def members(self, image_id: str) -> Mapping[str, str] | None:
        """Return project id -> status of the shares of an image.

        :returns: None if the image does not exist, or isn't shared.
        """
        path = f"/v2/images/{parse.quote(image_id)}/members"
        found = self._one(path, "members")
        if found is None:
            return None
        try:
            return {
                member["member_id"]: member["status"]
                for member in found["members"]
            }
        except (TypeError, KeyError) as error:
            raise _unusable(repr(found)) from error

    def _one(self, path: str, key: str) -> Record | None:
        status, found = self._get(path, self._timeout)
        if status in (403, 404):
            # Without the role, the image could belong to another project.
            self.check_role()
            return None
        return _checked(status, found, key)

    def pages(self, since: str | None = None) -> Iterator[Sequence[Record]]:
        """Yield all images, or the images that have changed since a time.

        :param since: the time, in Glance's format.
        :raises NoRole: after the last page: the pages lack images.
        """
        for hidden in ("false", "true"):
            query = {
                "visibility": "all",
                "os_hidden": hidden,
                "limit": str(_PAGE),
                "sort": _ORDER,
            }
            if since:
                query["updated_at"] = f"gte:{since}"
            yield from self._pages(f"/v2/images?{parse.urlencode(query)}")
        self.check_role()

    def _pages(self, first: str) -> Iterator[Sequence[Record]]:
        """Yield a list's pages, some of them twice if it is read again."""
        path: str | None = first
        attempts = 1
        while path:
            status, found = self._get(path, _PAGE_TIMEOUT)
            if status in (400, 404) and path != first and attempts < _ATTEMPTS:
                # The last image of the previous page was deleted.
                attempts += 1
                path = first
                continue
            page = _checked(status, found, "images")
            yield page["images"]
            path = page.get("next")

    def change(
        self, image_id: str, changes: Sequence[Record], token: str | None
    ) -> Record:
        """Change an image with a caller's token.

        :param changes: a JSON patch.
        :raises Error: Glance refuses the change.
        :raises GlanceUnavailable: it is unknown whether the image has changed.
        """
        status, found = self._write(
            "PATCH", image_id, token, json.dumps(changes)
        )
        _raise_refusal(status, found)
        return _checked(status, found, "id")

    def delete(self, image_id: str, token: str | None) -> None:
        """Delete an image with a caller's token; see ``change``."""
        _raise_refusal(*self._write("DELETE", image_id, token))

    def check_role(self) -> None:
        """Check that Glance shows the service the images of all projects.

        :raises NoRole: the service's own token lacks the role.
        """
        roles = self._ask(
            lambda: self._auth.get_access(self._session).role_names,
            self._timeout,
        )
        if _ROLE not in roles:
            LOG.error("%s", NoRole.reason)
            raise NoRole

    def _get(self, path: str, seconds: float) -> tuple[int, Any]:
        return self._ask(
            lambda: self._send("GET", path, timeout=seconds), seconds
        )

    def _write(
        self,
        method: str,
        image_id: str,
        token: str | None,
        body: str | None = None,
    ) -> tuple[int, Any]:
        headers = {"X-Auth-Token": token or "", "Content-Type": _PATCH}
        path = f"/v2/images/{image_id}"
        try:
            # This may ask Keystone for the endpoint.
            self._ask(self._root, self._timeout)
        except exception.GlanceUnavailable as error:
            raise NotSent from error
        return self._ask(
            lambda: self._send(
                method, path, data=body, headers=headers, authenticated=False
            ),
            self._timeout,
        )

    def _send(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and the JSON value of an answer."""
        start = time.monotonic()
        response = self._adapter.request(
            self._root() + path,
            method,
            raise_exc=False,
            redirect=False,
            connect_retries=0,
            status_code_retries=0,
            **options,
        )
        if self.observe is not None:
            seconds = time.monotonic() - start
            self.observe(method, str(response.status_code), seconds)
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, None

    def _root(self) -> str:
        """Return the endpoint without a version."""
        root: str | None = self._adapter.get_endpoint()
        if root is None:
            raise keystone_errors.EndpointNotFound
        return re.sub("/(v2/?)?$", "", root)

    def _ask(self, question: Callable[[], T], seconds: float) -> T:
        """Return the answer to a question.

        The deadline of the action limits the seconds.

        :raises NotSent: the question was not sent.
        :raises GlanceUnavailable: there is no answer in time.
        """
        deadline = min(
            time.monotonic() + seconds, base.deadline() - _FOR_STORE
        )
        try:
            if time.monotonic() > deadline:
                raise guard.Refused("there is no time left for it")
            return self._guard.call(question, deadline)
        except (keystone_errors.ClientException, OSError) as error:
            LOG.error("Glance can't be asked: %s", error)
            if isinstance(error, guard.Refused) or _is_unreachable(error):
                raise NotSent from error
            raise exception.GlanceUnavailable from error


def _is_unreachable(error: BaseException) -> bool:
    """Tell whether no connection could be opened."""
    cause = error.__cause__ or error.__context__
    reason = (
        getattr(cause.args[0], "reason", None)
        if cause and cause.args
        else None
    )
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _checked(status: int, found: Any, key: str) -> Record:
    """Return a successful answer after a check that it has a key.

    :raises GlanceUnavailable: the answer is not usable.
    """
    if status != 200 or not isinstance(found, dict) or key not in found:
        raise _unusable(f"{status} {str(found)[:200]}")
    return found


def _unusable(answer: str) -> exception.GlanceUnavailable:
    LOG.error("Glance's answer can't be used: %s", answer)
    return exception.GlanceUnavailable()


# Status -> the error, and its message, None for the usual one.
_REFUSALS: Mapping[int, tuple[type[exception.Error], str | None]] = {
    401: (exception.Unauthorized, None),
    403: (exception.Forbidden, "Glance does not allow this change."),
    404: (exception.ImageNotFound, None),
    409: (exception.Conflict, "The image is in use, or has changed."),
    413: (exception.QuotaExceeded, None),
}


def _raise_refusal(status: int, found: Any) -> None:
    """Raise an error for the caller if Glance has refused a change."""
    if status in (200, 204):
        return
    if status == 400:
        text = found.get("message") if isinstance(found, dict) else None
        # Glance's errors are HTML in a JSON text.
        reason = " ".join(re.sub("<[^>]*>", " ", str(text or "")).split())
        raise exception.Invalid(reason or "Glance calls the change invalid.")
    if status not in _REFUSALS:
        raise _unusable(str(status))
    kind, message = _REFUSALS[status]
    raise kind(message)
