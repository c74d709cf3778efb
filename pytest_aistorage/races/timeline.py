"""A violation as text: who did what when, why no order explains it, and how much of it there is in the whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from .checker.result import Check, Verdict, Violation
from .history import History, Operation
from .ledger import Balance
from .wording import (
    detail_of,
    duration,
    extent_of,
    label_of,
    losses_of,
    mark_of,
    meanwhile_of,
    nearest,
    numbers_of,
    shows_values,
    span_of,
)

__all__ = ["describe", "size_of", "timeline_of"]

_WIDTH = 72  # what a short timeline is spread over
_WIDEST = 110  # with lanes; beyond it each operation gets a line of its own
_MOST = 20  # operations that are drawn; a whole history of a model may be long


def describe(
    check: Check,
    history: History,
    *,
    name: str = "",
    replay: str | None = None,
    balance: Balance | None = None,
    page: Path | None = None,
) -> str:
    """Say what a check came to: for an assertion's message.

    Args:
        check: the result.
        history: what was checked. An operation is called ``#7`` if it is the seventh in it.
        name: of the storage.
        replay: what has to be called to see it again.
        balance: what was acknowledged and what was kept, if that is known.
        page: the timeline that was written of it, for a browser.
    """
    whole = extent_of(check)
    lines = []
    if check.verdict is Verdict.LINEARIZABLE:
        lines.append(f"linearizable: {whole}")
    elif check.violation is None:
        undecided = ", ".join(map(repr, check.undecided))
        lines.append(f"UNKNOWN  {name and name + ': '}the budget ran out on {undecided} ({whole})")
    else:
        numbers = numbers_of(history)
        for violation in check.violations[:3]:
            lines += [_heading(violation, history, name), size_of(violation, history)]
            lines += timeline_of(violation, numbers)
            lines.append(f"Why: {violation.why}.")
            if meanwhile := meanwhile_of(violation):
                lines.append(meanwhile)
        if len(check.violations) > 3:
            lines.append(f"{len(check.violations) - 3} more models have a violation.")
        lines.append(f"Whole run: {', '.join([whole, *losses_of(history, balance)])}.")
    if replay is not None:
        lines.append(f"Replay: {replay}")
    if page is not None:
        lines.append(f"Timeline: {page.resolve().as_uri()}")
    return "\n".join(map(_harmless, lines))


def _harmless(line: str) -> str:
    """Escape what a terminal would obey, or can't be told: names and values may be anybody's."""
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def _heading(violation: Violation, history: History, name: str) -> str:
    where = f'model "{violation.model_name}"'
    detail = detail_of(violation, history)
    said = f"{violation.anomaly}, {detail}" if detail else violation.anomaly
    return f"NOT LINEARIZABLE  {name + ' · ' if name else ''}{where}: {said}"


def size_of(violation: Violation, history: History) -> str:
    """Say how few operations show it, and of how many: ``2 of 200 operations suffice``."""
    begin, end = span_of(violation.operations)
    run_begin, run_end = span_of(history.operations)
    took = f"{duration(end - begin)} of a {duration(run_end - run_begin)} run"
    if not violation.verified:
        return f"it takes all {len(violation.operations)} operations on the model to show it, {took}"
    context = len(violation.context)
    needed = len(violation.operations) - context
    said = f" (+{context} context)" if context else ""
    return f"{needed} of {len(history)} operations suffice{said}, {took}"


# -- the picture ----------------------------------------------------------------------------------------------


def timeline_of(violation: Violation, numbers: Mapping[int, int] | None = None) -> list[str]:
    """Draw the operations: a lane for each process, a bar from call to return, what was told below it.

    Where that would be too wide, each operation has a line of its own, with its bar before what was told.

    Args:
        violation: what is drawn; of a long one, the operations before its offender.
        numbers: of the operations in their history, by their identity.
    """
    operations = nearest(violation, _MOST)
    values = shows_values(violation)
    labels = {}
    for operation in operations:
        mark = mark_of(violation, operation)
        label = label_of(operation, (numbers or {}).get(id(operation)), values=values)
        labels[id(operation)] = f"{label}   <- {mark}" if mark else label
    # Moments are ranks: to scale, the bars of a long run would be dots.
    moments = sorted(
        {operation.called for operation in operations}
        | {operation.returned for operation in operations if operation.returned is not None}
    )
    columns = {moment: place for place, moment in enumerate(moments)}
    lines = _lanes(operations, columns, labels)
    if max(map(len, lines)) > _WIDEST:
        lines = _rows(operations, columns, labels)
    if len(violation.operations) > len(operations):
        lines.append(f"  … and {len(violation.operations) - len(operations)} more")
    return lines


def _lanes(
    operations: Sequence[Operation], columns: Mapping[int, int], labels: Mapping[int, str]
) -> list[str]:
    places = _places(operations, columns, labels)
    lines = []
    for process in sorted({operation.process for operation in operations}):
        bars, texts = "", ""
        for operation in (one for one in operations if one.process == process):
            begin = places[columns[operation.called]]
            end = places[-1] + 3 if operation.returned is None else places[columns[operation.returned]]
            bars = f"{bars.ljust(begin)}{_bar(operation, begin, end)}"
            texts = f"{texts.ljust(begin)}{labels[id(operation)]}"
        lines += [f"  {f'P{process}':<5} {bars}", f"        {texts}".rstrip()]
    return lines


def _rows(
    operations: Sequence[Operation], columns: Mapping[int, int], labels: Mapping[int, str]
) -> list[str]:
    """A line for each operation; its moments are as many as they are, and so is the width of the bars."""
    lines = []
    width = len(columns) + 3
    for operation in operations:
        begin = columns[operation.called]
        end = len(columns) if operation.returned is None else columns[operation.returned]
        bar = " " * begin + _bar(operation, begin, end)
        lines.append(f"  {f'P{operation.process}':<5} {bar.ljust(width)} {labels[id(operation)]}")
    return lines


def _bar(operation: Operation, begin: int, end: int) -> str:
    return "├" + "─" * (end - begin - 1) + ("╌>" if operation.returned is None else "┤")


def _places(
    operations: Sequence[Operation], columns: Mapping[int, int], labels: Mapping[int, str]
) -> list[int]:
    """A column for each moment, so far apart that no label runs into the next one of its process."""
    places = [4 * number for number in range(len(columns))]
    for process in {operation.process for operation in operations}:
        own = [operation for operation in operations if operation.process == process]
        for one, other in pairwise(own):
            first, second = columns[one.called], columns[other.called]
            missing = len(labels[id(one)]) + 2 - (places[second] - places[first])
            if missing > 0:
                for number in range(second, len(places)):
                    places[number] += missing
    spare = _WIDTH - (places[-1] if places else 0)
    if spare > 0 and len(places) > 1:
        places = [place + number * spare // (len(places) - 1) // 2 for number, place in enumerate(places)]
    return places
