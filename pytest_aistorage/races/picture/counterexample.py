"""A violation as a picture: its timeline, and the same as a table for who can't see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from ..checker.result import Violation
from ..history import History, Operation
from ..wording import label_of, mark_of, nearest, numbers_of, seen_by, shows_values, span_of
from .escaping import escaped
from .faults import bands_of
from .lanes import WIDTH, Bar, lanes_svg

__all__ = ["kinds_of", "milliseconds", "table_of", "violation_image", "violation_svg"]

_MOST = 60  # operations that are drawn of a violation that takes a model's whole history
_MARGIN = 12.0  # around a picture that is a file


def violation_svg(violation: Violation, history: History, numbers: Mapping[int, int] | None = None) -> str:
    """Return an SVG element with the timeline of a violation, for a page that has its style.

    Args:
        violation: what is drawn; of a long one, the operations before its offender.
        history: what it was found in.
        numbers: of the operations, as `numbers_of` gives them; None: they are counted here.
    """
    operations = nearest(violation, _MOST)
    begin = span_of(history.operations)[0]
    numbers = numbers_of(history) if numbers is None else numbers
    bars = [_bar(operation, operations, violation, numbers, begin) for operation in operations]
    clients = len({operation.process for operation in operations})
    said = (
        f"{violation.anomaly} on {violation.model_name}: {len(operations)} operations of {clients} "
        f"client{'s' * (clients != 1)}. {violation.why}."
    )
    return lanes_svg(
        bars,
        said=said,
        bands=bands_of(history.faults),
        clock=lambda moment: milliseconds(moment - begin),
    )


def violation_image(violation: Violation, history: History) -> str:
    """Return the timeline of a violation as an SVG file of its own, light and dark as who looks at it prefers."""
    here = files(__package__)
    style = "".join((here / name).read_text(encoding="utf-8") for name in ("palette.css", "timeline.css"))
    svg = violation_svg(violation, history)
    height = float(svg.split(' height="', 1)[1].split('"', 1)[0])
    size = f'width="{WIDTH + 2 * _MARGIN:g}" height="{height + 2 * _MARGIN:g}"'
    inner = svg.replace("<svg ", f'<svg x="{_MARGIN:g}" y="{_MARGIN:g}" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" {size}>\n<style>\n{style}</style>\n'
        f'<rect class="page" x="0" y="0" {size} rx="10"/>\n{inner}\n</svg>\n'
    )


def _bar(
    operation: Operation,
    operations: Sequence[Operation],
    violation: Violation,
    numbers: Mapping[int, int],
    begin: int,
) -> Bar:
    number = numbers.get(id(operation))
    return Bar(
        lane=f"P{operation.process}",
        label=label_of(operation, values=shows_values(violation)),
        begin=operation.called,
        end=operation.returned,
        number="" if number is None else f"#{number}",
        kinds=tuple(_kinds(operation, violation)),
        mark=mark_of(violation, operation),
        details=tuple(_details(operation, number, begin)),
        saw=tuple(place for place, other in enumerate(operations) if seen_by(operation, other)),
    )


def kinds_of(violation: Violation) -> set[str]:
    """Return what `violation_svg` draws apart: the kinds of operations, and ``link``, if there is one."""
    operations = nearest(violation, _MOST)
    kinds = {kind for operation in operations for kind in _kinds(operation, violation)}
    if any(seen_by(one, other) for one in operations for other in operations):
        kinds.add("link")
    return kinds


def _kinds(operation: Operation, violation: Violation) -> Iterator[str]:
    yield "read" if operation.kind in ("get", "load") else "change"
    if operation.outcome != "ok" or operation.returned is None:
        yield "unknown" if operation.outcome == "ok" else operation.outcome
    if operation is violation.offender:
        yield "offender"
    elif any(operation is one for one in violation.context):
        yield "context"


def _details(operation: Operation, number: int | None, begin: int) -> Iterator[str]:
    yield f"P{operation.process}: {label_of(operation, number, values=True)}"
    if operation.model_name:
        yield f"model {operation.model_name}"
    took = "never returned"
    if operation.returned is not None:
        took = f"took {milliseconds(operation.returned - operation.called)}"
    yield f"called at {milliseconds(operation.called - begin)}, {took}"
    yield f"outcome {operation.outcome}" + (f": {operation.error}" if operation.error else "")
    if operation.source:
        yield f"answered from {operation.source}"


def milliseconds(nanoseconds: float) -> str:
    """Return a time as all tables, axes and details write it, so that they can be compared: ``1.250 ms``."""
    return f"{nanoseconds / 1e6:.3f} ms"


def table_of(violation: Violation, history: History, numbers: Mapping[int, int] | None = None) -> str:
    """Return an HTML table of the operations that `violation_svg` draws, in the order of their calls."""
    operations = nearest(violation, _MOST)
    begin = span_of(history.operations)[0]
    numbers = numbers_of(history) if numbers is None else numbers
    rows = []
    for operation in operations:
        number = numbers.get(id(operation))
        saw = [
            f"#{numbers[id(other)]}"
            for other in operations
            if seen_by(operation, other) and id(other) in numbers
        ]
        mark = mark_of(violation, operation)
        note = f"← {mark}" if mark else ""
        if not mark and any(operation is one for one in violation.context):
            note = "where the others started from"
        cells = (
            f"P{operation.process}",
            label_of(operation, values=True),
            milliseconds(operation.called - begin),
            "never" if operation.returned is None else milliseconds(operation.returned - begin),
            operation.outcome,
            ", ".join(saw),
            note,
        )
        kind = ' class="offender"' if mark else ""
        rows.append(
            f'<tr{kind}><th scope="row">{"" if number is None else f"#{number}"}</th>'
            + "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    heads = ("operation", "client", "what, and what it was told", "called", "returned", "outcome", "saw", "")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return f'<table class="operations"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
