# SPDX-License-Identifier: Apache-2.0
"""Runs a WSGI application in threads behind an ASGI server.

The server reads requests and sends answers in an event loop, so that a client
that sends or reads slowly does not keep a thread busy.
"""

import asyncio
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
import functools
import io
import sys
import time
from typing import Any
from urllib import parse
from wsgiref import types as wsgi

from images_service import context
from images_service.middleware import pipeline

# Seconds until a body must be complete.
BODY_SECONDS = 30
# Bytes of a body that are read before it is refused: a client that still sends
# its body may miss the answer.
_READ_AT_MOST = 1 << 20
# Paths with separate threads, so that they are answered while all other
# threads wait for a database.
_ASIDE = ("/", "/healthcheck")

# Status, headers and body.
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Adapter:
    """A WSGI application as an ASGI application.

    :param threads: number of requests that are answered at the same time.
    :param max_body: maximum bytes of a body; of a longer body, the application
        gets one byte more.
    :param on_ports: other applications, by the ports on which they answer,
        one request at a time.
    """

    def __init__(
        self,
        application: wsgi.WSGIApplication,
        threads: int,
        max_body: int,
        on_ports: Mapping[int, wsgi.WSGIApplication],
    ) -> None:
        self._application = application
        self._max_body = max_body
        self._on_ports = on_ports
        # All start their threads at the first request, after the fork.
        self._threads = ThreadPoolExecutor(threads, "request")
        self._aside = ThreadPoolExecutor(2, "aside")
        self._other = ThreadPoolExecutor(1, "other")

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request, unless its client leaves before it is complete."""
        body = await self._body(scope, receive)
        if body is None:
            return
        environ = _environ(scope, body)
        _, port = scope["server"] or ("", 0)
        other = self._on_ports.get(port)
        if other:
            threads = self._other
        elif environ["PATH_INFO"] in _ASIDE:
            threads = self._aside
        else:
            threads = self._threads
        # run_in_executor would make two more futures for each request, and
        # take a tenth of the CPU of a small answer.
        future: asyncio.Future[Answer] = asyncio.Future()
        threads.submit(_answer, other or self._application, environ, future)
        status, headers, data = await future
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def _body(self, scope: Scope, receive: Receive) -> io.BytesIO | None:
        """Return the body, None if the client has left."""
        body = io.BytesIO()
        if not 0 < _length(scope) <= _READ_AT_MOST:
            return body
        try:
            async with asyncio.timeout(BODY_SECONDS):
                read, more = 0, True
                while more and read <= _READ_AT_MOST:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    read += len(part)
                    body.write(part[: self._max_body + 1 - body.tell()])
                    more = message.get("more_body", False)
                body.seek(0)
        except TimeoutError:
            # The application cannot read a closed body, and refuses it.
            body.close()
        return body


def _length(scope: Scope) -> int:
    """Return the body's length in the header, 1 for a chunked body."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return 1
    # 20 digits are enough: Python refuses to convert more than 4,300.
    return int(headers.get(b"content-length", b"0")[:20])


def _environ(scope: Scope, body: io.BytesIO) -> wsgi.WSGIEnvironment:
    """Return the request as PEP 3333 defines it."""
    path: bytes = scope["raw_path"].partition(b"#")[0]
    if not path.startswith(b"/"):
        # http://HOST/PATH, which proxies send; or "*".
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    host, port = scope["server"] or ("", 0)
    environ: wsgi.WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": parse.unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        context.ARRIVED: time.monotonic(),
    }
    if scope["client"]:
        environ["REMOTE_ADDR"], port = scope["client"]
        environ["REMOTE_PORT"] = str(port)
    for name, value in scope["headers"]:
        key = _key(name)
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


@functools.lru_cache(256)
def _key(name: bytes) -> str:
    """Return a header's key in a WSGI environment."""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _answer(
    application: wsgi.WSGIApplication,
    environ: wsgi.WSGIEnvironment,
    future: asyncio.Future[Answer],
) -> None:
    """Run an application; give its answer or error to another thread.

    A request whose client has left while it waited for a thread is dropped.
    """
    if future.cancelled():
        return
    settle: Callable[..., None] = future.set_result
    result: Answer | BaseException
    try:
        result = _run(application, environ)
    except BaseException as error:
        settle, result = future.set_exception, error
    future.get_loop().call_soon_threadsafe(_settle, future, settle, result)


def _settle(
    future: asyncio.Future[Answer],
    settle: Callable[..., None],
    result: Answer | BaseException,
) -> None:
    # The future is cancelled if the client has left.
    if not future.cancelled():
        settle(result)


def _run(
    application: wsgi.WSGIApplication, environ: wsgi.WSGIEnvironment
) -> Answer:
    """Return the application's status, headers and body."""
    status, headers, parts = pipeline.answer_of(application, environ)
    try:
        body = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    pairs = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]
    return int(status[:3]), pairs, body
