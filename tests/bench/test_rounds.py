"""Rounds: who is called when and how often, and what is made of the durations."""

from __future__ import annotations

import gc

import pytest

from pytest_aistorage.bench.rounds import Contest, Samples, contest, percentile


def test_contestants_take_turns_and_the_order_is_reversed() -> None:
    """Each makes its calls in one piece, every second round begins with the other; numbers never come twice."""
    said: list[tuple[str, int]] = []
    found = contest(
        {"a": lambda call: said.append(("a", call)), "b": lambda call: said.append(("b", call))},
        rounds=2,
        calls={"a": 2, "b": 1},
        warm_up=1,
    )
    assert said == [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 3), ("a", 4)]
    assert [len(one) for one in found.samples["a"].rounds] == [2, 2]
    assert [len(one) for one in found.samples["b"].rounds] == [1, 1]


def test_a_budget_ends_after_three_rounds_at_the_earliest() -> None:
    """A median needs some rounds, however little time there is; and fewer are made if fewer are asked for."""
    spent = contest({"a": lambda call: None}, rounds=50, calls=1, budget=0.0)
    assert len(spent.samples["a"].rounds) == 3
    assert len(contest({"a": lambda call: None}, rounds=2, calls=1, budget=0.0).samples["a"].rounds) == 2
    assert len(contest({"a": lambda call: None}, rounds=5, calls=1, budget=60.0).samples["a"].rounds) == 5


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """A round in which the machine was busy slows both, and changes no ratio."""
    found = Contest({"a": Samples([[0.2], [20.0], [0.9]]), "b": Samples([[0.1], [10.0], [0.3]])})
    assert found.ratio("a", "b") == pytest.approx(2.0)
    assert found.samples["a"].median == pytest.approx(900.0)


def test_percentiles() -> None:
    """Of all calls, in milliseconds."""
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(range(1, 101), 99) == 100
    assert Samples([[0.001, 0.002], [0.003]]).percentile(50) == pytest.approx(2.0)


def test_garbage_is_collected_again_afterwards() -> None:
    """Also where a contestant raised."""
    seen: list[bool] = []

    def fail(call: int) -> None:
        seen.append(gc.isenabled())
        if call:
            raise LookupError

    with pytest.raises(LookupError):
        contest({"a": fail}, rounds=1, calls=1, warm_up=1)
    assert seen == [True, False]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
