"""Records, versions and stamps in Redis."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from real_redis import HOUR, plus_one, progress

from pytest_aistorage import codec
from pytest_aistorage.backends.redis import RedisStorage
from pytest_aistorage.errors import (
    VersionConflictError,
)


def test_a_record_comes_back_as_it_was_saved(storage: RedisStorage) -> None:
    """Every field survives the way to the server and back, types included."""
    moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
    record = progress(
        "Modell ä / 模型 😀 ",
        1e-308,
        accuracy=0.1 + 0.2,
        cross_validation_score=1e16,
        training_samples=2**31 - 1,
        training_start=moment,
        training_end=moment + HOUR,
        metadata={"i": -(2**63), "f": 1.0, "n": None, "b": True, "t": "a b\n☃", "l": [1, [2, {"x": ""}]]},
    )
    saved = storage.save_progress(record)
    assert storage.get_progress(record.model_name) == saved
    assert dataclasses.replace(saved, version=0, created_at=None, updated_at=None) == record


def test_versions_outlive_a_deleted_record(storage: RedisStorage) -> None:
    """Save, update and delete take a version each, and the next life goes on counting."""
    assert storage.save_progress(progress()).version == 1
    assert storage.update_progress("m", plus_one).version == 2
    assert storage.delete_progress("m") == 3
    assert storage.delete_progress("m") is None
    assert storage.get_progress("m") is None
    assert storage.save_progress(progress()).version == 4


@pytest.mark.parametrize("settled_by", ["save", "cas", "delete", "failed cas", "batch", "update"])
def test_an_expiry_takes_its_version_at_the_next_mutation(storage: RedisStorage, settled_by: str) -> None:
    """A record that expired at version 1 comes back at version 3, whatever notices the expiry first."""
    storage.save_progress(progress())
    assert storage.expire_now("m")
    assert not storage.expire_now("m")
    assert storage.get_progress("m") is None
    if settled_by == "delete":
        assert storage.delete_progress("m") is None
    elif settled_by == "failed cas":
        with pytest.raises(VersionConflictError) as caught:
            storage.save_progress(progress(), expected_version=1)
        assert (caught.value.expected, caught.value.actual) == (1, 0)
    if settled_by == "batch":
        [reborn] = storage.save_many([progress()])
    elif settled_by == "update":
        reborn = storage.update_progress("m", plus_one)
    else:
        reborn = storage.save_progress(progress(), expected_version=0 if settled_by == "cas" else None)
    assert reborn.version == 3
    assert storage.load_progress() == [reborn]


def test_compare_and_set(storage: RedisStorage) -> None:
    """Another version is a conflict that names both, and writes nothing."""
    first = storage.save_progress(progress(), expected_version=0)
    for expected in (0, 2, 2**63 - 1):
        with pytest.raises(VersionConflictError) as caught:
            storage.save_progress(progress(mse=9.0), expected_version=expected)
        assert (caught.value.expected, caught.value.actual) == (expected, 1)
        with pytest.raises(VersionConflictError):
            storage.delete_progress("m", expected_version=expected)
    assert storage.get_progress("m") == first
    assert storage.save_progress(progress(), expected_version=1).version == 2
    assert storage.delete_progress("m", expected_version=2) == 3
    assert storage.delete_progress("m", expected_version=0) is None
    with pytest.raises(VersionConflictError) as caught:
        storage.delete_progress("m", expected_version=3)
    assert caught.value.actual == 0


def test_stamps(storage: RedisStorage, raw: Any, prefix: str) -> None:
    """created_at stays for a life, a reborn record gets a new one, and updated_at does not go back."""
    seconds, microseconds = raw.time()
    before = codec.from_microseconds(seconds * 1_000_000 + microseconds)
    first = storage.save_progress(progress())
    second = storage.save_progress(progress())
    assert first.created_at is not None
    assert second.created_at is not None
    assert second.updated_at is not None
    assert before <= first.created_at == first.updated_at
    assert first.created_at == second.created_at <= second.updated_at
    # As if the server's clock had been set back since: the record is from the year 2100.
    version, created, _, fields = raw.get(f"{prefix}record:m").split(b" ", 3)
    future = datetime(2100, 1, 1, tzinfo=UTC)
    ahead = str(codec.to_microseconds(future)).encode()
    raw.set(f"{prefix}record:m", b" ".join([version, created, ahead, fields]))
    assert storage.save_progress(progress()).updated_at == future
    assert storage.update_progress("m", plus_one).updated_at == future
    storage.delete_progress("m")
    reborn = storage.save_progress(progress())
    assert reborn.created_at is not None
    assert first.created_at < reborn.created_at < future
