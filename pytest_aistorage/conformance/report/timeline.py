"""A violation as a picture: a lane a client, a bar an operation, from its call to its return."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from .results import Step, Violation

__all__ = ["timeline_svg"]

_WIDTH = 960.0
_LEFT = 74.0  # of the lanes: the clients' names stand before it
_RIGHT = 16.0
_BAR = 14.0
_LINE = 17.0  # of labels
_LETTER = 6.7  # the width of one letter of a label, in the page's monospaced font at 11 px
_GAP = 8.0  # between two labels of a line
_LEAST = 6.0  # a bar that is narrower could not be seen
_PADDING = 9.0
_LONGEST = int((_WIDTH - _LEFT - _RIGHT) / _LETTER) - 4  # letters of a label, its number apart


@dataclasses.dataclass(slots=True)
class _Placed:
    step: Step
    number: int
    left: float
    right: float
    row: int = 0
    label_left: float = 0.0
    line: int = 0

    @property
    def label(self) -> str:
        """As much as there is room for; the whole is in the title."""
        label = self.step.label
        return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def timeline_svg(violation: Violation) -> str:
    """Return an SVG element that shows the steps of a violation; empty where there are none."""
    if not violation.steps:
        return ""
    placed = _placed(violation.steps)
    lanes: dict[str, list[_Placed]] = {}
    for one in placed:
        lanes.setdefault(one.step.client, []).append(one)
    parts: list[str] = []
    top = 4.0
    for client in sorted(lanes):
        lane = lanes[client]
        bars = _stack(lane)
        lines = _lay_labels(lane)
        height = 2 * _PADDING + bars * (_BAR + 4) + lines * _LINE
        parts.append(
            f'<rect class="lane" x="0" y="{top:g}" width="{_WIDTH:g}" height="{height:g}" rx="4"/>'
            f'<text class="client" x="12" y="{top + _PADDING + 11:g}">{escape(client)}</text>'
        )
        # The lines first: where one crosses a label, the label is in front.
        parts += [_lead(one, top + _PADDING, bars) for one in lane]
        parts += [_drawn(one, top + _PADDING, bars) for one in lane]
        top += height + 4
    said = escape(f"{violation.anomaly}: {len(placed)} operations of {len(lanes)} clients")
    axis = (
        f'<path class="axis" d="M{_LEFT:g} {top + 8:g}H{_WIDTH - _RIGHT:g}m-6 -4l6 4l-6 4"/>'
        f'<text class="axis-name" x="{_LEFT:g}" y="{top + 24:g}">time, from each call to its return</text>'
    )
    return (
        f'<svg class="timeline" role="img" aria-label="{said}" viewBox="0 0 {_WIDTH:g} {top + 30:g}" '
        f'width="{_WIDTH:g}" height="{top + 30:g}">{"".join(parts)}{axis}</svg>'
    )


def _placed(steps: Sequence[Step]) -> list[_Placed]:
    """Number the steps by their calls, and lay them along the time."""
    ordered = sorted(steps, key=lambda step: (step.start, step.client))
    first = ordered[0].start
    last = max(max(step.start, step.start if step.end is None else step.end) for step in ordered)
    scale = (_WIDTH - _LEFT - _RIGHT) / ((last - first) or 1.0)
    edge = _WIDTH - _RIGHT
    placed = []
    for number, step in enumerate(ordered, 1):
        left = min(_LEFT + (step.start - first) * scale, edge - _LEAST)
        right = edge if step.end is None else _LEFT + (step.end - first) * scale
        placed.append(_Placed(step, number, left, max(right, left + _LEAST)))
    return placed


def _stack(lane: Sequence[_Placed]) -> int:
    """Give bars of one client that overlap rows of their own; return how many rows there are."""
    ends: list[float] = []
    for one in lane:
        row = next((row for row, end in enumerate(ends) if end <= one.left), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = one.right
        one.row = row
    return len(ends)


def _lay_labels(lane: Sequence[_Placed]) -> int:
    """Put each label below its bar, in the first line with room for it; return how many lines there are."""
    ends: list[float] = []
    for one in lane:
        width = len(f"{one.number} {one.label}") * _LETTER
        one.label_left = max(_LEFT, min(one.left, _WIDTH - _RIGHT - width))
        line = next((line for line, end in enumerate(ends) if end <= one.label_left), len(ends))
        if line == len(ends):
            ends.append(0.0)
        ends[line] = one.label_left + width + _GAP
        one.line = line
    return len(ends)


def _heights(one: _Placed, top: float, bars: int) -> tuple[float, float]:
    """Where its bar begins, and where its label stands."""
    return top + one.row * (_BAR + 4), top + bars * (_BAR + 4) + one.line * _LINE + 12


def _lead(one: _Placed, top: float, bars: int) -> str:
    """The line from a bar to its label; where that had to move to the left, only to its upper edge."""
    bar, text = _heights(one, top, bars)
    foot = text + 2 if one.label_left >= one.left else text - 10
    return f'<path class="lead" d="M{one.left + 0.5:g} {bar:g}V{foot:g}"/>'


def _drawn(one: _Placed, top: float, bars: int) -> str:
    bar, text = _heights(one, top, bars)
    step = one.step
    until = "never returned" if step.end is None else f"returned at {step.end:g}"
    said = f"{step.client}: {step.label}; called at {step.start:g}, {until}"
    kind = "step open" if step.end is None else "step"
    return (
        f'<g tabindex="0"><title>{escape(said)}</title>'
        f'<rect class="{kind}" x="{one.left:g}" y="{bar:g}" width="{one.right - one.left:g}" '
        f'height="{_BAR:g}" rx="3"/>'
        f'<text class="label" x="{one.label_left + 5:g}" y="{text:g}">'
        f'<tspan class="number">{one.number}</tspan> {escape(one.label)}</text></g>'
    )
