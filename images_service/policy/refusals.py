# SPDX-License-Identifier: Apache-2.0
"""Logs why a request was refused, in one line, and reads such lines."""

from collections.abc import Iterable
from collections.abc import Mapping
import json
from typing import Any
from typing import NamedTuple

from oslo_log import log as oslo_log

from images_service import context
from images_service import exception

LOG = oslo_log.getLogger(__name__)

# The reason of a refusal that no rule decides.
PROTECTED = "the image is protected"
_MARK = "Refused: "


class Refusal(NamedTuple):
    """A request that was answered 403.

    :ivar request_id: the id in the headers of the answer.
    :ivar why: the conditions that decided, or a sentence.
    :ivar caller: the values that rules read.
    :ivar target: the attributes that rules read, None if no rule decided.
    """

    request_id: str
    action: str
    why: str
    caller: Mapping[str, Any]
    target: Mapping[str, Any] | None


def log(
    action: str, caller: context.RequestContext, error: exception.Forbidden
) -> None:
    """Log a refusal at INFO; the line has ids and roles, and no secret."""
    values = {
        name: value
        for name, value in caller.to_policy_values().items()
        if value not in (None, [])
    }
    found = Refusal(caller.request_id, action, error.why, values, error.target)
    # JSON in ASCII keeps line breaks of a value out of the log.
    LOG.info("%s%s", _MARK, json.dumps(found._asdict()))


def find(lines: Iterable[str], request_id: str) -> Refusal | None:
    """Return the refusal of a request from the lines of a log, if any.

    A line is text in any format of oslo.log, or JSON with a ``message``.
    """
    for line in lines:
        if request_id in line:
            found = _parsed(line)
            if found is not None and found.request_id == request_id:
                return found
    return None


def _parsed(line: str) -> Refusal | None:
    try:
        if line.startswith("{"):
            line = json.loads(line)["message"]
        text = line.partition(_MARK)[2]
        return Refusal(**json.JSONDecoder().raw_decode(text)[0])
    except (ValueError, TypeError, KeyError, AttributeError):
        # Another line of this request.
        return None
