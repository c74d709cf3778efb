"""What two reports say differently: results that are compared over time."""

from __future__ import annotations

from .judging import GUARANTEES, Standing, standing_of, verdict_of
from .results import Backend, Report
from .wording import rung

__all__ = ["differences", "worsened"]

_RANKS = {Standing.BROKEN: 0, Standing.KEPT: 2}
"""Of a guarantee's standing; all others are between: nothing is claimed that was found wrong, and nothing shown."""


def differences(old: Report, new: Report) -> list[str]:
    """Return what has changed from one report to another, a line each; empty: nothing.

    Times, latencies and messages are not compared. With different versions of the specification, or different
    efforts, the first lines say so: levels and verdicts then need not mean the same.
    """
    settings = (("spec", old.spec, new.spec), ("effort", old.effort, new.effort))
    lines = [f"{what}: {was} -> {now}" for what, was, now in settings if was != now]
    before = {backend.name: backend for backend in old.backends}
    after = {backend.name: backend for backend in new.backends}
    lines += [f"{name}: no longer there" for name in before if name not in after]
    for name, backend in after.items():
        if name not in before:
            lines.append(f"{name}: new: {verdict_of(backend)}, {rung(backend)[0]}")
        else:
            lines += [f"{name}: {line}" for line in _changes(before[name], backend)]
    return lines


def worsened(old: Report, new: Report) -> list[str]:
    """Return the guarantees that stand worse than they did, a line each, on backends that both reports have.

    Worse is what was kept and is not, and what is broken and was not. The rest is a difference: that a loss is shown
    which was not shown before, say.
    """
    before = {backend.name: backend for backend in old.backends}
    return [
        f"{backend.name}: {name}: {was} -> {now}"
        for backend in new.backends
        if backend.name in before
        for name in GUARANTEES
        for was, now in [(standing_of(before[backend.name], name), standing_of(backend, name))]
        if _RANKS.get(now, 1) < _RANKS.get(was, 1)
    ]


def _level(backend: Backend) -> str:
    return rung(backend)[0].removeprefix("level ")


def _changes(old: Backend, new: Backend) -> list[str]:
    pairs = [
        ("server", old.server, new.server),
        ("verdict", verdict_of(old), verdict_of(new)),
        ("level", _level(old), _level(new)),
        *((guarantee, standing_of(old, guarantee), standing_of(new, guarantee)) for guarantee in GUARANTEES),
    ]
    before = {test.name: test.status for test in old.tests}
    after = {test.name: test.status for test in new.tests}
    pairs += [
        (name, before.get(name, "not there"), after.get(name, "not there")) for name in {**before, **after}
    ]
    return [f"{what}: {was} -> {now}" for what, was, now in pairs if was != now]
