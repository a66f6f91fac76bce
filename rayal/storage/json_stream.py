"""A large JSON file: the elements of its lists one after the other, a few of them in memory."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rayal.errors import UsageError, quoted
from rayal.storage.whole_json import decoder

BLOCK = 2**20
"""Characters that are read at a time."""
LARGEST = 2**26
"""Characters of one element."""
GOES_ON = ("", ".", "e", "E")
"""What stands after a number of which the rest was not read yet."""
SPACE = re.compile(r"[ \t\n\r]*")


class JsonStream:
    """The object in a file. Iterated, once: each key with its value, of a list with each element.

    Raises UsageError, when it comes to it, for what is no whole object, for a key that is there
    twice, and for an element of more than LARGEST characters.
    """

    def __init__(self, file: TextIO, block: int = BLOCK) -> None:
        self.lists = set[str]()
        """Keys whose values are lists, empty ones too, as far as it was read."""
        self._file, self._block = file, block
        self._text, self._at, self._whole = "", 0, False
        self._decode = decoder().raw_decode

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._take("{")
        if self._peek() == "}":
            self._take("}")
        else:
            yield from self._members()
        if rest := self._peek():
            raise _no_json(f"{quoted(rest)} after its end")

    def _members(self) -> Iterator[tuple[str, Any]]:
        keys = set[str]()
        while True:
            key = self._value()
            if not isinstance(key, str) or key in keys:
                raise _no_json(f"{quoted(key)} is a key twice, or no text")
            keys.add(key)
            self._take(":")
            if self._peek() == "[":
                self.lists.add(key)
                yield from ((key, each) for each in self._elements())
            else:
                yield key, self._value()
            if self._take(",}") == "}":
                return

    def _elements(self) -> Iterator[Any]:
        self._take("[")
        if self._peek() == "]":
            self._take("]")
            return
        while True:
            yield self._value()
            if self._take(",]") == "]":
                return

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if self._whole or self._text[end : end + 1] not in GOES_ON:
                    self._at = end
                    return value
            except RecursionError as error:
                raise _no_json("objects in one another without end") from error
            except ValueError as error:
                if self._whole or isinstance(error, UsageError):
                    raise
            if len(self._text) - self._at > LARGEST:
                raise _no_json(f"an element of more than {LARGEST:,} characters")
            self._read()

    def _take(self, signs: str) -> str:
        """The next sign, which must be one of these."""
        sign = self._peek()
        if not sign or sign not in signs:
            there = quoted(sign) if sign else "its end"
            raise _no_json(f"{there} where {' or '.join(map(quoted, signs))} should be")
        self._at += 1
        return sign

    def _peek(self) -> str:
        """The next sign that is no space; empty at the end."""
        while True:
            self._at = SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or self._whole:
                return self._text[self._at : self._at + 1]
            self._read()

    def _read(self) -> None:
        """Twice as much as there is: an element of many blocks is not decoded for each of them."""
        rest = self._text[self._at :]
        more = self._file.read(max(self._block, len(rest)))
        self._text, self._at, self._whole = rest + more, 0, not more


@contextmanager
def open_stream(path: str) -> Iterator[JsonStream]:
    """The object in a file in UTF-8, UTF-16 or UTF-32; UsageError for one that is in none."""
    with open(path, "rb") as file:
        encoding = json.detect_encoding(file.read(4))
    try:
        with open(path, encoding=encoding, newline="") as text:
            yield JsonStream(text)
    except json.JSONDecodeError as error:
        raise _no_json(error.msg) from error
    except UnicodeDecodeError as error:
        raise _no_json(f"bytes that are no {encoding}") from error


def _no_json(what: str) -> UsageError:
    return UsageError(f"it is no whole JSON ({what}); export it again")
