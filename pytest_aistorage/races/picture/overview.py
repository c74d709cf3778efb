"""A whole run as a picture: so many operations that only where they are, and what came of them, can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..checker.result import Violation
from ..history import History, Operation
from ..wording import label_of, numbers_of, span_of
from .counterexample import milliseconds
from .escaping import clean
from .faults import Band, bands_of, bands_svg, bands_within, placed_on
from .lanes import LEFT, PLOT, WIDTH
from .scale import Scale

__all__ = ["MOST", "Overview", "overview_of"]

MOST = 100_000
"""Operations that the page has every detail of."""

_LANES = 200  # clients that have a lane
_BYTES = 5_000_000  # of words, all operations together
_LENGTHS = (120, 60, 40, 24, 12)  # letters that words are cut to, until they are few enough
_GAP = 2.0
_CODES = {"ok": 0, "failed": 1, "unknown": 2}
_READ = 4  # added to the code of a read


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A run to look at.

    Attributes:
        svg: what can be looked around in, as an SVG element for a page that has its style.
        data: what its script needs to show each operation; plain JSON.
        whole: a picture of all operations, where that would be too many.
        left_out: what is not there, a sentence for each thing.
    """

    svg: str
    data: dict[str, Any]
    whole: str | None
    left_out: tuple[str, ...]


def overview_of(history: History, violations: Sequence[Violation]) -> Overview:
    """Draw a run, with a lane for each client, and mark the operations of its violations.

    Args:
        history: at least one operation.
        violations: of which the operations are marked.
    """
    left_out = []
    operations: Sequence[Operation] = sorted(history.operations, key=lambda operation: operation.called)
    marked = {_place(one) for violation in violations for one in _marked(violation)}
    processes = _processes(operations, violations)
    everybody = len({operation.process for operation in operations})
    if len(processes) < everybody:
        left_out.append(f"Of {everybody} clients, {len(processes)} have a lane.")
        known = set(processes)
        operations = [operation for operation in operations if operation.process in known]
    whole = None
    if len(operations) > MOST:
        whole = _svg(history, operations, processes, marked)
        left_out.append(
            f"The first picture has all {len(operations)} operations. The second one, to look around in, has {MOST} "
            f"of them{', around the first violation' if violations else ', from the beginning'}."
        )
        operations = _around(operations, violations)
    svg = _svg(history, operations, processes, marked)
    data, cut = _data(history, operations, processes, violations)
    if cut is not None:
        left_out.append(f"There is so much that names and words are cut to {cut} letters.")
    return Overview(svg=svg, data=data, whole=whole, left_out=tuple(left_out))


def _place(operation: Operation) -> tuple[int, int]:
    """What tells an operation: the checker may show a part of one."""
    return operation.process, operation.called


def _marked(violation: Violation) -> Sequence[Operation]:
    """The operations that show it; of one that takes a whole history only the offender."""
    if violation.verified:
        return violation.operations
    return () if violation.offender is None else (violation.offender,)


def _processes(operations: Iterable[Operation], violations: Sequence[Violation]) -> list[int]:
    first = [one.process for violation in violations for one in violation.operations]
    everybody = sorted({operation.process for operation in operations})
    return sorted(list(dict.fromkeys([*first, *everybody]))[:_LANES])


