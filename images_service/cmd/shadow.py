# SPDX-License-Identifier: Apache-2.0
"""images-service-manage shadow: compare this service with Nova, by reads."""

import argparse
import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import fnmatch
import os
import re
import sys
import time
from typing import Any
from urllib import parse

from cliff import lister
import tqdm

from images_service.cmd import access_log
from images_service.cmd import comparison
from images_service.cmd.access_log import Request
from images_service.cmd.arguments import number_up_to
from images_service.cmd.comparison import Difference
from images_service.cmd.endpoint import Endpoint
from images_service.cmd.endpoint import Stopped
from images_service.cmd.manage import Command
from images_service.cmd.manage import open_log
from images_service.cmd.manage import PROGRAM

# Seconds before differences are compared again: a mirror may be late, and an
# image may change between two questions.
_PAUSE = 3.0


class Comparison:
    """Compares the answers of two endpoints to requests.

    :param rate: maximum number of requests a second.
    :param ignored: patterns of fields that may differ.
    :ivar found: the differences of each request that was compared.
    :ivar statuses: the status of each request, if both answers have the same.
    """

    def __init__(
        self,
        nova: Endpoint,
        images: Endpoint,
        rate: int,
        ignored: Sequence[str],
    ) -> None:
        self._nova = nova
        self._images = images
        self._pause = 1 / rate
        self._due = time.monotonic()
        self._ignored = ignored
        self.found: dict[Request, list[Difference]] = {}
        self.statuses: dict[Request, int] = {}

    def run(self, wanted: Sequence[Request]) -> None:
        """Compare the answers to requests, and once more if they differ.

        :raises Stopped: an endpoint is down, or refuses the token.
        """
        with tqdm.tqdm(wanted, disable=None, leave=False) as bar:
            self._compare(bar)
        again = [request for request in wanted if self.found[request]]
        if again:
            time.sleep(_PAUSE)
            self._compare(again)

    def result(self) -> tuple[int, str]:
        """Return exit status and result of a comparison that is complete."""
        found = [one for found in self.found.values() for one in found]
        if not all(one.reason for one in found):
            return 1, "the answers differ"
        if all(status >= 400 for status in self.statuses.values()):
            return 2, (
                "no request succeeds, so little is compared; is --project the "
                "token's?"
            )
        return 0, "nothing differs but what is documented"

    def _compare(self, wanted: Iterable[Request]) -> None:
        for request in wanted:
            self._wait()
            self.found[request] = [
                one
                for one in self._differences(request)
                if not any(
                    fnmatch.fnmatchcase(one.field, pattern)
                    for pattern in self._ignored
                )
            ]

    def _wait(self) -> None:
        """Wait until the next request may be sent."""
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = time.monotonic() + self._pause

    def _differences(self, request: Request) -> list[Difference]:
        self.statuses.pop(request, None)
        nova, images = self._nova.ask(request), self._images.ask(request)
        if nova is None or images is None:
            shown = [
                "none" if one is None else str(one) for one in (nova, images)
            ]
            return [Difference("answer", "", *shown)]
        if nova.status == images.status:
            self.statuses[request] = nova.status
        found = comparison.differences(
            request.method, request.target, nova, images
        )
        if nova.next_query is None or images.next_query is not None:
            return found
        path = request.target.partition("?")[0]
        self._wait()
        page = self._nova.ask(
            request._replace(target=f"{path}?{nova.next_query}")
        )
        if page is None or page.document != {"images": []}:
            return found
        return [
            one._replace(reason=comparison.LAST)
            if one.field == "images_links"
            else one
            for one in found
        ]


def _url(text: str) -> str:
    """Return the URL of an endpoint without its version.

    :raises argparse.ArgumentTypeError: the text is not a URL of an endpoint.
    """
    parts = parse.urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise argparse.ArgumentTypeError(
            "not http://HOST:PORT or https://HOST:PORT/PATH"
        )
    path = re.sub(r"/+(v2(\.1)?/*)?$", "", parts.path)
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def _microversion(text: str) -> str:
    """Return a microversion.

    :raises argparse.ArgumentTypeError: the text is not a microversion.
    """
    if not re.fullmatch(r"2\.[0-9]{1,4}|latest", text):
        raise argparse.ArgumentTypeError("not 2.N or latest")
    return text


def _token(path: str | None) -> str:
    """Return the token of a file, else of the environment.

    :raises Stopped: there is no token.
    :raises OSError: the file can't be read.
    """
    token = os.environ.get("OS_TOKEN", "")
    if path is not None:
        with open(path, encoding="utf-8", errors="replace") as file:
            token = file.readline().strip()
    if not re.fullmatch("[!-~]+", token):
        raise Stopped(
            f"{path or 'OS_TOKEN'} holds no token. Set OS_TOKEN, or name the "
            "file of one with --token-file."
        )
    return token


