"""JSON text read piece by piece: what stands in a file, in bounded memory, and from where on it can't be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .text import LONGEST, Damage, JSONText, Twice, decoded, is_whole, name_in, object_of, said

__all__ = ["Item", "JSONFile"]

_LONG_LINE = 1024 * 1024
"""Characters within which the first line of JSON Lines must end, to be taken for what it is."""

_UNDECIDED = 64
"""Keys after which an object whose values are all objects is one of records by name: no record has so many."""

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


class JSONFile(JSONText):
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
        super().__init__(path)
        self._number = 0

    def __iter__(self) -> Iterator[Item]:
        """Yield what stands in the file, in its order, and at its end the place from where on it can't be read."""
        try:
            yield from self._forms()
        except Damage as damage:
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
            raise Damage("the file is empty", self._at)
        if self._next() or self._undecodable:
            raise Damage("more text behind the end", self._at)

    def _list(self) -> Iterator[Item]:
        self._at += 1
        sign = self._next()
        while sign != "]":
            value, problem = self._value()
            sign = self._next()
            if sign not in (",", "]"):
                raise Damage("no ',' between two records" if sign else "the list has no end", self._at)
            yield self._numbered(None, value, problem)
            if sign == ",":
                self._at += 1
                if self._next() == "]":
                    raise Damage("no record behind a ','", self._at)
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
            except Damage as damage:
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
            return self._numbered(None, object_of([(key, value) for key, value, _ in pairs]), problem)
        except Twice as twice:
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
                    raise Damage("no ',' between two values" if sign else "the object has no end", self._at)
            except Damage as damage:
                damage.whose = repr(key) if key else ""
                raise
            yield key, value, problem
            if sign == ",":
                self._at += 1
                if self._next() == "}":
                    raise Damage("nothing behind a ','", self._at)
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
            and (is_whole(first.strip()) or is_whole(second))
        )

    def _each_line(self) -> Iterator[Item]:
        while self._next():
            end = self._end_of_line()
            line = self._text[self._at : end].rstrip()
            try:
                value, length = decoded(line)
                if length < len(line):
                    raise Damage("more text behind the record", self._at + length)
            except Twice as twice:
                yield self._numbered(None, None, str(twice))
            except json.JSONDecodeError as error:
                damage = Damage(error.msg, self._at + error.pos, name_in(line))
                yield self._broken(damage, last=bool(self._undecodable) and end == len(self._text))
            except Damage as damage:
                yield self._broken(damage, last=False)
            except (ValueError, RecursionError) as error:
                yield self._broken(Damage(said(error), self._at, name_in(line)), last=False)
            else:
                yield from self._items_of(value) if isinstance(value, dict) else [self._numbered(None, value)]
            self._at = end

    def _end_of_line(self) -> int:
        while (end := self._text.find("\n", self._at)) < 0:
            if len(self._text) - self._at > LONGEST:
                raise Damage(f"a line of more than {LONGEST} characters", self._at)
            if not self._more():
                return len(self._text)
        return end

    # -- parts of them --------------------------------------------------------------------------------------

    def _numbered(self, name: str | None, value: Any, problem: str | None = None) -> Item:
        self._number += 1
        return Item(self._number, name, value, problem)

    def _broken(self, damage: Damage, *, last: bool) -> Item:
        self._number += 1
        lines, column = self._lines_before(damage.at)
        place = f"line {lines + 1}, column {column + 1}"
        at_the_end = not self._text[damage.at + 1 :].strip()
        reason = self._undecodable if self._undecodable and at_the_end else str(damage)
        whose = f", in the record of {damage.whose}" if damage.whose else ""
        return Item(self._number, problem=f"no JSON: {reason} ({place}{whose})", last=last)


def _is_record(pairs: Any) -> bool:
    """Whether an object is a record itself; else it holds records by name."""
    return any(key == "mse" and not isinstance(value, dict) for key, value in pairs)
