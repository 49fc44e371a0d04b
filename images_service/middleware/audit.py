# SPDX-License-Identifier: Apache-2.0
"""Sends changes and refusals as CADF events over oslo.messaging.

The audit filter of keystonemiddleware sends in the request's thread, so that
requests wait for a broker that hangs. Its events do not name the image, and
contain a part of the token. Here a separate thread sends the events.
"""

import atexit
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import datetime
import json
import queue
import socket
import threading
import time
from typing import Any
from urllib.parse import quote
import uuid
from wsgiref import types as wsgi

from oslo_config import cfg
from oslo_log import log
from oslo_middleware import request_id

from images_service import context
from images_service.middleware import pipeline

LOG = log.getLogger(__name__)

Event = dict[str, Any]

_READS = ("GET", "HEAD")
_REFUSALS = ("401", "403")
# Maximum number of events that wait while the broker is slow.
_MOST = 1000
# Seconds for which a process that ends continues to send.
_AT_END = 2.0
# Number of times that a message is sent again.
_RETRIES = 2
# The values of keystonemiddleware's filter: its consumers get these events.
_EVENT_TYPE = "audit.http.response"
_TOPIC = "notifications"
_CADF = "http://schemas.dmtf.org/cloud/audit/1.0/event"
# CADF's words for some actions; the others are "update" or "read".
_WORDS = {
    "images:index": "read/list",
    "images:detail": "read/list",
    "images:delete": "delete",
}
_UNKNOWN = "unknown"
# The log line of a lost event starts with this text.
LOST = "Audit event that was not sent"


def filter_factory(
    global_conf: Mapping[str, Any], **_local: str
) -> pipeline.Filter:
    """Return the filter, for PasteDeploy; none if auditing is off.

    :raises oslo_config.cfg.Error: oslo.messaging is not installed, or the
        broker's URL is wrong.
    """
    conf = global_conf[pipeline.CONF]
    if not conf.audit.transport_url:
        return lambda app: app
    sender = Sender(_notifier(conf))
    return lambda app: Audit(app, sender)


def _notifier(conf: cfg.ConfigOpts) -> Callable[[Event], object]:
    """Return a function that sends an event and waits for the broker."""
    try:
        import oslo_messaging
    except ImportError as error:
        raise cfg.Error(
            "[audit] transport_url is set, and oslo.messaging is not "
            "installed. Run pip install '.[audit]'."
        ) from error
    try:
        transport = oslo_messaging.get_notification_transport(
            conf, url=conf.audit.transport_url
        )
    except (
        oslo_messaging.exceptions.MessagingException,
        ValueError,
    ) as error:
        # The text of the error may contain the URL's password.
        raise cfg.Error(
            "[audit] transport_url is not the URL of a message broker, such "
            "as rabbit://USER:PASSWORD@HOST:5672/."
        ) from error
    notifier = oslo_messaging.Notifier(
        transport,
        f"images_service.{socket.gethostname()}",
        driver="messagingv2",
        topics=[_TOPIC],
        retry=_RETRIES,
    )
    return lambda event: notifier.info({}, _EVENT_TYPE, event)


class Sender:
    """Sends events in a separate thread, and logs unsent events.

    :param send: sends an event; it may take long.
    """

    def __init__(self, send: Callable[[Event], object]) -> None:
        self._send = send
        self._waiting: queue.Queue[Event] = queue.Queue(_MOST)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._current: Event | None = None

    def put(self, event: Event) -> None:
        """Add an event to the queue, without waiting."""
        try:
            self._start()
            self._waiting.put_nowait(event)
        except (queue.Full, RuntimeError):
            # RuntimeError: the system can start no more threads.
            _lose(event)

    def _start(self) -> None:
        """Start the thread if it does not run.

        A server may fork the process, and the thread does not run in the fork.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
                atexit.register(self._finish)

    def _run(self) -> None:
        while True:
            self._current = event = self._waiting.get()
            try:
                self._send(event)
            except Exception:
                LOG.exception("An audit event can't be sent.")
                _lose(event)
            finally:
                self._current = None
                self._waiting.task_done()

    def _finish(self) -> None:
        """Wait two seconds at most for the thread, and log unsent events."""
        deadline = time.monotonic() + _AT_END
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._current is not None:
            _lose(self._current)
        with contextlib.suppress(queue.Empty):
            while True:
                _lose(self._waiting.get_nowait())


def _lose(event: Event) -> None:
    LOG.error("%s: %s", LOST, json.dumps(event))


class Audit:
    """Reports each request that changes an image, or is refused.

    The event has the caller, the action, the image, the time and the outcome.
    It lacks headers, bodies and the query string, which may contain secrets.
    """

    def __init__(
        self, application: wsgi.WSGIApplication, sender: Sender
    ) -> None:
        self._application = application
        self._sender = sender

    def __call__(
        self,
        environ: wsgi.WSGIEnvironment,
        start_response: wsgi.StartResponse,
    ) -> Iterable[bytes]:
        """Pass the request on, and report it."""
        status, headers, body = pipeline.answer_of(self._application, environ)
        changes = (
            context.ACTION in environ
            and environ["REQUEST_METHOD"] not in _READS
        )
        if changes or status[:3] in _REFUSALS:
            self._sender.put(_event(environ, status[:3]))
        start_response(status, headers)
        return body


def _event(environ: wsgi.WSGIEnvironment, status: str) -> Event:
    """Return the CADF event of a request.

    :param status: status of the answer, three digits.
    """
    action = environ.get(context.ACTION)
    image_id = environ.get(context.IMAGE_ID)
    caller = environ.get(context.ENVIRON_KEY)
    word = "read" if environ["REQUEST_METHOD"] in _READS else "update"
    now = datetime.datetime.now(datetime.UTC)
    return {
        "typeURI": _CADF,
        "eventType": "activity",
        "id": str(uuid.uuid4()),
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
        "action": _WORDS.get(action, word) if action else _UNKNOWN,
        # The name of the policy rule ends with this name.
        "name": action or _UNKNOWN,
        "outcome": "success" if status < "400" else "failure",
        "reason": {"reasonType": "HTTP", "reasonCode": status},
        "initiator": {
            "typeURI": "service/security/account/user",
            "id": getattr(caller, "user_id", None) or _UNKNOWN,
            "name": getattr(caller, "user_name", None) or _UNKNOWN,
            "project_id": getattr(caller, "project_id", None) or _UNKNOWN,
            "host": {"address": environ.get("REMOTE_ADDR", _UNKNOWN)},
            "request_id": environ.get(request_id.ENV_REQUEST_ID, _UNKNOWN),
            "global_request_id": environ.get(request_id.GLOBAL_REQ_ID),
        },
        "target": {
            "typeURI": "service/compute/images",
            "id": image_id or _UNKNOWN,
        },
        # In CADF this means: the target itself reports the event.
        "observer": {"id": "target"},
        # Quoted again, as in the log.
        "requestPath": quote(environ.get("PATH_INFO", ""), encoding="latin-1"),
    }
