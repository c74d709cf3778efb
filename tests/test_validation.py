"""The rules of the record. The contract tests try each of them on every backend; here is what stays inside."""

from __future__ import annotations

import enum
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given

from pytest_aistorage import AIProgress, InvalidProgressError, ProgressQuery
from pytest_aistorage.conformance import strategies
from pytest_aistorage.validation import checked_progress, checked_query, checked_ttl


class Colour(enum.StrEnum):
    """A text with a str() of its own."""

    RED = "red"

    def __str__(self) -> str:
        return "Colour.RED"


class Level(enum.IntEnum):
    """An int by name."""

    HIGH = 3


@given(strategies.progress())
def test_checking_twice_changes_nothing(progress: AIProgress) -> None:
    """The stored form of a record is stored as it is."""
    once = checked_progress(progress)
    assert checked_progress(once) == once


def test_stored_form_has_no_stamps_and_a_copy_of_the_metadata() -> None:
    """The stamps of the input are dropped; nothing mutable is shared."""
    inner = [1]
    checked = checked_progress(AIProgress(model_name="m", mse=1, metadata={"k": inner}, version=9))
    assert (checked.version, type(checked.mse)) == (0, float)
    assert checked.metadata["k"] is not inner


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (OrderedDict(a=1), {"a": 1}),
        (-0.0, 0.0),
    ],
)
def test_subclasses_become_plain(given: Any, plain: Any) -> None:
    """What is a str, int or dict of a special kind is stored as the plain type."""
    value = checked_progress(AIProgress(model_name="m", mse=0.5, metadata={"k": given})).metadata["k"]
    assert (value, type(value), str(value)) == (plain, type(plain), str(plain))


def test_metadata_may_be_any_mapping() -> None:
    """A read-only view of a dict will do; nested, only what JSON knows."""
    assert checked_progress(
        AIProgress(model_name="m", mse=0.5, metadata=MappingProxyType({"k": 1}))
    ).metadata == {"k": 1}
    with pytest.raises(InvalidProgressError):
        checked_progress(AIProgress(model_name="m", mse=0.5, metadata={"k": MappingProxyType({})}))


def test_path_leads_to_the_value() -> None:
    """The error gives the keys and indexes on the way."""
    metadata = {"a": [0, {"b": float("nan")}]}
    with pytest.raises(InvalidProgressError) as caught:
        checked_progress(AIProgress(model_name="m", mse=0.5, metadata=metadata))
    assert caught.value.path == ("a", 1, "b")


def test_moment_of_a_subclass_becomes_plain() -> None:
    """pandas.Timestamp and the like come back as datetime.datetime."""

    class Stamp(datetime):
        pass

    zone = timezone(timedelta(hours=2))
    start = checked_progress(
        AIProgress(model_name="m", mse=0.5, training_start=Stamp(2024, 1, 1, tzinfo=zone))
    ).training_start
    assert (type(start), start) == (datetime, datetime(2023, 12, 31, 22, tzinfo=UTC))


@pytest.mark.parametrize("ttl", [timedelta(milliseconds=1), timedelta(days=36525), None])
def test_ttl_reaches_its_limits(ttl: timedelta | None) -> None:
    """From 1 ms to 100 years."""
    assert checked_ttl(ttl) == ttl


def test_place_of_a_query_is_checked() -> None:
    """`after` is a record, with its stamps."""
    place = AIProgress(model_name="m", mse=1, version=3, updated_at=datetime(2024, 1, 1, tzinfo=UTC))
    checked = checked_query(ProgressQuery(after=place)).after
    assert checked is not None
    assert (checked.version, checked.updated_at, type(checked.mse)) == (3, place.updated_at, float)
    with pytest.raises(InvalidProgressError, match="version"):
        checked_query(ProgressQuery(after=AIProgress(model_name="m", mse=0.5, version=-1)))


def test_a_time_zone_that_raises_is_refused() -> None:
    """A time zone is anybody's code; what it raises names the field."""

    class Broken(tzinfo):
        def utcoffset(self, moment: datetime | None) -> timedelta:
            raise ZeroDivisionError

    with pytest.raises(InvalidProgressError) as caught:
        checked_progress(
            AIProgress(model_name="m", mse=1.0, training_end=datetime(2024, 1, 1, tzinfo=Broken()))
        )
    assert caught.value.field == "training_end"
