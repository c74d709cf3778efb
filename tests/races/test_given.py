"""What an application gives to be raced: nothing passes that did not run, and whatever ends it is told."""

from __future__ import annotations

import functools

import pytest
import race_functions as app

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.races import Bound, RaceError, SameModel
from pytest_aistorage.races.racing import Racing


@pytest.fixture(params=["memory", "sqlite"])
def race(request, pool, subject_of, tmp_path):
    """Races by threads, and by processes."""
    return Racing(subject_of(request.param).fresh().opener, pool, tmp_path / "found", name=request.param)


class _Later:
    async def __call__(self, storage):
        app.count(storage)


IDLE = {
    "async": (app.count_later, "count_later is async"),
    "a partial of it": (functools.partial(app.count_later), "count_later is async"),
    "an object": (_Later(), "is async"),
    "a generator": (app.count_in_pieces, "count_in_pieces is a generator"),
    "a class": (SameModel, "is no function"),
}


@pytest.mark.parametrize(("function", "said"), IDLE.values(), ids=IDLE)
@pytest.mark.parametrize("place", ["step", "setup", "invariant"])
def test_what_would_not_run_is_refused(race, function, said, place):
    """It would pass, and nothing was done: as a step, as a setup and as an invariant, at full speed and explored."""
    given = {"step": app.count, "setup": app.start, "invariant": app.is_even, place: function}
    step = given.pop("step")
    with pytest.raises(RaceError, match=said):
        race(step, operations=2, **given)
    with pytest.raises(RaceError, match=said):
        race.explore(step, step, **given)


def test_what_is_no_function_is_not_explored(race):
    """Nor is a workload, which is not called with a storage."""
    with pytest.raises(RaceError, match="is no function"):
        race.explore(SameModel(), app.count)


@pytest.mark.parametrize("bound", [{"schedules": 0}, {"preemptions": -1}, {"kills": 0}])
def test_a_bound_leaves_something(bound):
    """No violation in no schedule is no result."""
    with pytest.raises(ConfigurationError, match="nothing to explore"):
        Bound(**bound)


def test_a_function_that_ends_the_program_has_failed(race):
    """It says so at once, with the words that it ended with; of the tests' process it ends nothing."""
    with pytest.raises(AssertionError, match=r"P1 \(leave\) raised RuntimeError: SystemExit: no epochs left"):
        race.explore(app.leave, app.count, setup=app.start)
    with pytest.raises(
        AssertionError, match=r"8 times the code that raced raised .*SystemExit: no epochs left"
    ):
        race(app.leave, threads=2, operations=8)


def test_an_invariant_may_fail_as_pytest_does(race):
    """What `pytest.fail` raises is no Exception, and is a failure of the schedule; a skip is one of the test."""
    with pytest.raises(AssertionError, match="does not hold: not enough"):
        race.explore(
            app.count, app.count, setup=app.start, invariant=lambda storage: pytest.fail("not enough")
        )
    with pytest.raises(pytest.skip.Exception):
        race.explore(app.count, app.count, setup=app.start, invariant=lambda storage: pytest.skip("no"))


def test_what_a_function_returns_need_not_be_sent(race):
    """Nobody asks for it."""
    both = functools.partial(app.counted, 2)
    assert race.explore(app.count_and_keep, app.count_and_keep, setup=app.start, invariant=both)
