# SPDX-License-Identifier: Apache-2.0
"""Identifies callers by an htpasswd file and a map to projects and roles."""

from collections.abc import Mapping
import hashlib
import hmac
import re
import secrets
import threading
from typing import Any
from wsgiref import types as wsgi

import bcrypt
from oslo_config import cfg
from oslo_middleware import basic_auth
import webob.exc

from images_service import config
from images_service import context
from images_service import exception
from images_service import files
from images_service.files import FileError
from images_service.middleware import auth
from images_service.middleware import pipeline

_DIGEST = re.compile(rb"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z\d]{53}")
# A check of this cost takes about a second.
_HIGHEST_COST = 14
# Threads that may check passwords at the same time; others serve requests.
_CHECKS = 2

# A user's project id and roles.
Grant = tuple[str, list[str]]


def http_basic(
    global_conf: Mapping[str, Any], **_local: str
) -> pipeline.Filter:
    """Pass only requests of users who send their password."""
    users = Users(global_conf[pipeline.CONF])
    challenge = 'Basic realm="images_service"'
    return lambda app: auth.Identity(app, users.identify, challenge)


class Users:
    """The users, with their passwords, projects and roles.

    :param conf: names the files, which are beside the configuration.
    :raises FileError: a file is missing or invalid.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._digests = _read_digests(
            _find(conf, conf.oslo_middleware.http_basic_auth_user_file)
        )
        self._grants = _read_grants(_find(conf, conf.http_basic.user_map))
        self._highest_cost = max(map(_cost, self._digests.values()), default=4)
        self._checks = threading.BoundedSemaphore(_CHECKS)
        # bcrypt uses a quarter of a second of CPU by design, so correct
        # passwords are cached, as hashes with a key of this process.
        self._key = secrets.token_bytes()
        self._good: dict[str, bytes] = {}

    def identify(
        self, environ: wsgi.WSGIEnvironment, caller: context.RequestContext
    ) -> bool:
        """Write the user into the context if the password is correct."""
        try:
            credentials = basic_auth.parse_header(environ)
            name, password = basic_auth.parse_token(credentials)
        except webob.exc.HTTPException:
            # The text of the error may contain parts of a password.
            return False
        grant = self.grant(name, password)
        if grant is None:
            return False
        caller.user_id = caller.user_name = name
        caller.project_id, caller.roles = grant
        return True

    def grant(self, name: str, password: bytes) -> Grant | None:
        """Return a user's project and roles, None if the password is wrong.

        :raises IdentityUnavailable: too many passwords are being checked;
            cached passwords need no check.
        """
        known = hashlib.blake2b(password, key=self._key).digest()
        if not hmac.compare_digest(known, self._good.get(name, b"")):
            if not self._checks.acquire(blocking=False):
                raise exception.IdentityUnavailable
            try:
                if not self._is_good(name, password):
                    return None
            finally:
                self._checks.release()
            self._good[name] = known
        return self._grants.get(name)

    def _is_good(self, name: str, password: bytes) -> bool:
        """Tell whether a user has this password.

        A wrong password takes the same time for known and unknown names. A
        check takes twice the time if its cost is higher by one. So a check of
        the digest, and one of each cost from the digest's to the highest minus
        one, take the time of one check of the highest cost.
        """
        digest = self._digests.get(name)
        cost = _cost(digest) if digest else self._highest_cost
        try:
            if bcrypt.checkpw(password, digest or _nobody(cost)):
                return digest is not None
            for each in range(cost, self._highest_cost):
                bcrypt.checkpw(password, _nobody(each))
        except ValueError:
            # The password is longer than bcrypt accepts.
            pass
        return False


def _cost(digest: bytes) -> int:
    return int(digest[4:6])


def _nobody(cost: int) -> bytes:
    """Return a digest of some cost that belongs to no user."""
    return b"$2b$%02d$" % cost + b"." * 53


def _read_digests(path: str) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        text = files.read(path).decode()
    except UnicodeError as error:
        raise FileError(path, None, str(error)) from error
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, word = entry.partition(":")
        digest = word.encode()
        problem = None
        if not _DIGEST.fullmatch(digest):
            problem = (
                "not USER:DIGEST with a digest of bcrypt, as htpasswd -B "
                "makes it"
            )
        elif _cost(digest) > _HIGHEST_COST:
            problem = (
                f"user {name}: the digest's cost is more than {_HIGHEST_COST}"
            )
        elif name in found:
            problem = f"user {name} is defined twice"
        if problem:
            raise FileError(path, number, problem)
        found[name] = digest
    return found


def _read_grants(path: str) -> Mapping[str, Grant]:
    grants: dict[str, Grant] = {}
    for name, (line, value) in files.parse_map(path, files.read(path)).items():
        match value:
            case {"project_id": str(project_id), "roles": [*roles]} if (
                len(value) == 2
                and project_id
                and project_id.isascii()
                and project_id.isprintable()
                and all(isinstance(role, str) for role in roles)
            ):
                grants[name] = (project_id, roles)
            case _:
                raise FileError(
                    path,
                    line,
                    f"user {name} needs a project_id of ASCII characters and "
                    "a list of roles, and nothing else",
                )
    return grants


def _find(conf: cfg.ConfigOpts, name: str) -> str:
    path = config.find_file(conf, name)
    if path is None:
        raise FileError(name, None, "there is no such file")
    return path
