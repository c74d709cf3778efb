"""Skipped is never passed: what counts as kept, which level that is, and what the verdict says."""

from __future__ import annotations

import pytest
from sample_report import backend, full, result

from pytest_aistorage import Capability
from pytest_aistorage.conformance.report import Status
from pytest_aistorage.conformance.report.judging import (
    CORE,
    GUARANTEES,
    LEVELS,
    Standing,
    Verdict,
    counts,
    level_of,
    next_level,
    obstacles,
    standing_of,
    verdict_of,
)
from pytest_aistorage.conformance.report.specification import specified

LINEARIZABLE = Capability.LINEARIZABLE.value
UNSHOWN = (Status.SKIPPED, Status.INCONCLUSIVE, Status.DEVIATION)


def test_every_capability_has_a_level() -> None:
    """Each capability belongs to one level, and no level asks for anything else."""
    assert sorted(GUARANTEES) == sorted([CORE, *(capability.value for capability in Capability)])
    assert [level.number for level in LEVELS] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("statuses", "standing"),
    [
        ([Status.PASSED, Status.PASSED], Standing.KEPT),
        ([Status.PASSED, Status.NOT_APPLICABLE], Standing.KEPT),
        ([Status.PASSED, Status.FAILED], Standing.BROKEN),
        ([Status.FAILED, Status.SKIPPED], Standing.BROKEN),
        *(([Status.PASSED, status], Standing.NOT_SHOWN) for status in UNSHOWN),
        ([Status.NOT_APPLICABLE], Standing.NOT_SHOWN),
        ([], Standing.NOT_SHOWN),
    ],
)
@pytest.mark.parametrize("declared", [(LINEARIZABLE,), None])
def test_declared_guarantee(statuses, standing, declared) -> None:
    """It is kept if all of its tests that apply have passed, and there is one."""
    tests = [result(f"test_{i}", s, requires=(LINEARIZABLE,)) for i, s in enumerate(statuses)]
    assert standing_of(backend(*tests, declared=declared), LINEARIZABLE) is standing


@pytest.mark.parametrize("status", [*UNSHOWN, Status.FAILED])
def test_what_a_test_is_about_need_not_be_what_it_requires(status) -> None:
    """It then stops the verdict and no level."""
    memory = result("test_memory", status, requires=(LINEARIZABLE,), evidence_for=())
    tested = backend(*full().tests, memory, declared=full().declared)
    assert (standing_of(tested, LINEARIZABLE), level_of(tested)) == (Standing.KEPT, LEVELS[4])
    verdict = {Status.FAILED: Verdict.FAILED, Status.INCONCLUSIVE: Verdict.PASSED}
    assert verdict_of(tested) is verdict.get(status, Verdict.INCOMPLETE)


def test_bounded_memory_is_about_no_level() -> None:
    """A deviation from it says nothing against linearizability, which only says of whom it is asked."""
    asked = specified()["test_iteration_is_in_bounded_memory"]
    assert (asked.requires, asked.evidence_for) == ((LINEARIZABLE,), ())


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        (Status.PASSED, Standing.LOSS_SHOWN),
        (Status.INCONCLUSIVE, Standing.INCONCLUSIVE),
        (Status.FAILED, Standing.BROKEN),
        (Status.SKIPPED, Standing.NOT_DECLARED),
        (Status.DEVIATION, Standing.NOT_DECLARED),
        (None, Standing.NOT_DECLARED),
    ],
)
def test_undeclared_guarantee(status, standing) -> None:
    """The tests of its lack say whether the loss was shown; the tests that require it do not apply."""
    tests = [result("test_away", Status.NOT_APPLICABLE, requires=(LINEARIZABLE,))]
    if status is not None:
        tests.append(result("test_lack", status, unless=LINEARIZABLE))
    assert standing_of(backend(*tests), LINEARIZABLE) is standing


def test_lack_of_a_feature_is_no_loss() -> None:
    """Without EXPIRY a time to live is refused: nothing is lost."""
    tested = backend(result(unless="expiry"))
    assert standing_of(tested, "expiry") is Standing.NOT_DECLARED


def test_tests_of_the_lack_say_nothing_of_what_is_declared() -> None:
    """They don't apply to it, and do not count as its tests."""
    tested = backend(result(unless=LINEARIZABLE), declared=(LINEARIZABLE,))
    assert standing_of(tested, LINEARIZABLE) is Standing.NOT_SHOWN


def test_highest_level() -> None:
    """Everything declared and kept: the last level, and nothing stands before the next."""
    assert level_of(full()) is LEVELS[4]
    assert next_level(full()) is None
    assert obstacles(full()) == {}


@pytest.mark.parametrize("status", [*UNSHOWN, Status.FAILED, Status.NOT_APPLICABLE])
@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_one_guarantee_stops_its_level(guarantee, status) -> None:
    """Whatever is not passed stops the level that asks for it, and no level below."""
    tested = full(**{guarantee.replace("-", "_"): status})
    (asked,) = (level for level in LEVELS if guarantee in level.guarantees)
    assert level_of(tested).number == asked.number - 1
    assert [name for names in obstacles(tested).values() for name in names] == [guarantee]


def test_fake_is_no_evidence() -> None:
    """A simulated backend reaches the core and shows no guarantee."""
    real = full()
    fake = backend(*real.tests, declared=real.declared, simulated=True)
    assert level_of(fake) is LEVELS[1]
    assert standing_of(fake, LINEARIZABLE) is Standing.NOT_SHOWN
    assert standing_of(fake, CORE) is Standing.KEPT


@pytest.mark.parametrize(
    ("status", "given", "verdict"),
    [
        (Status.PASSED, {}, Verdict.PASSED),
        (Status.NOT_APPLICABLE, {}, Verdict.PASSED),
        (Status.FAILED, {}, Verdict.FAILED),
        (Status.FAILED, {"unless": LINEARIZABLE}, Verdict.FAILED),
        *((status, {}, Verdict.INCOMPLETE) for status in UNSHOWN),
        (Status.SKIPPED, {"unless": LINEARIZABLE}, Verdict.INCOMPLETE),
        (Status.INCONCLUSIVE, {"unless": LINEARIZABLE}, Verdict.PASSED),
    ],
)
def test_verdict(status, given, verdict) -> None:
    """It is passed if everything that was to be shown was; chance may leave open what is not claimed."""
    assert verdict_of(backend(result(), result("test_two", status, **given))) is verdict


@pytest.mark.parametrize("tests", [[], [Status.NOT_APPLICABLE], [Status.SKIPPED]])
def test_nothing_passed_is_not_passed(tests) -> None:
    """A run in which no test passed is incomplete, whatever the reasons."""
    assert verdict_of(backend(*(result(status=status) for status in tests))) is Verdict.INCOMPLETE


def test_counts_have_every_status() -> None:
    """Also those that did not occur."""
    found = counts(backend(result(), result("test_two", Status.SKIPPED)))
    assert list(found) == list(Status)
    assert sum(found.values()) == 2
