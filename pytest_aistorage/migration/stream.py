"""JSON text read piece by piece: what stands in a file, in bounded memory, and from where on it can't be read."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import scanstring
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import StorageUnavailableError

__all__ = ["LONGEST", "Item", "JSONFile"]

LONGEST = 16 * 1024 * 1024
"""Characters of one record, at most: a quote without its end must not bring the whole file into memory."""

_CHUNK = 256 * 1024
"""Bytes that are read at a time."""

_LONG_LINE = 1024 * 1024
"""Characters within which the first line of JSON Lines must end, to be taken for what it is."""

_UNDECIDED = 64
"""Keys after which an object whose values are all objects is one of records by name: no record has so many."""

_NEAR_THE_END = 16
"""Characters at the end of what was read in which what is broken may go on: a word, a number, an escape."""

_SPACE = re.compile(r"[ \t\n\r]*")
_NAME = re.compile(r'"model_?name"\s*:\s*("(?:[^"\\]|\\.)*")', re.IGNORECASE)
_Pair = tuple[str, Any, str | None]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in the file that should be a record.

    Attributes:
        number: its place, counted from 1.
        name: the key it stands under, in an object by name; else None.
        value: as JSON has it; None where there is a problem.
        problem: why it can't be read; None: it was.
        last: whether nothing behind it can be told apart.
    """

    number: int
    name: str | None = None
    value: Any = None
    problem: str | None = None
    last: bool = False

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"record {self.number}" if self.name is None else f"record {self.number}, {self.name!r}"


class _Damage(Exception):
    """The text is no JSON from a place on.

    Attributes:
        at: the place, in what was read.
        whose: the name of the record that it is in, as far as that is known.
    """

    def __init__(self, reason: str, at: int, whose: str = "") -> None:
        super().__init__(reason)
        self.at = at
        self.whose = whose


