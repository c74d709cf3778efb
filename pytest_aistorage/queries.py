"""What a query means, in plain Python: for backends that filter on the client's side, and to check the others by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .progress import AIProgress, ProgressQuery

__all__ = ["matches", "metadata_matches", "run_query", "same_json"]


def run_query(query: ProgressQuery, records: Iterable[AIProgress]) -> list[AIProgress]:
    """Return the records that match, ordered, behind ``query.after``, at most ``query.limit`` of them.

    Args:
        query: as `pytest_aistorage.validation.checked_query` returns it.
        records: all records that come into question, in any order.
    """
    field = query.order_by.removeprefix("-")
    descending = query.order_by.startswith("-")
    found = [record for record in records if matches(query, record)]
    # Stable sorts: by name, then by value, with the absent behind the others either way.
    found.sort(key=lambda record: record.model_name, reverse=descending and field == "model_name")
    if field != "model_name":
        present = [record for record in found if getattr(record, field) is not None]
        absent = [record for record in found if getattr(record, field) is None]
        present.sort(key=lambda record: getattr(record, field), reverse=descending)
        found = present + absent
    if query.after is not None:
        found = [record for record in found if _is_behind(record, query.after, field, descending)]
    return found if query.limit is None else found[: query.limit]


def matches(query: ProgressQuery, record: AIProgress) -> bool:
    """Say whether the record meets every condition of the query; order, limit and place apart."""
    if query.name_prefix is not None and not record.model_name.startswith(query.name_prefix):
        return False
    if query.max_mse is not None and record.mse > query.max_mse:
        return False
    for bound, value in (
        (query.min_accuracy, record.accuracy),
        (query.min_training_samples, record.training_samples),
        (query.updated_since, record.updated_at),
    ):
        if bound is not None and (value is None or value < bound):  # type: ignore[operator]  # pairs of one type
            return False
    return metadata_matches(query, record)


def metadata_matches(query: ProgressQuery, record: AIProgress) -> bool:
    """Say whether each top-level key that the query names is there, with an equal value of the same type."""
    if not query.metadata:
        return True
    return all(
        key in record.metadata and same_json(record.metadata[key], value)
        for key, value in query.metadata.items()
    )


def same_json(left: Any, right: Any) -> bool:
    """Compare two JSON values with their types: ``True``, ``1`` and ``1.0`` all differ."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)


def _is_behind(record: AIProgress, place: AIProgress, field: str, descending: bool) -> bool:
    if field == "model_name":
        if descending:
            return record.model_name < place.model_name
        return record.model_name > place.model_name
    value, bound = getattr(record, field), getattr(place, field)
    if (value is None) != (bound is None):
        return value is None
    if value == bound:
        return record.model_name > place.model_name
    return bool(value < bound if descending else value > bound)