def _around(operations: Sequence[Operation], violations: Sequence[Violation]) -> Sequence[Operation]:
    middle = 0
    if violations:
        wanted = violations[0].offender or violations[0].operations[0]
        middle = next((number for number, one in enumerate(operations) if _place(one) == _place(wanted)), 0)
    begin = max(0, min(middle - MOST // 2, len(operations) - MOST))
    return operations[begin : begin + MOST]


# -- drawn ----------------------------------------------------------------------------------------------------


def _lane_height(lanes: int) -> float:
    """The height of one of so many lanes."""
    return 18.0 if lanes <= 16 else 11.0 if lanes <= 40 else 6.0


def _svg(
    history: History, operations: Sequence[Operation], processes: Sequence[int], marked: set[tuple[int, int]]
) -> str:
    begin, end = span_of(operations)
    zero = span_of(history.operations)[0]
    scale = Scale((begin, end), PLOT, to_scale=True)
    spans = placed_on(_bands(history, operations), scale)
    high = _lane_height(len(processes))
    top = bands_svg(spans, PLOT, 0)[1] + 10
    foot = top + len(processes) * (high + _GAP)
    tops = {process: top + number * (high + _GAP) for number, process in enumerate(processes)}
    beds = "".join(
        f'<rect class="lane" x="0" y="{tops[process]:g}" width="{WIDTH:g}" height="{high:g}"/>'
        + (
            f'<text class="client" x="12" y="{tops[process] + high / 2 + 4:g}">P{process}</text>'
            if high > 8 or number % 2 == 0
            else ""
        )
        for number, process in enumerate(processes)
    )
    paths = "".join(
        f'<path class="{kind}" d="{path}"/>'
        for kind, path in _paths(operations, scale, tops, high, marked).items()
        if path
    )
    ticks = "".join(
        f'<g class="tick"><path d="M{PLOT * part / 6:.1f} 0V{foot + 4:g}"/>'
        f'<text x="{PLOT * part / 6:.1f}" y="{foot + 16:g}"{_anchor(part)}>'
        f"{milliseconds(begin - zero + (end - begin) * part / 6)}</text></g>"
        for part in range(7)
    )
    height = foot + 22
    said = f"{len(operations)} operations of {len(processes)} clients in {milliseconds(end - begin)}"
    return (
        f'<svg class="timeline overview" role="group" aria-label="{said}" viewBox="0 0 {WIDTH:g} {height:g}" '
        f'width="{WIDTH:g}" height="{height:g}" data-top="{top:g}" data-high="{high:g}" data-gap="{_GAP:g}">{beds}'
        f'<svg class="plot" x="{LEFT:g}" y="0" width="{PLOT:g}" height="{height:g}">'
        f'<rect class="ground" x="0" y="0" width="{PLOT:g}" height="{height:g}"/>'
        f'<g class="ticks">{ticks}</g><g class="drawn">{paths}</g>'
        f'<g class="faults">{bands_svg(spans, PLOT, foot)[0]}</g></svg></svg>'
    )


def _bands(history: History, operations: Sequence[Operation]) -> list[Band]:
    """The faults of a run that fall into the time of some of its operations."""
    return bands_within(bands_of(history.faults), *span_of(operations))


def _anchor(part: int) -> str:
    return f' text-anchor="{"start" if part == 0 else "end" if part == 6 else "middle"}"'


def _paths(
    operations: Sequence[Operation],
    scale: Scale,
    tops: dict[int, float],
    high: float,
    marked: set[tuple[int, int]],
) -> dict[str, str]:
    """One path for each kind; operations that touch each other there are one piece: the width bounds its length."""
    kinds = ("read", "change", "pending", "failed", "unknown", "marked", "flag")
    pieces: dict[str, list[str]] = {kind: [] for kind in kinds}
    last: dict[tuple[str, int], tuple[float, float]] = {}
    ordered: list[tuple[str, int, float, float]] = []
    following = _following(operations)
    for operation in operations:
        left = scale.at(operation.called)
        until = following.get(id(operation)) if operation.returned is None else operation.returned
        right = PLOT if until is None else max(left + 1, scale.at(until))
        for kind in _kinds(operation, marked):
            key = kind, operation.process
            before = last.get(key)
            if before is not None and left <= before[1] + 0.5:
                last[key] = before[0], max(before[1], right)
                continue
            if before is not None:
                ordered.append((*key, *before))
            last[key] = left, right
    ordered += [(*key, *piece) for key, piece in last.items()]
    for kind, process, left, right in ordered:
        top, height = tops[process], high
        if kind == "marked":
            # A flag above all lanes: a frame as narrow as this would be overlooked.
            pieces["flag"].append(f"M{(left + right) / 2 - 4:.1f} {min(tops.values()) - 9:g}h8l-4 7z")
            left, right, top, height = left - 1, right + 1, top - 1, high + 2
        pieces[kind].append(f"M{left:.1f} {top:g}h{right - left:.1f}v{height:g}h{left - right:.1f}z")
    return {kind: "".join(pieces[kind]) for kind in kinds}


def _following(operations: Sequence[Operation]) -> dict[int, int]:
    """When the clients of what never returned did something else."""
    found: dict[int, int] = {}
    called: dict[int, int] = {}
    for operation in reversed(operations):
        if operation.returned is None and operation.process in called:
            found[id(operation)] = called[operation.process]
        called[operation.process] = operation.called
    return found


def _kinds(operation: Operation, marked: set[tuple[int, int]]) -> Iterable[str]:
    if operation.returned is None:
        yield "pending"
    elif operation.outcome == "ok":
        yield "read" if operation.kind in ("get", "load") else "change"
    else:
        yield operation.outcome
    if _place(operation) in marked:
        yield "marked"


# -- for the script -------------------------------------------------------------------------------------------


def _data(
    history: History,
    operations: Sequence[Operation],
    processes: Sequence[int],
    violations: Sequence[Violation],
) -> tuple[dict[str, Any], int | None]:
    """Columns, each as short as it can be: a call is counted from the one before."""
    begin = span_of(history.operations)[0]
    first, last = span_of(operations)
    lanes = {process: lane for lane, process in enumerate(processes)}
    numbers = numbers_of(history)
    models: dict[str, int] = {}
    columns: dict[str, list[Any]] = {
        name: [] for name in ("lane", "model", "called", "took", "code", "number")
    }
    labels = []
    called = begin
    places = {}
    for place, operation in enumerate(operations):
        places[_place(operation)] = place
        columns["lane"].append(lanes[operation.process])
        columns["model"].append(models.setdefault(operation.model_name, len(models)))
        columns["called"].append(operation.called - called)
        called = operation.called
        columns["took"].append(-1 if operation.returned is None else operation.returned - operation.called)
        code = _CODES[operation.outcome] + (_READ if operation.kind in ("get", "load") else 0)
        columns["code"].append(code)
        columns["number"].append(numbers[id(operation)])
        labels.append(clean(label_of(operation, values=True)))
    words, cut = _within(labels, [clean(name) for name in models])
    return {
        **columns,
        "label": words[: len(labels)],
        "models": words[len(labels) :],
        "processes": list(processes),
        "begin": first - begin,
        "end": last - begin,
        "faults": [
            [clean(band.said), band.begin - begin, None if band.end is None else band.end - begin]
            for band in _bands(history, operations)
        ],
        "violations": [
            [places[_place(one)] for one in _marked(violation) if _place(one) in places]
            for violation in violations
        ],
    }, cut


def _within(labels: list[str], names: list[str]) -> tuple[list[str], int | None]:
    """Cut words until they take no more room than there is."""
    words = [*labels, *names]
    if sum(map(_size, words)) <= _BYTES:
        return words, None
    for longest in _LENGTHS:
        cut = [word if len(word) <= longest else f"{word[: longest - 1]}…" for word in words]
        if sum(map(_size, cut)) <= _BYTES:
            break
    return cut, longest


def _size(word: str) -> int:
    return len(word.encode()) + 3
