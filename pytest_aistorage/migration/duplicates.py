"""Which models come several times in a file: found in a few bytes a record, then named exactly."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

__all__ = ["Names"]

_PARTS = 64
"""The hashes are sorted a part at a time: Python's sorting makes an object of each."""


class Names:
    """Names that were seen, by their hashes: 8 bytes each, where a set of str takes 150."""

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(_PARTS)]

    def add(self, name: str) -> None:
        """Take note of a name."""
        number = hash(name)
        self._parts[number % _PARTS].append(number)

    def seen_twice(self) -> frozenset[int]:
        """Return the hashes that were seen several times; rarely, those of two names that have the same."""
        return frozenset(number for part in self._parts for number in _repeated(sorted(part)))


def _repeated(ordered: Iterable[int]) -> Iterable[int]:
    last = None
    for number in ordered:
        if number == last:
            yield number
        last = number
