"""From what came of single tests to a report: by backend, and with all tests that the specification has."""

from __future__ import annotations

import dataclasses
import math
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...config import redact
from .results import SPEC, Backend, Latencies, Report, Status, Step, TestResult, Violation
from .specification import Specified, specified

__all__ = ["NOT_RUN", "Place", "Ran", "assemble", "redacted"]

NOT_RUN = "did not run: deselected, or the run ended before it"
"""The message of a test of which nothing was heard."""

# What decides where one contract test ran several times on a backend: the first that is among them.
_WORST = (
    Status.FAILED,
    Status.SKIPPED,
    Status.INCONCLUSIVE,
    Status.DEVIATION,
    Status.PASSED,
    Status.NOT_APPLICABLE,
)
_LONGEST_MESSAGE = 20_000
# A URL with a user or parameters, up to what ends it in a sentence or a repr.
_URL = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s'"<>]*[@?][^\s'"<>]*[^\s'"<>.,;:)\]}]""", re.IGNORECASE)
_PASSWORD = re.compile(r"""\b(passw(?:or)?d|pwd|secret|token)=(?!\*)[^\s&'",;)]+""", re.IGNORECASE)
# Control characters, an end of line and a tab apart, and lone surrogates, which no encoding has.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a contract test ran.

    Attributes:
        home: the node id of the test class.
        backend: the backend's name among those of the class; empty: the class has one only.
    """

    home: str
    backend: str

    @property
    def name(self) -> str:
        """The backend's name in a report."""
        return self.backend or self.home.rpartition("::")[2]

    @property
    def full_name(self) -> str:
        """The same, where another class has a backend of that name."""
        return f"{self.home}[{self.backend}]" if self.backend else self.home


@dataclasses.dataclass(frozen=True, slots=True)
class Ran:
    """What came of one contract test at one place.

    Attributes:
        place: where.
        test: the test's name.
        facts: what the test and its fixtures have said, as plain values.
    """

    place: Place
    test: str
    status: Status
    message: str
    seconds: float
    facts: Mapping[str, Any]


def assemble(places: Iterable[Place], runs: Iterable[Ran], *, effort: str, seed: int) -> Report:
    """Return the report of a run.

    Args:
        places: every backend that is to be in the report, whether or not one of its tests ran.
        runs: what came of the tests.
        effort: the effort's name.
        seed: of the run.
    """
    grouped: dict[Place, dict[str, list[Ran]]] = {place: {} for place in places}
    for ran in runs:
        grouped.setdefault(ran.place, {}).setdefault(ran.test, []).append(ran)
    names = [place.name for place in grouped]
    backends = [
        _backend(place.name if names.count(place.name) == 1 else place.full_name, found)
        for place, found in grouped.items()
    ]
    return Report(
        spec=SPEC,
        package=_package_version(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        effort=effort,
        seed=seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        backends=tuple(backends),
    )


def redacted(text: str) -> str:
    """Return a text without the passwords in it, in characters that any file can hold, and of a bearable length."""
    if len(text) > _LONGEST_MESSAGE:
        left_out = len(text) - _LONGEST_MESSAGE
        text = f"{text[:_LONGEST_MESSAGE]}\n[{left_out} more characters]"
    text = _URL.sub(lambda found: redact(found[0]), text)
    text = _PASSWORD.sub(lambda found: f"{found[1]}=***", text)
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _package_version() -> str:
    try:
        return version("pytest-aistorage")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _backend(name: str, found: Mapping[str, Sequence[Ran]]) -> Backend:
    facts: dict[str, Any] = {}
    for runs in found.values():
        for ran in runs:
            facts |= {key: value for key, value in ran.facts.items() if value is not None}
    declared = facts.get("declared")
    return Backend(
        name=name,
        type=_text_or_none(facts.get("type")),
        server=_text_or_none(facts.get("server")),
        provider=_text_or_none(facts.get("provider")),
        simulated=bool(facts.get("simulated", False)),
        declared=None if declared is None else tuple(sorted(map(str, declared))),
        tests=tuple(_result(test, about, found.get(test, ())) for test, about in specified().items()),
    )


def _result(name: str, about: Specified, runs: Sequence[Ran]) -> TestResult:
    result = TestResult(
        name=name,
        area=about.area,
        status=Status.SKIPPED,
        requires=about.requires,
        unless=about.unless,
        evidence_for=about.evidence_for,
        message=NOT_RUN,
    )
    if not runs:
        return result
    worst = min(runs, key=lambda ran: _WORST.index(ran.status))
    return dataclasses.replace(
        result,
        status=worst.status,
        message=redacted(worst.message),
        seconds=sum(ran.seconds for ran in runs),
        violation=_violation(worst.facts.get("violation")),
        latencies=_latencies(worst.facts.get("latencies", {})),
    )


def _text_or_none(value: object) -> str | None:
    return redacted(value) if isinstance(value, str) and value else None


def _violation(found: object) -> Violation | None:
    """What a test says of a violation; where it can't be read, that: a report is not to fail for it."""
    if found is None:
        return None
    try:
        return _read_violation(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"its history could not be read: {type(error).__name__}: {error}"
        return Violation(anomaly="violation", why=redacted(why), schedule=None, steps=())


def _read_violation(found: Any) -> Violation:
    schedule = found.get("schedule")
    return Violation(
        anomaly=redacted(str(found["anomaly"])),
        why=redacted(str(found.get("why", ""))),
        schedule=None if schedule is None else redacted(str(schedule)),
        steps=tuple(_step(step) for step in found["steps"]),
    )


def _step(found: Mapping[str, Any]) -> Step:
    end = found.get("end")
    return Step(
        client=redacted(str(found["client"])),
        label=redacted(str(found["label"])),
        start=_finite(found["start"]),
        end=None if end is None or end == math.inf else _finite(end),
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no moment")
    return number


def _latencies(found: Mapping[str, Any]) -> dict[str, Latencies]:
    return {
        operation: Latencies(
            count=one["count"], p50=one["p50"], p99=one["p99"], samples=tuple(one["samples"])
        )
        for operation, one in sorted(found.items())
    }
