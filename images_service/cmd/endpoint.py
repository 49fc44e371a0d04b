# SPDX-License-Identifier: Apache-2.0
"""Sends reads to a compute endpoint, within a deadline."""

import time

import requests

from images_service import guard
from images_service.cmd import access_log
from images_service.cmd import comparison
from images_service.cmd.access_log import Request
from images_service.cmd.manage import PROGRAM

# Maximum bytes of an answer; this service's pages have 16 MiB of metadata.
_LARGEST = 64 * 1024 * 1024
# Bytes that are read at once.
_PART = 1 << 16
# Failures in a row after which an endpoint counts as down.
_PATIENCE = 3


class Stopped(Exception):
    """The comparison can't be made; the message says why."""


class Endpoint:
    """A compute endpoint, to which only reads are sent.

    :param name: name in messages.
    :param url: URL without a version.
    :param seconds: time limit for an answer and its body.
    :param ca: path of the certificates to trust, None for the usual ones.
    """

    def __init__(
        self, name: str, url: str, token: str, seconds: float, ca: str | None
    ) -> None:
        self._name = name
        self._url = url
        self._token = token
        self._seconds = seconds
        self._guard = guard.Guard()
        self._session = requests.Session()
        # Use neither proxies of the environment nor passwords of .netrc.
        self._session.trust_env = False
        self._session.verify = ca or True
        # Before the first answer, one failure is enough.
        self._failures = _PATIENCE - 1

    def ask(self, request: Request) -> comparison.Answer | None:
        """Return the answer, None if there is no usable answer.

        :raises ValueError: the request is not a read.
        :raises Stopped: the endpoint is down, or refuses the token.
        """
        if request.method not in access_log.READS:
            raise ValueError(f"{request.method} is no read")
        deadline = time.monotonic() + self._seconds
        try:
            answer = self._guard.call(lambda: self._send(request), deadline)
        except OSError as error:
            self._failures += 1
            if self._failures >= _PATIENCE:
                raise Stopped(
                    f"{self._name} does not answer {request}: {error}"
                ) from error
            return None
        self._failures = 0
        if answer.status == 401:
            raise Stopped(
                f"{self._name} answers 401: the token is invalid there, or "
                "has expired."
            )
        return answer

    def _send(self, request: Request) -> comparison.Answer:
        """Send a request and read the answer.

        :raises OSError: there is no complete answer.
        """
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"{PROGRAM} shadow",
            "X-Auth-Token": self._token,
        }
        if request.microversion is not None:
            version = request.microversion
            headers["OpenStack-API-Version"] = f"compute {version}"
            headers["X-OpenStack-Nova-API-Version"] = version
        body = bytearray()
        with self._session.request(
            request.method,
            self._url + request.target,
            headers=headers,
            allow_redirects=False,
            stream=True,
            # It ends the thread a second after the guard has stopped waiting,
            # since the guard's message is clearer.
            timeout=self._seconds + 1,
        ) as response:
            for part in response.iter_content(_PART):
                body += part
                if len(body) > _LARGEST:
                    raise OSError(f"the answer has more than {_LARGEST} bytes")
        # An endpoint's error page may repeat the request.
        return comparison.Answer.read(
            response.status_code,
            {
                name.lower(): value.replace(self._token, "***")
                for name, value in response.headers.items()
            },
            bytes(body).replace(self._token.encode(), b"***"),
            self._url,
        )
