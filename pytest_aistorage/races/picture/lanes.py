"""A few operations as a picture: a lane for each client, a bar for each operation, and below it what came of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .escaping import clean, escaped
from .faults import Band, bands_svg, bands_within, placed_on
from .scale import Scale, free_row

__all__ = ["LEFT", "PLOT", "WIDTH", "Bar", "lanes_svg"]

WIDTH = 960.0
LEFT = 74.0
"""Of the plot: the clients' names stand before it."""
PLOT = WIDTH - LEFT - 16.0
"""The plot's width. Places inside it are counted from its left edge."""

_TAIL = 26.0  # of the plot, behind the last moment, for what never returned
_BAR = 14.0
_STEP = _BAR + 4
_LINE = 17.0  # of labels
_LETTER = 6.7  # the width of one letter of a label, in the page's monospaced font at 11 px
_GAP = 8.0  # between two labels of a line
_LEAST = 6.0  # a bar that is narrower could not be seen
_PADDING = 10.0
_LONGEST = int(PLOT / _LETTER) - 4  # letters of a label


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One operation as it is drawn.

    Attributes:
        lane: whose it is.
        label: what was done and what came of it.
        begin: when it was called, in any unit that all bars share.
        end: when it returned; None: it never did.
        number: what it is called.
        kinds: classes for the style: ``read``, ``failed``, ``unknown``, ``offender``, ``context``.
        mark: what is said beside the label.
        details: all there is to know, a line for each thing; the label is the first, if there are none.
        saw: the places in the sequence of the bars whose effect it saw.
    """

    lane: str
    label: str
    begin: float
    end: float | None
    number: str = ""
    kinds: tuple[str, ...] = ()
    mark: str = ""
    details: tuple[str, ...] = ()
    saw: tuple[int, ...] = ()


@dataclass(slots=True)
class _Placed:
    bar: Bar
    left: float
    right: float
    row: int = 0
    label_left: float = 0.0
    line: int = 0
    top: float = 0.0  # of the bar
    foot: float = 0.0  # of the label

    @property
    def words(self) -> str:
        """As much of the label as there is room for; the whole is in the details."""
        room = _LONGEST - len(self.bar.number) - len(self.bar.mark)
        return _cut(clean(self.bar.label), room)

    @property
    def width(self) -> float:
        parts = (self.bar.number, self.words, f"← {self.bar.mark}" if self.bar.mark else "")
        return sum(_cells(part) + 1 for part in parts if part) * _LETTER


def _cells(text: str) -> int:
    """How wide a text is, in letters; one of East Asia is two, and an accent of its own none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def _cut(text: str, longest: int) -> str:
    if _cells(text) <= longest:
        return text
    while text and _cells(text) >= longest:
        text = text[:-1]
    return f"{text}…"


def lanes_svg(
    bars: Sequence[Bar],
    *,
    said: str,
    bands: Iterable[Band] = (),
    clock: Callable[[float], str] | None = None,
) -> str:
    """Return an SVG element that shows the bars; empty where there are none.

    Args:
        bars: what is drawn. Everything in them is escaped.
        said: the whole picture in words, for who does not see it.
        bands: faults; only what lies between the first moment of the bars and the last is drawn.
        clock: what the axis says at a moment; None: it has no unit.
    """
    if not bars:
        return ""
    moments = {bar.begin for bar in bars} | {bar.end for bar in bars if bar.end is not None}
    first, last = min(moments), max(moments)
    bands = bands_within(bands, first, last)
    moments |= {max(first, min(last, band.begin)) for band in bands}
    scale = Scale(moments, PLOT - _TAIL)
    placed = [_place(bar, scale) for bar in bars]
    lanes: dict[str, list[_Placed]] = {}
    for one in sorted(placed, key=lambda one: one.left):
        lanes.setdefault(one.bar.lane, []).append(one)
    spans = placed_on(bands, scale)
    top = bands_svg(spans, PLOT, 0)[1] + 4
    beds = []
    for lane in sorted(lanes, key=_by_number):
        height = _lay(lanes[lane], top + _PADDING) + 2 * _PADDING
        beds.append(
            f'<rect class="lane" x="0" y="{top:g}" width="{WIDTH:g}" height="{height:g}" rx="4"/>'
            f'<text class="client" x="12" y="{top + _PADDING + 11:g}">{escaped(_cut(clean(lane), 9))}</text>'
        )
        top += height + 4
    links = [_link(placed[number], one) for one in placed for number in one.bar.saw]
    plot = [
        f'<g class="faults">{bands_svg(spans, PLOT, top)[0]}</g>',
        f'<g class="ticks">{"".join(_ticks(scale, top, clock))}</g>',
        f'<g class="links">{"".join(links)}</g>',
        # The lines first: where one crosses a label, the label is in front.
        *(_lead(one) for one in placed),
        *(_drawn(one) for one in placed),
    ]
    height = top + 36
    axis = "time, from each call to its return" + ("; short times are drawn longer" if clock else "")
    return (
        f'<svg class="timeline lanes" role="group" aria-label="{escaped(said)}" '
        f'viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" height="{height:g}">'
        f'{"".join(beds)}<svg class="plot" x="{LEFT:g}" y="0" width="{PLOT:g}" height="{height:g}">'
        f'<rect class="ground" x="0" y="0" width="{PLOT:g}" height="{height:g}"/>{"".join(plot)}</svg>'
        f'<path class="axis" d="M{LEFT:g} {top + 4:g}H{LEFT + PLOT:g}m-6 -4l6 4l-6 4"/>'
        f'<text class="axis-name" x="{LEFT + PLOT:g}" y="{height - 5:g}" text-anchor="end">{axis}</text></svg>'
    )


