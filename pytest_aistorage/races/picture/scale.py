"""Where things lie in a picture: moments beside each other, and what would overlap below each other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

__all__ = ["Scale", "free_row"]

_EVEN = 0.6  # of the width is shared evenly among the gaps; the rest by how long they are


class Scale:
    """Maps moments to places, in their order.

    To scale, what matters of a long run would be dots: so each gap between two moments has a part of the width for
    itself, and a longer one has more of it. Between two moments it is to scale.

    Args:
        moments: all that is drawn; at least one.
        width: of the picture.
        to_scale: share the width by time alone, as a picture of very many moments does.
    """

    def __init__(self, moments: Iterable[float], width: float, *, to_scale: bool = False) -> None:
        self._moments = sorted(set(moments))
        first, last = self._moments[0], self._moments[-1]
        if to_scale:
            self._moments = [first, last] if last > first else [first]
        gaps = [after - before for before, after in pairwise(self._moments)]
        self._places = [0.0]
        for gap in gaps:
            share = _EVEN / len(gaps) + (1 - _EVEN) * gap / (last - first)
            self._places.append(self._places[-1] + share * width)

    @property
    def moments(self) -> list[float]:
        """Those that it was made of, in order."""
        return self._moments

    def at(self, moment: float) -> float:
        """Return a moment's place; before the first and behind the last it is theirs."""
        number = bisect_right(self._moments, moment) - 1
        if number < 0:
            return 0.0
        if number >= len(self._moments) - 1:
            return self._places[-1]
        before, after = self._moments[number : number + 2]
        left, right = self._places[number : number + 2]
        return left + (right - left) * (moment - before) / (after - before)


def free_row(ends: list[float], left: float) -> int:
    """Return the first row in which there is room from a place on; a new one where there is none.

    Args:
        ends: where each row ends so far; it gets one more for a new row.
        left: the place.
    """
    row = next((row for row, end in enumerate(ends) if end <= left), len(ends))
    if row == len(ends):
        ends.append(0.0)
    return row
