"""What a run of the conformance suite found, as plain values: nothing here is judged."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence

from .. import excuses

__all__ = [
    "SPEC",
    "Backend",
    "Latencies",
    "Report",
    "Status",
    "Step",
    "TestResult",
    "Violation",
]

SPEC = "1.0"
"""The version of the specification: the contract tests by name, what each requires, and the levels.

Two reports of one version can be compared, test by test and level by level. So it changes when a contract test is
added, removed or renamed, when one begins to apply to other storages, and when a level begins to ask for more or
less: the second number where a storage that passed still passes unless it was wrong all the time, the first where
a correct storage may need to change. It stays when a test is merely sharpened, quickened or worded anew.
"""


class Status(enum.StrEnum):
    """What came of one contract test on one backend. Only `PASSED` is passed."""

    PASSED = "passed"
    FAILED = "failed"
    """It failed, or its setup or teardown did; so does what is expected to fail: a deviation is declared."""
    SKIPPED = "skipped"
    """It did not run: a server was missing, it was deselected, or the run ended before it."""
    INCONCLUSIVE = excuses.INCONCLUSIVE
    """It ran, and could show neither that a guarantee holds nor that it doesn't."""
    DEVIATION = excuses.DEVIATION
    """The backend's author has replaced it or left it out, and has written why."""
    NOT_APPLICABLE = excuses.NOT_APPLICABLE
    """It is about a guarantee that is not declared, or about the lack of one that is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation of a violation.

    Attributes:
        client: who did it.
        label: what was done and what came of it, ``save m -> v2``.
        start: when it was called, in any unit that all steps share.
        end: when it returned; None: it never did.
    """

    client: str
    label: str
    start: float
    end: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A history that the specification does not allow.

    Attributes:
        anomaly: its name, ``lost update``.
        why: why no order of the steps explains what came of them.
        schedule: the name by which the interleaving is replayed; None: it came about by chance.
        steps: the operations, in any order.
    """

    anomaly: str
    why: str
    schedule: str | None
    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """How long one operation took, in milliseconds.

    Attributes:
        count: how many were measured.
        p50: half of them took at most this long.
        p99: 99 of 100 took at most this long.
        samples: some of them, in ascending order, the shortest and the longest included.
    """

    count: int
    p50: float
    p99: float
    samples: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What came of one contract test on one backend.

    Attributes:
        name: the test's.
        area: what it is about.
        requires: the guarantees without which it does not apply; none: it applies to every storage.
        unless: the guarantee whose lack it is about; None: it is about no lack.
        evidence_for: the guarantees that it is about; None: what it requires tells.
        message: of a failure, or the reason of whatever else is not passed.
        seconds: its setup, its body and its teardown.
        latencies: by operation.
    """

    __test__ = False  # pytest takes what is called Test… for tests

    name: str
    area: str
    status: Status
    requires: tuple[str, ...] = ()
    unless: str | None = None
    evidence_for: tuple[str, ...] | None = None
    message: str = ""
    seconds: float = 0.0
    violation: Violation | None = None
    latencies: Mapping[str, Latencies] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One storage under test.

    Attributes:
        name: the parameter's of its tests, or their class's.
        type: the storage's own; None: it could not be asked, as with ``server``.
        server: product and version.
        provider: where its server came from; None: there is none, or nobody knows.
        simulated: whether a fake stands in for the server: evidence for no guarantee.
        declared: the capabilities that it declares; None: no test came so far as to learn them.
        tests: all of the specification, those that did not run included, in the specification's order.
    """

    name: str
    tests: Sequence[TestResult]
    declared: tuple[str, ...] | None
    type: str | None = None
    server: str | None = None
    provider: str | None = None
    simulated: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run of the suite.

    Attributes:
        spec: the version of the specification that it ran, see `SPEC`.
        package: the version of pytest-aistorage.
        python: the version of Python, with the implementation's name.
        platform: the operating system and the processor.
        effort: how hard the suite tried.
        seed: what was drawn, raced and killed by chance.
        created: when, in UTC, as ISO 8601 has it.
    """

    spec: str
    package: str
    python: str
    platform: str
    effort: str
    seed: int
    created: str
    backends: tuple[Backend, ...]