def _by_number(lane: str) -> tuple[int, str]:
    digits = lane.removeprefix("P")
    return (int(digits) if digits.isascii() and digits.isdigit() else 1 << 60, lane)


def _place(bar: Bar, scale: Scale) -> _Placed:
    left = min(scale.at(bar.begin), PLOT - _LEAST)
    right = PLOT if bar.end is None else scale.at(bar.end)
    return _Placed(bar, left, max(right, left + _LEAST))


def _lay(lane: Sequence[_Placed], top: float) -> float:
    """Give bars that overlap rows of their own, and labels lines with room for them; return the height."""
    ends: list[float] = []
    for one in lane:
        one.row = free_row(ends, one.left)
        ends[one.row] = one.right
    lines: list[float] = []
    for one in lane:
        one.label_left = max(0.0, min(one.left, PLOT - one.width))
        one.line = free_row(lines, one.label_left)
        lines[one.line] = one.label_left + one.width + _GAP
    for one in lane:
        one.top = top + one.row * _STEP
        one.foot = top + len(ends) * _STEP + one.line * _LINE + 12
    return len(ends) * _STEP + len(lines) * _LINE


def _ticks(scale: Scale, top: float, clock: Callable[[float], str] | None) -> Iterable[str]:
    """The times of the moments that have room; the last one always has."""
    if clock is None:
        return
    *others, last = ((scale.at(moment), escaped(clock(moment))) for moment in scale.moments)
    place, words = last
    fits = place + len(words) * _LETTER <= PLOT
    limit = place if fits else place - len(words) * _LETTER
    until = 0.0
    for place, words in others:
        if until <= place <= limit - len(words) * _LETTER:
            until = place + len(words) * _LETTER
            yield _tick(place, words, top, "start")
    place, words = last
    yield _tick(place, words, top, "start" if fits else "end")


def _tick(place: float, words: str, top: float, anchor: str) -> str:
    return (
        f'<g class="tick" data-l="{place:.1f}"><path d="M{place:.1f} 0V{top + 4:g}"/>'
        f'<text x="{place:.1f}" y="{top + 17:g}" text-anchor="{anchor}">{words}</text></g>'
    )


def _lead(one: _Placed) -> str:
    """The line from a bar to its label; where that had to move to the left, only to its upper edge."""
    foot = one.foot + 2 if one.label_left >= one.left else one.foot - 10
    return f'<path class="lead" data-l="{one.left:.1f}" d="M{one.left + 0.5:.1f} {one.top:g}V{foot:g}"/>'


def _link(writer: _Placed, reader: _Placed) -> str:
    """A line from a write to who saw it: from the write's end, or from where the reader begins, if that is before."""
    begin = max(writer.left, min(writer.right, reader.left - 10))
    end = reader.left
    if writer.top < reader.top:
        above, below = writer.top + _BAR, reader.top
    else:
        above, below = writer.top, reader.top + (_BAR if writer.top > reader.top else 0)
    if writer.top == reader.top:  # beside each other
        above = below = writer.top + _BAR / 2
    return (
        f'<path class="link" data-l="{begin:.1f}" data-r="{end:.1f}" data-y="{above:g} {below:g}" '
        f'd="{_link_path(begin, above, end, below)}"/>'
    )


def _link_path(begin: float, above: float, end: float, below: float) -> str:
    """The curve of a link with its head; the page's script draws the same when the picture is zoomed."""
    if above == below:
        return f"M{begin:.1f} {above:g}H{end - 1:.1f}m-5 -4l5 4l-5 4"
    head = -5 if below > above else 5
    middle = (above + below) / 2
    return (
        f"M{begin:.1f} {above:g}C{begin:.1f} {middle:g} {end:.1f} {middle:g} {end:.1f} {below:g}"
        f"m-3.5 {head}l3.5 {-head}l3.5 {head}"
    )


def _drawn(one: _Placed) -> str:
    bar = one.bar
    details = "\n".join(map(escaped, bar.details or (bar.label,)))
    never = " open" if bar.end is None else ""
    tail = ""
    if "unknown" in bar.kinds and bar.end is not None:
        # It returned without an answer, and may still take effect.
        tail = f'<path class="tail" d="M{one.right:.1f} {one.top + _BAR / 2:g}H{PLOT:g}"/>'
    number = f'<tspan class="number">{escaped(bar.number)}</tspan> ' if bar.number else ""
    mark = f' <tspan class="mark">← {escaped(bar.mark)}</tspan>' if bar.mark else ""
    return (
        f'<g class="{" ".join(("operation", *bar.kinds))}" tabindex="0" role="img" '
        f'data-l="{one.left:.1f}" data-r="{one.right:.1f}" data-t="{one.label_left:.1f}">'
        f"<title>{details}</title>{tail}"
        f'<rect class="step{never}" x="{one.left:.1f}" y="{one.top:g}" width="{one.right - one.left:.1f}" '
        f'height="{_BAR:g}" rx="3"/>'
        f'<text class="label" x="{one.label_left + 5:.1f}" y="{one.foot:g}">'
        f"{number}{escaped(one.words)}{mark}</text></g>"
    )
