"""The sequential specification: pure, and what the memory storage does as well."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_aistorage import (
    AIProgress,
    InvalidProgressError,
    MemoryStorage,
    ProgressQuery,
    VersionConflictError,
)
from pytest_aistorage import model as spec

_M = AIProgress(model_name="m", mse=0.5)
_HOUR = timedelta(hours=1)


def _after(*operations: spec.Operation) -> tuple[spec.State, spec.Result]:
    state, result = spec.EMPTY, spec.Listed(())
    for operation in operations:
        state, result = spec.step(state, operation)  # type: ignore[assignment]  # any result
    return state, result


def test_versions_count_saves_updates_and_deletes() -> None:
    """Each takes the next version, and a model that comes back goes on."""
    _, result = _after(spec.Save(_M), spec.Update("m", lambda _: _M), spec.Delete("m"))
    assert result == spec.Deleted(3)
    _, result = _after(spec.Save(_M), spec.Delete("m"), spec.Save(_M))
    assert isinstance(result, spec.Saved)
    assert result.record.version == 3


def test_conflict_is_a_result() -> None:
    """A compare-and-set on another version reports the one that it met, and changes nothing."""
    before, _ = _after(spec.Save(_M))
    after, result = spec.step(before, spec.Save(_M, expected_version=7))
    assert result == spec.Conflicted("m", 7, 1)
    assert after is before
    state, _ = _after(spec.Save(_M), spec.Delete("m"))
    assert spec.step(state, spec.Delete("m", expected_version=2))[1] == spec.Conflicted("m", 2, 0)


def test_expiry_is_counted_by_the_next_change() -> None:
    """An expiry takes its version lazily, and once."""
    state, result = _after(spec.Save(_M, ttl=_HOUR), spec.Expire("m"))
    assert (result, state["m"].version, state["m"].owes_version) == (spec.Expired(True), 1, True)
    state, result = spec.step(state, spec.Delete("m"))
    assert result == spec.Deleted(None)
    _, result = spec.step(state, spec.Save(_M, expected_version=0))
    assert isinstance(result, spec.Saved)
    assert result.record.version == 3


def test_update_keeps_the_time_to_live() -> None:
    """An update leaves the time to live, and a save replaces it."""
    state, _ = _after(spec.Save(_M, ttl=_HOUR), spec.Update("m", lambda _: _M))
    assert state["m"].ttl == _HOUR
    assert spec.step(state, spec.Save(_M))[0]["m"].ttl is None


def test_change_that_fails_is_a_result() -> None:
    """What the change raises is the result; a bad result of it is an InvalidProgressError."""
    error = LookupError("mine")

    def raising(_: AIProgress | None) -> AIProgress:
        raise error

    state, result = _after(spec.Save(_M), spec.Update("m", raising))
    assert result == spec.Raised(error)
    assert state["m"].version == 1
    for bad in (None, dataclasses.replace(_M, model_name="n"), dataclasses.replace(_M, mse=float("nan"))):
        _, result = spec.step(state, spec.Update("m", lambda _, returned=bad: returned))  # type: ignore[misc]
        assert isinstance(result, spec.Raised)
        assert isinstance(result.error, InvalidProgressError)


def test_moments_are_stamped_where_they_are_given() -> None:
    """created_at is the first moment, updated_at the latest, and never an earlier one."""
    first, second = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
    state, _ = spec.step(spec.EMPTY, spec.Save(_M), moment=second)
    state, _ = spec.step(state, spec.Save(_M), moment=first)
    record = state["m"].record
    assert record is not None
    assert (record.created_at, record.updated_at) == (second, second)


def test_states_are_values() -> None:
    """A step leaves the state before as it was; equal states hash alike."""
    before, _ = _after(spec.Save(_M))
    again, _ = _after(spec.Save(_M))
    spec.step(before, spec.Delete("m"))
    assert before == again
    assert hash(before) == hash(again)
    with pytest.raises(TypeError):
        before.models["n"] = spec.ABSENT  # type: ignore[index]  # what is tested


_NAMES = st.sampled_from(["a", "b"])
_RECORDS = st.builds(AIProgress, model_name=_NAMES, mse=st.sampled_from([0.1, 0.2]))
_VERSIONS = st.none() | st.integers(0, 5)
_OPERATIONS = st.one_of(
    st.builds(spec.Save, _RECORDS, _VERSIONS, st.sampled_from([None, _HOUR])),
    st.builds(spec.SaveMany, st.lists(_RECORDS, unique_by=lambda r: r.model_name, max_size=2).map(tuple)),
    st.builds(spec.Get, _NAMES),
    st.builds(spec.Update, _NAMES, st.just(lambda current: current or AIProgress(model_name="a", mse=0.3))),
    st.builds(spec.Delete, _NAMES, _VERSIONS),
    st.builds(spec.Expire, _NAMES),
    st.just(spec.Load()),
    st.builds(
        spec.Query, st.builds(ProgressQuery, max_mse=st.sampled_from([None, 0.1]), order_by=st.just("-mse"))
    ),
)


def _done(storage: MemoryStorage, operation: spec.Operation) -> spec.Result:
    """The result of the operation on a real storage."""
    try:
        match operation:
            case spec.Save(progress, expected, ttl):
                return spec.Saved(storage.save_progress(progress, expected_version=expected, ttl=ttl))
            case spec.SaveMany(progresses):
                return spec.SavedMany(tuple(storage.save_many(progresses)))
            case spec.Get(name):
                return spec.Found(storage.get_progress(name))
            case spec.Update(name, change):
                return spec.Saved(storage.update_progress(name, change))
            case spec.Delete(name, expected):
                return spec.Deleted(storage.delete_progress(name, expected_version=expected))
            case spec.Expire(name):
                return spec.Expired(storage.expire_now(name))
            case spec.Load():
                return spec.Listed(tuple(storage.load_progress()))
            case spec.Query(query):
                return spec.Listed(tuple(storage.query_progress(query)))
    except VersionConflictError as conflict:
        return spec.Conflicted(conflict.model_name, conflict.expected, conflict.actual)
    except InvalidProgressError as error:
        return spec.Raised(error)


@given(st.lists(_OPERATIONS, max_size=25))
def test_memory_storage_agrees(operations: list[spec.Operation]) -> None:
    """Operation after operation the memory storage returns what the specification does, moments included."""
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    with MemoryStorage(clock=lambda: moment) as storage:
        state = spec.EMPTY
        for operation in operations:
            moment += timedelta(seconds=1)
            state, wanted = spec.step(state, operation, moment=moment)
            got = _done(storage, operation)
            if isinstance(wanted, spec.Raised):
                assert isinstance(got, spec.Raised), f"{operation}: expected {wanted}, got {got}"
            else:
                assert got == wanted, f"{operation}: expected {wanted}, got {got}"