class Shadow(Command, lister.Lister):
    """Send the reads of an access log to Nova and to this service; compare.

    FILE is an access log of nginx, Apache, HAProxy, uWSGI, Nova or this
    service, or a list of paths. Each GET and HEAD for images is sent once to
    both endpoints, with the same token, and each field that differs is shown;
    "documented" says why one differs on purpose. If answers differ, the
    request is sent once more. The command changes nothing. The token is in the
    file of --token-file, or in the variable OS_TOKEN.

    The exit status is 0 if nothing differs but what is documented, 1 if
    something does, and 2 if the comparison can't be made: FILE has no read of
    images, an endpoint is down, or no request succeeds.
    """

    examples = (
        "shadow --nova http://nova.example:8774 "
        "--images http://images.example:8775 /var/log/nginx/access.log",
        "shadow --nova https://cloud.example/compute "
        "--images http://127.0.0.1:8775 --token-file token "
        "--ignore images.updated -",
    )
    arguments = {
        "file": {"metavar": "FILE", "help": "a path, or - for stdin"},
        "--nova": {
            "required": True,
            "type": _url,
            "metavar": "URL",
            "help": "Nova's endpoint, as in the catalog or without a version",
        },
        "--images": {
            "required": True,
            "type": _url,
            "metavar": "URL",
            "help": "this service's endpoint",
        },
        "--token-file": {
            "metavar": "PATH",
            "help": "a file whose first line is the token",
        },
        "--project": {
            "metavar": "ID",
            "help": "the token's project: it takes the place of those in the "
            "paths",
        },
        "--microversion": {
            "type": _microversion,
            "metavar": "2.N",
            "help": "of requests whose lines name none (default: none, which "
            "is 2.1); only Nova's log names them",
        },
        "--ignore": {
            "action": "append",
            "default": [],
            "metavar": "FIELD",
            "help": "a field that may differ, as it is shown; * stands for "
            "any text. May be repeated.",
        },
        "--limit": {
            "type": number_up_to(10**9),
            "metavar": "N",
            "help": "send N different requests, the most frequent ones",
        },
        "--rate": {
            "type": number_up_to(1000),
            "default": 20,
            "metavar": "N",
            "help": "requests a second, at most (default: 20); one is under "
            "way at a time",
        },
        "--timeout": {
            "type": number_up_to(600),
            "default": 30,
            "metavar": "SECONDS",
            "help": "for an answer (default: 30)",
        },
        "--cacert": {
            "metavar": "PATH",
            "help": "certificates to trust (default: OS_CACERT)",
        },
    }

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command and return its exit status."""
        self._status = 2
        self._summary: list[str] = []
        try:
            super().run(parsed_args)
        except (Stopped, OSError) as error:
            self._summary = [f"{PROGRAM}: {error}"]
        # The summary follows the rows.
        print(*self._summary, sep="\n", file=sys.stderr)
        return self._status

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Compare; return the columns and rows of the differences."""
        token = _token(parsed_args.token_file)
        reads = access_log.Reads(
            parse.urlsplit(parsed_args.nova).path,
            parsed_args.project,
            parsed_args.microversion,
        )
        with open_log(parsed_args.file) as file:
            reads.read(file)
        if not reads.times:
            raise Stopped(f"{parsed_args.file} has no read of images.")
        wanted = [request for request, _ in reads.times.most_common()]
        nova, images = (
            Endpoint(
                name,
                getattr(parsed_args, name),
                token,
                parsed_args.timeout,
                parsed_args.cacert or os.environ.get("OS_CACERT"),
            )
            for name in ("nova", "images")
        )
        work = Comparison(nova, images, parsed_args.rate, parsed_args.ignore)
        try:
            work.run(wanted[: parsed_args.limit])
            self._status, end = work.result()
        except Stopped as error:
            # The differences until then are shown nevertheless.
            end = str(error)
        except KeyboardInterrupt:
            end = "interrupted"
        self._summary = [*_summary(work, reads), f"{PROGRAM}: {end}"]
        return (
            *("request", "times", "field", "where", "nova", "images"),
            "documented",
        ), [
            (str(request), reads.times[request], *one)
            for request, found in work.found.items()
            for one in found
        ]


def _summary(work: Comparison, reads: access_log.Reads) -> Iterator[str]:
    """Yield the lines that follow the rows."""
    yield f"Reads of images: {reads.times.total()}"
    yield f"Different ones: {len(reads.times)}, compared: {len(work.found)}"
    yield f"Not sent: changes {reads.writes}, other requests {reads.others}"
    statuses = collections.Counter(work.statuses.values())
    for status, count in sorted(statuses.items()):
        yield f"Both answer {status}: {count}"
    fields = collections.Counter(
        field
        for found in work.found.values()
        for field in {(one.field, one.reason) for one in found}
    )
    for (field, reason), count in fields.most_common():
        documented = f" (documented: {reason})" if reason else ""
        yield f"Differ in {field}{documented}: {count}"
