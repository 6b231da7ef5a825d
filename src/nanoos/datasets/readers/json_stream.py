"""JSON arrays read element by element, so that a file larger than memory goes."""

import json
from collections.abc import Iterator
from typing import Any, Final, Protocol

from nanoos.core.errors import InvalidInputError

_CHUNK: Final = 1 << 20
_MAX_ELEMENT: Final = 256 << 20
_BLANK: Final = " \t\n\r"


class TextStream(Protocol):
    """What is read here: an open text file."""

    def read(self, size: int = -1, /) -> str:
        """At most ``size`` characters, empty at the end."""
        ...


class JsonCursor:
    """A place in a JSON text that moves forward; what lies behind it is forgotten.

    Args:
        stream: The text.
        name: Of the file, for messages.
    """

    def __init__(self, stream: TextStream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._buffer = ""
        self._at = 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def _more(self) -> bool:
        """Read on; False at the end of the text."""
        if self._ended:
            return False
        piece = self._stream.read(max(_CHUNK, len(self._buffer) - self._at))
        self._ended = not piece
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return not self._ended

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                character = self._buffer[self._at]
                if character not in _BLANK:
                    return character
                self._at += 1
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Go behind ``expected``. Raises InvalidInputError if something else comes."""
        if self.peek() != expected:
            raise self._broken(f"{expected!r} expected, found {self.peek()!r}")
        self._at += 1

    def skip_comma(self) -> None:
        """Go behind a comma, if there is one."""
        if self.peek() == ",":
            self._at += 1

    def value(self) -> Any:
        """The value that comes next, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if len(self._buffer) - self._at > _MAX_ELEMENT or not self._more():
                    raise self._broken(error.msg) from None
                continue
            except RecursionError:
                raise self._broken("nested too deeply") from None
            except ValueError as error:  # a whole number of thousands of digits
                raise self._broken(str(error)) from None
            if end == len(self._buffer) and self._more():
                continue  # a number may go on
            self._at = end
            return value

    def elements(self) -> Iterator[Any]:
        """The elements of the array that comes next, one at a time."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def _broken(self, what: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self._name} is not JSON of the expected layout: {what}.",
            hint="The file may be cut off; download or write it again.",
            code="malformed_file",
        )
