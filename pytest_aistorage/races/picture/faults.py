"""Faults in a picture: a line when something was done, a band while it lasted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..history import Fault
from .escaping import escaped
from .scale import Scale, free_row

__all__ = ["Band", "bands_of", "bands_svg", "bands_within", "placed_on"]

_ENDS = {
    "kill": ("restart",),
    "crash": ("restart",),
    "power loss": ("restart",),
    "stop": ("start", "restart"),
    "pause": ("resume",),
    "partition": ("heal",),
    "delay": ("heal",),
}
"""What ends what, on the same target."""

_LINE = 15.0
_LETTER = 6.9


class Band(NamedTuple):
    """A fault from its beginning to its end.

    Attributes:
        said: what was done, to what.
        begin: when.
        end: when it was over; None: it is one moment, or it was not over.
    """

    said: str
    begin: int
    end: int | None


def bands_of(faults: Iterable[Fault]) -> list[Band]:
    """Pair what was done with what undid it; a fault that nothing undoes is a moment."""
    ordered = sorted(faults, key=lambda fault: fault.at)
    used: set[int] = set()
    bands = []
    for number, fault in enumerate(ordered):
        if number in used:
            continue
        end = next(
            (
                later
                for later in range(number + 1, len(ordered))
                if later not in used
                and ordered[later].target == fault.target
                and ordered[later].kind in _ENDS.get(fault.kind, ())
            ),
            None,
        )
        if end is None:
            bands.append(Band(f"{fault.kind} of {fault.target}", fault.at, None))
        else:
            used.add(end)
            said = f"{fault.kind} of {fault.target}, until {ordered[end].kind}"
            bands.append(Band(said, fault.at, ordered[end].at))
    return bands


def bands_within(bands: Iterable[Band], first: float, last: float) -> list[Band]:
    """Return those that fall into a time, if only in part."""
    return [
        band
        for band in bands
        if band.begin <= last and first <= (band.begin if band.end is None else band.end)
    ]


def placed_on(bands: Iterable[Band], scale: Scale) -> list[tuple[str, float, float | None]]:
    """Return what `bands_svg` is given: what is said of each, where it begins, and where it ends."""
    return [
        (band.said, scale.at(band.begin), None if band.end is None else scale.at(band.end)) for band in bands
    ]


def bands_svg(
    placed: Sequence[tuple[str, float, float | None]], width: float, height: float
) -> tuple[str, float]:
    """Draw faults over the whole height.

    Args:
        placed: as `placed_on` gives them.
        width: of the picture: words that would run out of it move to the left.
        height: of the picture.

    Returns:
        The SVG elements, and how much room their words take at the top.
    """
    ends: list[float] = []
    parts = []
    for said, left, right in sorted(placed, key=lambda one: one[1]):
        words = max(0.0, min(left + 4, width - len(said) * _LETTER))
        line = free_row(ends, words)
        ends[line] = words + len(said) * _LETTER + 8
        band = ""
        if right is not None:
            band = (
                f'<rect class="span" x="{left:.1f}" y="0" width="{max(1.0, right - left):.1f}" '
                f'height="{height:g}"/>'
            )
        parts.append(
            f'<g class="fault" data-l="{left:.1f}" data-r="{left if right is None else right:.1f}" '
            f'data-t="{words:.1f}">{band}<path class="moment" d="M{left:.1f} 0V{height:g}"/>'
            f'<text class="said" x="{words:.1f}" y="{11 + line * _LINE:g}">{escaped(said)}</text></g>'
        )
    return "".join(parts), len(ends) * _LINE
