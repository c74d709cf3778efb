"""Goals, what stands below a figure, and promises that were broken."""

from __future__ import annotations

import math

import pytest
from sample_reports import outcome

from pytest_aistorage.bench.figures import Goal, Row, Shown


@pytest.mark.parametrize(
    ("goal", "met", "missed"), [(Goal(1.5, ""), 1.5, 1.51), (Goal(10.0, "", at_least=True), 10.0, 9.99)]
)
def test_a_goal_is_met_by_its_limit(goal: Goal, met: float, missed: float) -> None:
    """And missed beyond it, and by what could not be measured."""
    for figure, expected in ((met, []), (missed, ["x"]), (math.nan, ["x"])):
        assert Row(labels=("r",), figures={"x": figure}, goals={"x": goal}).missed == expected
    assert Row(labels=("r",), figures={}, goals={"x": goal}).missed == ["x"]


def test_a_missed_goal_is_told_with_row_figure_and_limit() -> None:
    """One line for each."""
    (line,) = outcome().missed
    assert line == (
        "table: redis, appendfsync everysec, append-only file, fsync each second: write p50 0.400 ms, goal ≤ 0.3 ms"
    )


def test_what_stands_below_a_figure() -> None:
    """Its goal; where it has none, the figure that it is shown beside."""
    table = outcome().reports[0]
    first, second = table.rows
    assert table.small_print(first, table.columns[0]) == "guide 10.0"
    assert table.small_print(second, table.columns[0]) == "≤ 0.3"
    assert [column.name for column in table.main_columns] == ["write p50", "concurrent-safe", "persistent"]


def test_only_a_promise_can_be_broken() -> None:
    """The file loses what it never promised; the other one what it did."""
    (line,) = outcome().broken
    assert line.startswith("redis, appendfsync everysec")
    assert "persistent: loss shown, though promised: 1 of 2 by power loss" in line
    assert not Shown(good=None, words="not shown", promised=True).broken
