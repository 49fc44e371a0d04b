# SPDX-License-Identifier: Apache-2.0
"""Users of http_basic: an htpasswd file, and a map to projects and roles."""

from collections.abc import Mapping
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

import bcrypt
from oslo_config import cfg

from images_service import config
from images_service import mapfile
from images_service.watched import FileError
from images_service.watched import Watched

_DIGEST = re.compile(
    r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z\d]{53}", re.A
)


class Grant(NamedTuple):
    """What a user may act as."""

    project_id: str
    roles: list[str]


class Users:
    """Everybody who may come in.

    An edit of the files is in force within two seconds; see
    ``watched.Watched``.

    :param conf: names the files, looked for beside the configuration.
    :raises FileError: one of them is missing, or can't be taken.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        paths = [
            _found(conf, conf.oslo_middleware.http_basic_auth_user_file),
            _found(conf, conf.http_basic.user_map),
        ]
        self._accounts = Watched("The list of users", lambda: paths, _load)

    def grant(self, name: str, password: bytes) -> Grant | None:
        """Return what a user may act as, None where it is no user's word."""
        return self._accounts.value.grant(name, password)


class _Accounts:
    """The users as the files had them at one moment.

    :param passwords: user -> bcrypt digest.
    """

    def __init__(
        self, passwords: Mapping[str, bytes], grants: Mapping[str, Grant]
    ) -> None:
        self._passwords = passwords
        self._grants = grants
        # bcrypt takes a quarter of a second of CPU on purpose.  A password
        # that was good once is good as long as the files stay as they are;
        # what is kept of it is worth nothing without this process's key.
        self._key = secrets.token_bytes()
        self._good: dict[str, bytes] = {}

    def grant(self, name: str, password: bytes) -> Grant | None:
        """Return what a user may act as, None where it is no user's word."""
        known = hashlib.blake2b(password, key=self._key).digest()
        if not hmac.compare_digest(known, self._good.get(name, b"")):
            if not self._check(name, password):
                return None
            self._good[name] = known
        return self._grants.get(name)

    def _check(self, name: str, password: bytes) -> bool:
        # Somebody unknown takes as long as somebody known, so that nobody
        # learns who is.
        some = next(iter(self._passwords.values()), b"")
        digest = self._passwords.get(name, some)
        try:
            return bcrypt.checkpw(password, digest) and name in self._passwords
        except ValueError:
            # It is longer than bcrypt reads, or there are no users.
            return False


def _load(paths: list[str]) -> _Accounts:
    passwords, grants = paths
    return _Accounts(_read_passwords(passwords), _read_grants(grants))


def _read_passwords(path: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeError) as error:
        raise FileError(path, None, str(error)) from error
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, digest = entry.partition(":")
        if not _DIGEST.fullmatch(digest):
            raise FileError(
                path,
                number,
                "not USER:DIGEST with a digest of bcrypt, as htpasswd -B "
                "makes it",
            )
        if name in found:
            raise FileError(path, number, f"user {name} stands there twice")
        found[name] = digest.encode()
    return found


def _read_grants(path: str) -> dict[str, Grant]:
    grants: dict[str, Grant] = {}
    for name, (line, value) in mapfile.read(path).items():
        match value:
            case {"project_id": str(project_id), "roles": [*roles]} if (
                len(value) == 2
                and project_id
                and all(isinstance(role, str) for role in roles)
            ):
                grants[name] = Grant(project_id, roles)
            case _:
                raise FileError(
                    path,
                    line,
                    f"user {name} needs a project_id and a list of roles, "
                    "and nothing else",
                )
    return grants


def _found(conf: cfg.ConfigOpts, name: str) -> str:
    path = config.find_file(conf, name)
    if path is None:
        raise FileError(name, None, "there is no such file")
    return path
