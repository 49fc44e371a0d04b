# SPDX-License-Identifier: Apache-2.0
"""Reads a file of images.

The file contains one or several answers of Glance's ``GET /v2/images``, a JSON
array of images, or one image or answer in each line.
"""

from collections.abc import Iterator
import io
import itertools
import json
from typing import Any
from typing import IO

from images_service.glance import records
from images_service.jsonstream import JSONStream

# Maximum length of a first line that is read at once.
_LINE = 2**22


class Listing:
    """The images of a text.

    If the first line is a complete JSON text, each line is read as one. Other
    texts are read image by image, so that a text of any size needs little
    memory. A JSON error is yielded as a ``Refused``; it ends the line, or else
    the text.

    :param stream: the text.
    :ivar next_page: the ``next`` link of Glance's last answer, None if it has
        no such link.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.next_page: str | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the value of each image."""
        first, start = "\n", 0
        while first.isspace():
            first = self._stream.readline(_LINE)
            start += 1
        if not _is_complete(first):
            text = JSONStream(self._stream, first, start)
            yield from _refusing(self._in_documents(text))
            return
        lines = itertools.chain([first], self._stream)
        for number, line in enumerate(lines, start):
            text = JSONStream(io.StringIO(), line, number)
            yield from _refusing(self._in_line(text))

    def _in_line(self, text: JSONStream) -> Iterator[Any]:
        while text.peek():
            yield from self._in_value(text.value())

    def _in_documents(self, text: JSONStream) -> Iterator[Any]:
        while character := text.peek():
            if character == "[":
                for item in text.elements():
                    yield from self._in_value(item)
            elif character == "{":
                yield from self._in_object(text)
            else:
                yield text.value()

    def _in_object(self, text: JSONStream) -> Iterator[Any]:
        """Yield the images of an answer while it is being read."""
        members: dict[str, Any] = {}
        is_answer = False
        for name in text.names():
            if name == "images" and text.peek() == "[":
                is_answer = True
                yield from text.elements()
            else:
                members[name] = text.value()
        if is_answer:
            self.next_page = members.get("next")
        else:
            yield members

    def _in_value(self, value: Any) -> Iterator[Any]:
        """Yield an image, or all images of an answer or of an array."""
        if isinstance(value, list):
            for item in value:
                yield from self._in_value(item)
        elif isinstance(value, dict) and isinstance(value.get("images"), list):
            self.next_page = value.get("next")
            yield from value["images"]
        else:
            yield value


def _is_complete(line: str) -> bool:
    """Tell whether a line is a complete JSON text."""
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _refusing(images: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from images
    except ValueError as error:
        yield records.Refused(f"not JSON: {error}")
