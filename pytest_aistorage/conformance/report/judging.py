"""What follows from the results of a backend: where each guarantee stands, the level, the verdict.

A guarantee is *kept* if it is declared, at least one contract test is about it, and all tests that are about it
and apply have run and passed. One failure *breaks* it. Whatever else comes of a test (skipped, not run,
inconclusive, a deviation) leaves it *not shown*: that is never counted as kept. A guarantee that is not declared is
*not declared*; if the tests of its lack passed, its *loss is shown*; if they could not tell, it is *inconclusive*;
if one failed, the declaration is *broken*, since the storage keeps what it does not declare.

A test is about what it requires, unless it says otherwise: one may require a guarantee only because it can't be asked
of storages without it. It then counts for the verdict, and for no level.

Levels are cumulative: each asks for the one before and for its guarantees to be kept.

== ======================= =======================================================================================
0  none
1  core                    the tests that apply to every storage
2  safe under concurrency  linearizable, versions never reused
3  shared and durable      shared between processes, survives close, client crash and server crash
4  complete                survives power loss, atomic batch, snapshot listing, expiry, server-side query
== ======================= =======================================================================================

`ATOMIC_BATCH` and `SNAPSHOT_LISTING` belong to level 4 and not to 2: level 2 promises that no acknowledged change of
a model is lost or undone, which they add nothing to; they are about several models at once.
A fake is no evidence for a guarantee: a simulated backend reaches level 1 at most.

The verdict is *failed* if any test failed; *incomplete* if a test that applies was skipped, not run, or replaced by
a deviation, or if a test of what every storage promises was inconclusive; otherwise *passed*. What is declared and
could not be shown, a loss of power for instance, stops its level and not the verdict: the report names it beside it.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterable

from ...capabilities import Capability
from .results import Backend, Status, TestResult

__all__ = [
    "CORE",
    "GUARANTEES",
    "LEVELS",
    "Level",
    "Standing",
    "Verdict",
    "counts",
    "evidence",
    "level_of",
    "next_level",
    "obstacles",
    "standing_of",
    "verdict_of",
]

CORE = "core"
"""What every storage promises, in the place of a guarantee's name."""


class Standing(enum.StrEnum):
    """What was shown of one guarantee of a backend."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_SHOWN = "not shown"
    LOSS_SHOWN = "loss shown"
    INCONCLUSIVE = "inconclusive"
    NOT_DECLARED = "not declared"


class Verdict(enum.StrEnum):
    """What the whole run says of a backend."""

    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """A step of the ladder.

    Attributes:
        number: from 0 up.
        name: in words.
        guarantees: what it asks for beyond the level before.
    """

    number: int
    name: str
    guarantees: tuple[str, ...]


def _names(*capabilities: Capability) -> tuple[str, ...]:
    return tuple(capability.value for capability in capabilities)


LEVELS = (
    Level(0, "none", ()),
    Level(1, "core", (CORE,)),
    Level(2, "safe under concurrency", _names(Capability.LINEARIZABLE, Capability.VERSIONS_NEVER_REUSED)),
    Level(
        3,
        "shared and durable",
        _names(
            Capability.SHARED_BETWEEN_PROCESSES,
            Capability.SURVIVES_CLOSE,
            Capability.SURVIVES_CLIENT_CRASH,
            Capability.SURVIVES_SERVER_CRASH,
        ),
    ),
    Level(
        4,
        "complete",
        _names(
            Capability.SURVIVES_POWER_LOSS,
            Capability.ATOMIC_BATCH,
            Capability.SNAPSHOT_LISTING,
            Capability.EXPIRY,
            Capability.SERVER_SIDE_QUERY,
        ),
    ),
)

GUARANTEES = tuple(name for level in LEVELS for name in level.guarantees)
"""All of them, in the order of the levels; `CORE` is the first."""

_UNSHOWN = (Status.SKIPPED, Status.DEVIATION, Status.INCONCLUSIVE)


def counts(backend: Backend) -> dict[Status, int]:
    """Return how many tests came out how; every status is there."""
    found = Counter(test.status for test in backend.tests)
    return {status: found[status] for status in Status}


def evidence(backend: Backend, guarantee: str) -> list[TestResult]:
    """Return the tests of a guarantee that apply to a backend: of its lack, where it is not declared."""
    if guarantee == CORE:
        found = [test for test in backend.tests if not test.requires and test.unless is None]
    elif backend.declared is None or guarantee in backend.declared:
        found = [test for test in backend.tests if guarantee in _about(test)]
    else:
        found = [test for test in backend.tests if test.unless == guarantee]
    return [test for test in found if test.status is not Status.NOT_APPLICABLE]


def _about(test: TestResult) -> tuple[str, ...]:
    """What a test is about: that processes share the store is often only what it takes to show something else."""
    if test.evidence_for is not None:
        return test.evidence_for
    others = tuple(name for name in test.requires if name != Capability.SHARED_BETWEEN_PROCESSES.value)
    return others or tuple(test.requires)


def standing_of(backend: Backend, guarantee: str) -> Standing:
    """Return where a guarantee, or `CORE`, stands."""
    found = {test.status for test in evidence(backend, guarantee)}
    if Status.FAILED in found:
        return Standing.BROKEN
    all_passed = found == {Status.PASSED}
    if guarantee == CORE:
        return Standing.KEPT if all_passed else Standing.NOT_SHOWN
    if backend.declared is None or guarantee in backend.declared:
        return Standing.KEPT if all_passed and not backend.simulated else Standing.NOT_SHOWN
    if Status.INCONCLUSIVE in found:
        return Standing.INCONCLUSIVE
    # EXPIRY is a feature: without it a time to live is refused, and nothing is lost.
    if all_passed and guarantee != Capability.EXPIRY.value:
        return Standing.LOSS_SHOWN
    return Standing.NOT_DECLARED


def level_of(backend: Backend) -> Level:
    """Return the highest level whose guarantees are kept, together with those of all levels below."""
    reached = LEVELS[0]
    for level in LEVELS[1:]:
        if any(standing_of(backend, name) is not Standing.KEPT for name in level.guarantees):
            break
        reached = level
    return reached


def next_level(backend: Backend) -> Level | None:
    """Return the level that was not reached; None: there is none above."""
    number = level_of(backend).number + 1
    return LEVELS[number] if number < len(LEVELS) else None


def obstacles(backend: Backend) -> dict[Standing, list[str]]:
    """Return what keeps a backend from the next level: the guarantees that are not kept, by where they stand."""
    found: dict[Standing, list[str]] = {}
    above = next_level(backend)
    for name in () if above is None else above.guarantees:
        if (standing := standing_of(backend, name)) is not Standing.KEPT:
            found.setdefault(standing, []).append(name)
    return found


def verdict_of(backend: Backend) -> Verdict:
    """Return what the whole run says of a backend."""
    found = {test.status for test in backend.tests}
    if Status.FAILED in found:
        return Verdict.FAILED
    if not _complete(backend.tests):
        return Verdict.INCOMPLETE
    return Verdict.PASSED


def _complete(tests: Iterable[TestResult]) -> bool:
    tests = list(tests)
    if not any(test.status is Status.PASSED for test in tests):
        return False
    return not any(test.status in _UNSHOWN and not _is_open(test) for test in tests)


def _is_open(test: TestResult) -> bool:
    """Whether a guarantee, or its lack, could not be shown; the verdict leaves that to the level."""
    return test.status is Status.INCONCLUSIVE and (test.unless is not None or bool(test.requires))
