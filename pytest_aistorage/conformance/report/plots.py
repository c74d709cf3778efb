"""Measured latencies as a picture: a row a backend, a dot a sample, on a logarithmic axis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from html import escape

from .results import Latencies
from .wording import milliseconds

__all__ = ["Axis", "latency_svg"]

_WIDTH = 960.0
_LEFT = 150.0
_RIGHT = 170.0  # for the figures
_ROW = 38.0
_HEAD = 26.0
_SPREAD = 9.0  # dots of equal latency are drawn this far apart from the middle, so that their number shows


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis of milliseconds, shared by all plots of a report so that they can be compared.

    Attributes:
        low: its left end, a power of ten.
        high: its right end, a power of ten.
    """

    low: int
    high: int

    @classmethod
    def over(cls, latencies: Iterable[Latencies]) -> Axis:
        """Return the axis on which all samples have a place."""
        values = [value for one in latencies for value in (*one.samples, one.p50, one.p99) if value > 0]
        low = math.floor(math.log10(min(values, default=0.1)))
        high = math.ceil(math.log10(max(values, default=10.0)))
        return cls(low, max(high, low + 1))

    def at(self, value: float) -> float:
        """Return where a latency stands."""
        place = (math.log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return round(_LEFT + min(place, 1.0) * (_WIDTH - _LEFT - _RIGHT), 1)


def latency_svg(operation: str, rows: Sequence[tuple[str, Latencies]], axis: Axis) -> str:
    """Return an SVG element that shows the latencies of one operation.

    Args:
        operation: its name.
        rows: by backend.
        axis: where to put them.
    """
    bottom = _HEAD + len(rows) * _ROW
    parts = [_grid(axis, bottom), _heading()]
    parts += [_row(name, one, _HEAD + number * _ROW, axis) for number, (name, one) in enumerate(rows)]
    said = "; ".join(f"{name} p50 {milliseconds(one.p50)}, p99 {milliseconds(one.p99)}" for name, one in rows)
    return (
        f'<svg class="latencies" role="img" aria-label="{escape(f"{operation}: {said}")}" '
        f'viewBox="0 0 {_WIDTH:g} {bottom + 24:g}" width="{_WIDTH:g}" height="{bottom + 24:g}">'
        f"{''.join(parts)}</svg>"
    )


def _heading() -> str:
    right = _WIDTH - _RIGHT
    return (
        f'<text class="head" x="{right + 84:g}" y="14" text-anchor="end">p50</text>'
        f'<text class="head" x="{_WIDTH - 4:g}" y="14" text-anchor="end">p99</text>'
    )


def _grid(axis: Axis, bottom: float) -> str:
    parts = []
    for power in range(axis.low, axis.high + 1):
        x = axis.at(10.0**power)
        parts.append(
            f'<path class="grid" d="M{x:g} {_HEAD - 4:g}V{bottom:g}"/>'
            f'<text class="tick" x="{x:g}" y="{bottom + 16:g}" text-anchor="middle">'
            f"{milliseconds(10.0**power)}</text>"
        )
        if power < axis.high:
            minor = "".join(f"M{axis.at(n * 10.0**power):g} {_HEAD - 4:g}V{bottom:g}" for n in range(2, 10))
            parts.append(f'<path class="grid minor" d="{minor}"/>')
    return "".join(parts)


def _row(name: str, one: Latencies, top: float, axis: Axis) -> str:
    middle = top + _ROW / 2
    dots = "".join(
        # The multiples of the golden ratio: spread evenly, and the same in every run.
        f'<circle cx="{axis.at(value):g}" cy="{middle + (number * 0.618034 % 1 * 2 - 1) * _SPREAD:.1f}" r="2.2"/>'
        for number, value in enumerate(one.samples)
    )
    p50, p99 = axis.at(one.p50), axis.at(one.p99)
    said = f"{name}: {one.count} measured, p50 {milliseconds(one.p50)}, p99 {milliseconds(one.p99)}"
    return (
        f"<g><title>{escape(said)}</title>"
        f'<path class="rule" d="M{_LEFT:g} {top + _ROW:g}H{_WIDTH:g}"/>'
        f'<text class="name" x="0" y="{middle + 4:g}">{escape(_shortened(name))}</text>'
        f'<g class="dots">{dots}</g>'
        f'<path class="p50" d="M{p50:g} {middle - 13:g}V{middle + 13:g}"/>'
        f'<path class="p99" d="M{p99:g} {middle - 13:g}V{middle + 13:g}"/>'
        f'<text class="figure" x="{_WIDTH - _RIGHT + 84:g}" y="{middle + 4:g}" text-anchor="end">'
        f"{milliseconds(one.p50)}</text>"
        f'<text class="figure" x="{_WIDTH - 4:g}" y="{middle + 4:g}" text-anchor="end">'
        f"{milliseconds(one.p99)}</text></g>"
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