class _Twice(ValueError):
    """A key comes twice in one object. No JSONDecodeError: the text can be read."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused where a key comes twice: json would keep the last and drop the others."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(f"the key {key!r} comes twice in one object")
            seen.add(key)
    return found


_decode = json.JSONDecoder(object_pairs_hook=_object).raw_decode
_decode_anyhow = json.JSONDecoder().raw_decode


class JSONFile:
    """The records of a JSON file, one at a time: a list, an object by name, one record, or JSON Lines.

    Text is UTF-8, UTF-16 or UTF-32, with or without a byte order mark. ``NaN`` and ``Infinity`` are read, as Python
    and NumPy write them; no rule of a record lets them pass. A line of JSON Lines that can't be read is an `Item`
    with its problem, and the next line is read. Everywhere else nothing behind a broken place is read: where the next
    record begins would be a guess.

    Args:
        path: the file.

    Raises:
        StorageUnavailableError: the file can't be opened, or read on.
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
        self._lines = 0  # before what is in _text
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Item]:
        """Yield what stands in the file, in its order, and at its end the place from where on it can't be read."""
        try:
            yield from self._forms()
        except _Damage as damage:
            yield self._broken(damage, last=True)

    # -- the forms of a file --------------------------------------------------------------------------------

    def _forms(self) -> Iterator[Item]:
        sign = self._next()
        if sign == "[":
            yield from self._list()
        elif sign == "{" and self._is_lines():
            yield from self._each_line()
        elif sign == "{":
            yield from self._objects()
        elif sign:
            value, _ = self._value()
            kind = type(value).__name__
            yield self._numbered(None, None, f"a JSON {kind} where a list or an object should be")
        else:
            raise _Damage("the file is empty", self._at)
        if self._next() or self._undecodable:
            raise _Damage("more text behind the end", self._at)

    def _list(self) -> Iterator[Item]:
        self._at += 1
        sign = self._next()
        while sign != "]":
            value, problem = self._value()
            sign = self._next()
            if sign not in (",", "]"):
                raise _Damage("no ',' between two records" if sign else "the list has no end", self._at)
            yield self._numbered(None, value, problem)
            if sign == ",":
                self._at += 1
                if self._next() == "]":
                    raise _Damage("no record behind a ','", self._at)
        self._at += 1

    def _objects(self) -> Iterator[Item]:
        """A record, or records by name; or several of these, each beginning on a line of its own."""
        sign = "{"
        while sign == "{":
            if (whole := self._whole()) is None:
                yield from self._pairs()
            else:
                yield from self._items_of(whole)
            if not self._is_new_line():
                return
            sign = self._next()

    def _items_of(self, whole: dict[str, Any]) -> Iterator[Item]:
        if _is_record(whole.items()):
            yield self._numbered(None, whole)
        else:
            for name, value in whole.items():
                yield self._numbered(name, value)

    def _pairs(self) -> Iterator[Item]:
        """An object that is longer than what is read at a time, that is cut off, or that has a key twice."""
        pairs = self._each_pair()
        held: list[_Pair] | None = []
        while held is not None:
            try:
                pair = next(pairs, None)
            except _Damage as damage:
                if not _is_record((key, value) for key, value, _ in held):
                    yield from (self._numbered(*each) for each in held)
                else:
                    names = (repr(value) for key, value, _ in held if key in ("model_name", "modelName"))
                    damage.whose = next(names, "")
                raise
            if pair is not None:
                held.append(pair)
            elif _is_record((key, value) for key, value, _ in held):
                yield self._record_of(held)
                return
            if pair is None or (len(held) > _UNDECIDED and not _is_record((k, v) for k, v, _ in held)):
                yield from (self._numbered(*each) for each in held)
                held = None
        for pair in pairs:
            yield self._numbered(*pair)

    def _record_of(self, pairs: list[_Pair]) -> Item:
        try:
            problem = next((problem for _, _, problem in pairs if problem is not None), None)
            return self._numbered(None, _object([(key, value) for key, value, _ in pairs]), problem)
        except _Twice as twice:
            return self._numbered(None, None, str(twice))

    def _each_pair(self) -> Iterator[_Pair]:
        self._at += 1
        sign = self._next()
        while sign != "}":
            key = ""
            try:
                key = self._key()
                value, problem = self._value()
                sign = self._next()
                if sign not in (",", "}"):
                    raise _Damage("no ',' between two values" if sign else "the object has no end", self._at)
            except _Damage as damage:
                damage.whose = repr(key) if key else ""
                raise
            yield key, value, problem
            if sign == ",":
                self._at += 1
                if self._next() == "}":
                    raise _Damage("nothing behind a ','", self._at)
        self._at += 1

    # -- JSON Lines -----------------------------------------------------------------------------------------

    def _is_lines(self) -> bool:
        """Whether each line is by itself: the first one or the second one is, and both look like it."""
        while self._text.count("\n", self._at) < 2 and len(self._text) - self._at < _LONG_LINE:
            if not self._more():
                break
        first, _, rest = self._text[self._at :].partition("\n")
        second = rest.lstrip("\r\n").partition("\n")[0].strip()
        return (
            second.startswith("{")
            and second != "{"
            and first.strip() != "{"
            and (_is_whole(first.strip()) or _is_whole(second))
        )

    def _each_line(self) -> Iterator[Item]:
        while self._next():
            end = self._end_of_line()
            line = self._text[self._at : end].rstrip()
            try:
                value, length = _decode(line)
                if length < len(line):
                    raise _Damage("more text behind the record", self._at + length)
            except _Twice as twice:
                yield self._numbered(None, None, str(twice))
            except json.JSONDecodeError as error:
                damage = _Damage(error.msg, self._at + error.pos, _name_in(line))
                yield self._broken(damage, last=bool(self._undecodable) and end == len(self._text))
            except _Damage as damage:
                yield self._broken(damage, last=False)
            except (ValueError, RecursionError) as error:
                yield self._broken(_Damage(_said(error), self._at, _name_in(line)), last=False)
            else:
                yield from self._items_of(value) if isinstance(value, dict) else [self._numbered(None, value)]
            self._at = end

    def _end_of_line(self) -> int:
        while (end := self._text.find("\n", self._at)) < 0:
            if len(self._text) - self._at > LONGEST:
                raise _Damage(f"a line of more than {LONGEST} characters", self._at)
            if not self._more():
                return len(self._text)
        return end

    # -- parts of them --------------------------------------------------------------------------------------

    def _numbered(self, name: str | None, value: Any, problem: str | None = None) -> Item:
        self._number += 1
        return Item(self._number, name, value, problem)

    def _broken(self, damage: _Damage, *, last: bool) -> Item:
        self._number += 1
        line = self._lines + self._text.count("\n", 0, damage.at) + 1
        place = f"line {line}, column {damage.at - self._text.rfind(chr(10), 0, damage.at)}"
        at_the_end = not self._text[damage.at + 1 :].strip()
        reason = self._undecodable if self._undecodable and at_the_end else str(damage)
        whose = f", in the record of {damage.whose}" if damage.whose else ""
        return Item(self._number, problem=f"no JSON: {reason} ({place}{whose})", last=last)

    def _key(self) -> str:
        if self._next() != '"':
            raise _Damage("no key in quotes", self._at)
        while True:
            try:
                key, end = scanstring(self._text, self._at + 1, True)
            except json.JSONDecodeError as error:
                if not self._goes_on(error):
                    raise _Damage(error.msg, error.pos) from None
            else:
                self._at = end
                break
        if self._next() != ":":
            raise _Damage("no ':' behind a key", self._at)
        self._at += 1
        return key

    def _whole(self) -> dict[str, Any] | None:
        """The object that begins here, if all of it is in what was read."""
        try:
            value, end = _decode(self._text, self._at)
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
                value, end = _decode(self._text, self._at)
            except _Twice as twice:
                _, self._at = _decode_anyhow(self._text, self._at)
                return None, str(twice)
            except json.JSONDecodeError as error:
                if not self._goes_on(error):
                    name = _name_in(self._text[self._at : error.pos + 1000])
                    raise _Damage(error.msg, error.pos, name) from None
            except (ValueError, RecursionError) as error:
                raise _Damage(_said(error), self._at) from None
            else:
                # A number that ends where the text does may have more digits.
                if end == len(self._text) and isinstance(value, (int, float)) and self._more():
                    continue
                self._at = end
                return value, None

    def _goes_on(self, error: json.JSONDecodeError) -> bool:
        """Read on where what is broken may only be cut off by the end of what was read; whether there was more."""
        if error.pos < len(self._text) - _NEAR_THE_END and not error.msg.startswith("Unterminated string"):
            return False
        if len(self._text) - self._at > LONGEST:
            raise _Damage(f"a record of more than {LONGEST} characters, or a quote without its end", self._at)
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
        self._lines += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        with _Readable(self.path):
            # As much again as there is, so that a long record is not gone over time and again.
            data = self._file.read(max(_CHUNK, len(rest)))
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
        self._text, self._at = rest + text, 0
        return not self._ended or bool(text)


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


def _is_record(pairs: Any) -> bool:
    """Whether an object is a record itself; else it holds records by name."""
    return any(key == "mse" and not isinstance(value, dict) for key, value in pairs)


def _is_whole(line: str) -> bool:
    try:
        return _decode_anyhow(line)[1] == len(line)
    except (ValueError, RecursionError):
        return False


def _name_in(text: str) -> str:
    """What a broken record calls its model, as far as that can be seen."""
    return found[1] if (found := _NAME.search(text)) else ""


def _said(error: Exception) -> str:
    """Of brackets in brackets without an end, or of an int of more digits than Python reads."""
    return "too deep to read" if isinstance(error, RecursionError) else str(error)
