"""A window that moves over the text of a file: values of JSON one at a time, and where the text is broken."""

from __future__ import annotations

import codecs
import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import StorageUnavailableError

__all__ = ["LONGEST", "Damage", "JSONText", "Twice", "decoded", "is_whole", "name_in", "object_of", "said"]

LONGEST = 16 * 1024 * 1024
"""Characters of one record, at most: a quote without its end must not bring the whole file into memory."""

CHUNK = 256 * 1024
"""Bytes that are read at a time."""

_NEAR_THE_END = 16
"""Characters at the end of what was read in which what is broken may go on: a word, a number, an escape."""

_SPACE = re.compile(r"[ \t\n\r]*")
_DIGITS = re.compile(r"[0-9.eE+-]*")
_NAME = re.compile(r'"model_?name"\s*:\s*("(?:[^"\\]|\\.)*")', re.IGNORECASE)


class Damage(Exception):
    """The text is no JSON from a place on.

    Attributes:
        at: the place, in what was read.
        whose: the name of the record that it is in, as far as that is known.
    """

    def __init__(self, reason: str, at: int, whose: str = "") -> None:
        super().__init__(reason)
        self.at = at
        self.whose = whose


class Twice(ValueError):
    """A key comes twice in one object. No JSONDecodeError: the text can be read."""


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused where a key comes twice: json would keep the last and drop the others."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Twice(f"the key {key!r} comes twice in one object")
            seen.add(key)
    return found


decoded = json.JSONDecoder(object_pairs_hook=object_of).raw_decode
_decode_anyhow = json.JSONDecoder().raw_decode


class JSONText:
    """The text of a file, of which a piece is in memory.

    Args:
        path: the file; UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        StorageUnavailableError: it can't be opened, or read on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _Readable(path):
            self._file = open(path, "rb")  # noqa: SIM115  # __exit__ closes it
        self.size = os.fstat(self._file.fileno()).st_size
        """Bytes."""
        self.position = 0
        """Bytes that were read so far."""
        self._text = ""
        self._at = 0
        self._ended = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._undecodable = ""
        self._lines = self._column = 0  # before what is in _text, and of its first line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def consumed(self) -> int:
        """Bytes whose records were yielded; counted in characters within what was read last."""
        return max(0, self.position - len(self._text) + self._at)

    def state(self) -> tuple[int, ...]:
        """Return what changes when somebody writes the file: its inode, its length, and when it was written."""
        with _Readable(self.path):
            status = os.stat(self.path)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _lines_before(self, at: int) -> tuple[int, int]:
        """How many lines end before a place, and how many characters stand before it in its own."""
        lines = self._text.count("\n", 0, at)
        column = at - self._text.rfind("\n", 0, at) - 1 if lines else self._column + at
        return self._lines + lines, column

    def _key(self) -> str:
        if self._next() != '"':
            raise Damage("no key in quotes", self._at)
        key, _ = self._value()
        if self._next() != ":":
            raise Damage("no ':' behind a key", self._at)
        self._at += 1
        return str(key)

    def _whole(self) -> dict[str, Any] | None:
        """The object that begins here, if all of it is in what was read."""
        try:
            value, end = decoded(self._text, self._at)
        except (ValueError, RecursionError):
            return None
        self._at = end
        found: dict[str, Any] = value
        return found

    def _value(self) -> tuple[Any, str | None]:
        """The value that begins here; or None, and why it can't be used though it can be told apart."""
        self._next()
        while True:
            try:
                value, end = decoded(self._text, self._at)
            except Twice as twice:
                _, self._at = _decode_anyhow(self._text, self._at)
                return None, str(twice)
            except json.JSONDecodeError as error:
                if not self._goes_on(error):
                    name = name_in(self._text[self._at : error.pos + 1000])
                    raise Damage(error.msg, error.pos, name) from None
            except (ValueError, RecursionError) as error:
                raise Damage(said(error), self._at) from None
            else:
                # A number that ends where the text does may have more digits, or an exponent.
                if isinstance(value, (int, float)) and _DIGITS.fullmatch(self._text, end) and self._more():
                    continue
                self._at = end
                return value, None

    def _goes_on(self, error: json.JSONDecodeError) -> bool:
        """Read on where what is broken may only be cut off by the end of what was read; whether there was more."""
        if error.pos < len(self._text) - _NEAR_THE_END and not error.msg.startswith("Unterminated string"):
            return False
        if len(self._text) - self._at > LONGEST:
            raise Damage(f"a record of more than {LONGEST} characters, or a quote without its end", self._at)
        return self._more()

    def _next(self) -> str:
        """Pass over space; return the character that follows, "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None  # it matches nothing, too
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _is_new_line(self) -> bool:
        """Whether a line ends before whatever follows."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None  # as above
            if "\n" in match[0]:
                return True
            if match.end() < len(self._text) or not self._more():
                return False

    # -- the text -------------------------------------------------------------------------------------------

    def _more(self) -> bool:
        """Read on, and drop what was passed over; whether there was more."""
        if self._ended:
            return False
        rest = self._text[self._at :]
        with _Readable(self.path):
            # As much again as there is, so that a long record is not gone over time and again.
            data = self._file.read(max(CHUNK, len(rest)))
        self.position += len(data)
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder(json.detect_encoding(data))()
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            self._ended = True
            byte = self.position - len(error.object) + error.start + 1
            self._undecodable = f"byte {byte} of the file is no {error.encoding.upper()}"
            text = error.object[: error.start].decode(error.encoding)
        if self._ended and not text:
            return False  # and every place in what was read stays where it is
        self._lines, self._column = self._lines_before(self._at)
        self._text, self._at = rest + text, 0
        return True


class _Readable:
    """Turns what the system says of a file into an error of ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise StorageUnavailableError(f"{self._path}: {error.strerror or error}") from error


def is_whole(line: str) -> bool:
    """Whether a line is one value of JSON, and nothing else."""
    try:
        return _decode_anyhow(line)[1] == len(line)
    except (ValueError, RecursionError):
        return False


def name_in(text: str) -> str:
    """What a broken record calls its model, as far as that can be seen."""
    return str(found[1]) if (found := _NAME.search(text)) else ""


def said(error: Exception) -> str:
    """Of brackets in brackets without an end, or of an int of more digits than Python reads."""
    return "too deep to read" if isinstance(error, RecursionError) else str(error)
