"""A violation as text: who did what when, why no order explains it, and how much of it there is in the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .checker.result import Check, Verdict, Violation
from .history import History, Operation

__all__ = ["describe", "label_of", "timeline_of"]

_WIDTH = 72
_MOST = 20  # operations that are drawn; a whole history of a model may be long


def describe(check: Check, history: History, *, name: str = "", replay: str | None = None) -> str:
    """Say what a check came to: for an assertion's message.

    Args:
        check: the result.
        history: what was checked.
        name: of the storage.
        replay: the name of the schedule that led to it.
    """
    whole = f"{check.operations} operations on {check.models} model{'s' * (check.models != 1)}"
    if check.verdict is Verdict.LINEARIZABLE:
        return f"linearizable: {whole}"
    if check.violation is None:
        return f"UNKNOWN  {name}: the budget ran out on {', '.join(map(repr, check.undecided))} ({whole})"
    lines = []
    for violation in check.violations[:3]:
        lines += [_heading(violation, name), *_size(violation, history), *timeline_of(violation)]
        lines.append(f"Why: {violation.why}.")
        if violation.faults:
            lines.append(
                "Meanwhile: "
                + ", ".join(f"{fault.kind} of {fault.target}" for fault in violation.faults)
                + "."
            )
    if len(check.violations) > 3:
        lines.append(f"{len(check.violations) - 3} more models have a violation.")
    lines.append(f"Whole run: {whole}; {_losses(history)}.")
    if replay is not None:
        lines.append(f"Replay: {replay}")
    return "\n".join(lines)


def _heading(violation: Violation, name: str) -> str:
    where = f'model "{violation.model_name}"'
    return f"NOT LINEARIZABLE  {name + ' · ' if name else ''}{where}: {violation.anomaly}"


def _size(violation: Violation, history: History) -> list[str]:
    begin, end = _span(violation.operations)
    run_begin, run_end = _span(history.operations)
    took = f"{(end - begin) / 1e6:.2f} ms of a {(run_end - run_begin) / 1e9:.2f} s run"
    if not violation.verified:
        return [f"it takes all {len(violation.operations)} operations on the model to show it, {took}"]
    context = len(violation.context)
    needed = len(violation.operations) - context
    said = f" (+{context} context)" if context else ""
    return [f"{needed} of {len(history)} operations suffice{said}, {took}"]


def _span(operations: Sequence[Operation]) -> tuple[int, int]:
    begin = min(operation.called for operation in operations)
    return begin, max(
        operation.called if operation.returned is None else operation.returned for operation in operations
    )


def _losses(history: History) -> str:
    """How many versions were acknowledged twice, over all models."""
    seen: dict[tuple[str, int], int] = {}
    for operation in history.operations:
        if operation.outcome == "ok" and operation.kind in ("save", "update", "delete") and operation.version:
            key = operation.model_name, operation.version
            seen[key] = seen.get(key, 0) + 1
    twice = sum(1 for number in seen.values() if number > 1)
    unknown = sum(1 for operation in history.operations if operation.outcome == "unknown")
    said = f"{twice} version{'s' * (twice != 1)} acknowledged more than once"
    return f"{said}, {unknown} of unknown outcome" if unknown else said


# -- the picture ----------------------------------------------------------------------------------------------


def timeline_of(violation: Violation) -> list[str]:
    """Draw the operations: a lane for each process, a bar from call to return, what was told below it."""
    operations = violation.operations[:_MOST]
    # Moments are ranks: to scale, the bars of a long run would be dots.
    moments = sorted(
        {operation.called for operation in operations}
        | {operation.returned for operation in operations if operation.returned is not None}
    )
    columns = {moment: place for place, moment in enumerate(moments)}
    labels = {id(operation): label_of(operation) for operation in operations}
    places = _places(operations, columns, labels)
    lines = []
    for process in dict.fromkeys(operation.process for operation in operations):
        bars, texts = "", ""
        for operation in (one for one in operations if one.process == process):
            begin = places[columns[operation.called]]
            end = places[-1] + 3 if operation.returned is None else places[columns[operation.returned]]
            bar = "├" + "─" * max(1, end - begin - 1) + ("╌>" if operation.returned is None else "┤")
            bars = f"{bars.ljust(begin)}{bar}"
            texts = f"{texts.ljust(begin)}{labels[id(operation)]}"
        lines += [f"  {f'P{process}':<5} {bars}", f"        {texts}".rstrip()]
    if len(violation.operations) > _MOST:
        lines.append(f"  … and {len(violation.operations) - _MOST} more")
    return lines


def _places(operations: Sequence[Operation], columns: dict[int, int], labels: dict[int, str]) -> list[int]:
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


def label_of(operation: Operation) -> str:
    """One operation in a few words: ``save if v1 -> v2``, ``get -> nothing``, ``delete -> unknown``."""
    kind = operation.kind
    if kind in ("save_many", "load"):
        parts = ", ".join(
            f"{part.model_name} v{part.version}" if part.version is not None else part.model_name
            for part in operation.parts
        )
        return (
            f"{kind} -> {parts or 'nothing'}"
            if operation.outcome == "ok"
            else f"{kind} -> {operation.outcome}"
        )
    value = "" if operation.value is None else f" {_short(operation.value)}"
    condition = ""
    if operation.base is not None and kind != "get":
        word = "from" if kind == "update" else "if"
        condition = f" {word} v{operation.base}" if operation.base else f" {word} absent"
    elif operation.consumed is not None:
        condition = f" from {_short(operation.consumed)}"
    if operation.outcome == "failed":
        met = (
            f"conflict: v{operation.actual}" if operation.actual is not None else operation.error or "failed"
        )
        return f"{kind}{condition} -> {met}"
    if operation.outcome == "unknown":
        return f"{kind}{condition}{value} -> ?"
    if operation.version == 0:
        return f"{kind}{condition} -> nothing"
    if kind == "get":
        told = "" if operation.version is None else f" v{operation.version}"
        return f"get ->{told}{value}"
    told = "ok" if operation.version is None else f"v{operation.version}"
    return f"{kind}{condition}{value} -> {told}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 18 else f"{text[:17]}…"
