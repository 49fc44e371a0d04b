# SPDX-License-Identifier: Apache-2.0
"""Conditions that ask a remote service, within a deadline."""

import math
from typing import Any
import urllib.parse

from oslo_log import log
from oslo_policy import policy

from images_service import context
from images_service import exception
from images_service import guard
from images_service.policy import expressions

LOG = log.getLogger(__name__)

# Seconds after the start of a request at which its remote checks end.
_REQUEST = 5.0


class Credentials(dict[str, Any]):
    """A caller's credentials for rules, with a deadline for remote checks.

    :ivar deadline: by the monotonic clock.
    """

    def __init__(self, caller: context.RequestContext) -> None:
        super().__init__(caller.to_policy_values())
        self.deadline = caller.began + _REQUEST


class RemoteCheck(policy.Check):
    """A condition that a remote service or plug-in decides by a deadline."""

    def __init__(
        self, check: expressions.AnyCheck, service: guard.Guard
    ) -> None:
        kind, _, match = str(check).partition(":")
        super().__init__(kind, match)
        # oslo.policy's AndCheck knows which arguments a plug-in's check takes.
        self._ask = policy.AndCheck([check])
        self._service = service

    def __call__(
        self,
        target: Any,
        creds: Any,
        enforcer: policy.Enforcer,
        current_rule: str | None = None,
    ) -> bool:
        """Ask within the request's deadline.

        :raises PolicyUnavailable: the service gives no answer.
        """
        try:
            return self._service.call(
                lambda: self._ask(target, creds, enforcer, current_rule),
                getattr(creds, "deadline", math.inf),
            )
        except guard.Refused as error:
            # There can be many refusals, so they are not logged.
            raise exception.PolicyUnavailable from error
        except Exception as error:
            LOG.error(
                "Policy rule %s: no answer from %s: %s",
                *(current_rule, self.place, _reason(error)),
            )
            raise exception.PolicyUnavailable from error

    @property
    def place(self) -> str:
        """The scheme and the host; the rest of a URL may be secret."""
        host = urllib.parse.urlsplit(str(self)).netloc.rpartition("@")[2]
        return f"{self.kind}://{host}" if host else self.kind


def guarded(
    check: expressions.AnyCheck, service: guard.Guard
) -> expressions.AnyCheck:
    """Return a check whose remote conditions ask through a guard.

    Conditions that oslo.policy decides itself stay as they are.
    """
    return expressions.rebuilt(
        check,
        lambda condition: (
            condition
            if expressions.is_own(condition)
            else RemoteCheck(condition, service)
        ),
    )


def _reason(error: BaseException) -> str:
    """Return the text of the first error; outer errors repeat whole URLs."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"
