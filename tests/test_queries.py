"""What a query means, in plain Python: checked against a definition that sorts by one key."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_aistorage import AIProgress, ProgressQuery
from pytest_aistorage.conformance import strategies
from pytest_aistorage.queries import matches, run_query, same_json


def _by_definition(query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
    """Insert each record before the first that it does not come behind of."""
    field, descending = query.order_by.removeprefix("-"), query.order_by.startswith("-")

    def before(one: AIProgress, other: AIProgress) -> bool:
        left, right = getattr(one, field), getattr(other, field)
        if left is None or right is None:
            return left is not None or (right is None and one.model_name < other.model_name)
        if left != right:
            return bool(left > right if descending else left < right)
        return one.model_name < other.model_name

    ordered: list[AIProgress] = []
    for record in records:
        place = sum(before(other, record) for other in ordered)
        ordered.insert(place, record)
    if query.after is not None:
        ordered = [record for record in ordered if before(query.after, record)]
    return ordered[: query.limit]


@given(strategies.corpora(), st.sampled_from(strategies.ORDERS), st.none() | st.integers(0, 9), st.data())
def test_order_place_and_limit_agree_with_their_definition(
    records: list[AIProgress], order: str, limit: int | None, data: st.DataObject
) -> None:
    """Sorting in steps gives what pairwise comparison gives."""
    after = data.draw(st.none() | st.sampled_from(records))
    query = ProgressQuery(order_by=order, limit=limit, after=after)
    assert run_query(query, records) == _by_definition(query, records)


@given(strategies.corpora(), st.data())
def test_answer_is_part_of_the_matches(records: list[AIProgress], data: st.DataObject) -> None:
    """Whatever the query, each record of the answer meets its conditions, and comes once."""
    query = data.draw(strategies.queries(records))
    answer = run_query(query, records)
    assert all(matches(query, record) for record in answer)
    assert len({record.model_name for record in answer}) == len(answer)


@given(strategies.json_values())
def test_equal_values_are_the_same(value: Any) -> None:
    """A value is the same as itself, and as no list of it."""
    assert same_json(value, value)
    assert not same_json(value, [value])


def test_types_tell_values_apart() -> None:
    """1, 1.0 and True differ, however deep."""
    values: list[Any] = [1, 1.0, True, "1", None, [1], [1.0], {"k": 1}, {"k": True}, {"k": 1, "l": None}, {}]
    for index, left in enumerate(values):
        for other, right in enumerate(values):
            assert same_json(left, right) == (index == other), f"{left!r} and {right!r}"
