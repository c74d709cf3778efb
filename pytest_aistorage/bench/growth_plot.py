"""How long operations take the more models there are, drawn: one panel an operation, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files

from ..races import picture
from ..races.picture.escaping import escaped
from .figures import Report
from .growth import OPERATIONS, SIZES, heading

__all__ = ["growth_css", "growth_svg"]

_WIDTH, _HEIGHT = 380.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 74.0, 34.0, 44.0
_LINE = 13.0
"""The least distance between two labels."""

_SERIES = ("postgres", "redis", "sqlite", "mysql", "memory", "file")
_MARKS = (
    '<circle cx="{x}" cy="{y}" r="3.5"/>',
    '<path d="M{x} {y}m-3.3 -3.3h6.6v6.6h-6.6z"/>',
    '<path d="M{x} {y}m0 -4.2l4 7h-8z"/>',
    '<path d="M{x} {y}m0 -4.4l4.4 4.4l-4.4 4.4l-4.4 -4.4z"/>',
    '<path d="M{x} {y}m0 4.2l4 -7h-8z"/>',
    '<path class="cross" d="M{x} {y}m-3.4 -3.4l6.8 6.8m0 -6.8l-6.8 6.8"/>',
)


def growth_css() -> str:
    """Return the style sheet of the drawing, for a page that has the colours of `races.picture`."""
    return files(__package__).joinpath("growth.css").read_text(encoding="utf-8")


def growth_svg(report: Report, *, alone: bool = False) -> str:
    """Return an SVG element that shows a report of `growth`.

    Args:
        report: with a row for each backend and operation.
        alone: with its own style sheet and a background, as a file; otherwise as a part of a page.
    """
    lines = {
        operation: {
            row.labels[0]: [
                (size, row.figures[heading(size)]) for size in SIZES if heading(size) in row.figures
            ]
            for row in report.rows
            if row.labels[1] == operation
        }
        for operation in OPERATIONS
    }
    panels = {operation: series for operation, series in lines.items() if any(series.values())}
    width = _WIDTH * max(1, len(panels))
    drawn = "".join(
        f'<g transform="translate({number * _WIDTH:g} 0)">{_panel(operation, series)}</g>'
        for number, (operation, series) in enumerate(panels.items())
    )
    said = "; ".join(
        f"{operation}, {name}: {_milliseconds(points[0][1])} with {points[0][0]} models, "
        f"{_milliseconds(points[-1][1])} with {points[-1][0]}"
        for operation, series in panels.items()
        for name, points in series.items()
        if points
    )
    style, sheet = "", ""
    if alone:
        palette = files(picture).joinpath("palette.css").read_text(encoding="utf-8")
        style = f"<style>{palette}{growth_css()}</style>"
        sheet = f'<rect class="sheet" width="{width:g}" height="{_HEIGHT:g}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="growth" role="img" aria-label="{escaped(said)}" '
        f'viewBox="0 0 {width:g} {_HEIGHT:g}" width="{width:g}" height="{_HEIGHT:g}">{style}{sheet}{drawn}</svg>'
    )


def _panel(operation: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    points = [point for line in series.values() for point in line]
    sizes = sorted({size for size, _ in points})
    values = [value for _, value in points if value > 0]
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    first, last = math.log10(sizes[0]), math.log10(max(sizes[-1], sizes[0] + 1))

    def x(size: int) -> float:
        return round(_LEFT + (math.log10(size) - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = [f'<text class="title" x="{_LEFT:g}" y="18">{escaped(operation)}</text>']
    for power in range(low, high + 1):
        place = y(10.0**power)
        parts.append(
            f'<path class="grid" d="M{_LEFT:g} {place:g}H{_WIDTH - _RIGHT:g}"/>'
            f'<text class="tick" x="{_LEFT - 8:g}" y="{place + 4:g}" text-anchor="end">'
            f"{_milliseconds(10.0**power)}</text>"
        )
    for size in sizes:
        parts.append(
            f'<text class="tick" x="{x(size):g}" y="{_HEIGHT - _BOTTOM + 18:g}" text-anchor="middle">'
            f"{_number(size)}</text>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle:g}" y="{_HEIGHT - 8:g}" text-anchor="middle">models</text>')
    ends = []
    for name, line in series.items():
        if not line:
            continue
        places = [(x(size), y(value)) for size, value in line]
        parts.append(_line(name, line, places))
        ends.append((places[-1][1], places[-1][0], name))
    parts += [
        f'<text class="name {_class(name)}" x="{right + 9:g}" y="{place + 4:g}">{escaped(name)}</text>'
        for place, right, name in _apart(ends)
    ]
    return "".join(parts)


def _line(name: str, line: Sequence[tuple[int, float]], places: Sequence[tuple[float, float]]) -> str:
    marks = _MARKS[_SERIES.index(name)] if name in _SERIES else _MARKS[0]
    drawn = "".join(
        f"<g><title>{escaped(f'{name}, {_number(size)} models: {_milliseconds(value)}')}</title>"
        f"{marks.format(x=f'{x:g}', y=f'{y:g}')}</g>"
        for (size, value), (x, y) in zip(line, places, strict=True)
    )
    path = "L".join(f"{x:g} {y:g}" for x, y in places)
    return f'<g class="line {_class(name)}"><path class="course" d="M{path}"/>{drawn}</g>'


def _class(name: str) -> str:
    return f"s{_SERIES.index(name)}" if name in _SERIES else "s0"


def _apart(ends: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Move labels that would cover each other: down from the first, then up from the bottom if that is too far."""
    placed: list[list[float]] = []
    ordered = sorted(ends)
    for place, *_ in ordered:
        placed.append([max(place, placed[-1][0] + _LINE) if placed else place])
    floor = _HEIGHT - _BOTTOM
    for one in reversed(placed):
        one[0] = min(one[0], floor)
        floor = one[0] - _LINE
    return [(one[0], right, name) for one, (_, right, name) in zip(placed, ordered, strict=True)]


def _number(size: int) -> str:
    return f"{size:,}".replace(",", " ")


def _milliseconds(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms" if value >= 1 else f"{value * 1000:.3g} µs"
