"""Batches and listings in Redis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from real_redis import Server, progress

from pytest_aistorage.backends.redis import RedisStorage
from pytest_aistorage.errors import (
    CorruptStorageError,
    StorageUnavailableError,
)
from pytest_aistorage.progress import ProgressQuery


def test_a_big_batch_keeps_the_order_of_the_input(storage: RedisStorage) -> None:
    """10 000 records in one call: more than Lua's stack holds, results as given, all there."""
    names = [f"model-{(i * 7919) % 10_000:05}" for i in range(10_000)]
    saved = storage.save_many(progress(name, float(i)) for i, name in enumerate(names))
    assert [record.model_name for record in saved] == names
    assert {record.version for record in saved} == {1}
    assert storage.load_progress() == sorted(saved, key=lambda record: record.model_name)
    assert list(storage.iter_progress()) == storage.load_progress()
    assert storage.get_storage_info().model_count == 10_000


@pytest.mark.parametrize("damage", ["foreign type", "no record"])
def test_a_batch_that_fails_writes_nothing(storage: RedisStorage, raw: Any, prefix: str, damage: str) -> None:
    """A key in the middle that can't be read fails the batch before the first write."""
    old = storage.save_progress(progress("a"))
    if damage == "foreign type":
        raw.rpush(f"{prefix}record:b", "x")
    else:
        raw.set(f"{prefix}record:b", "x")
    with pytest.raises(CorruptStorageError):
        storage.save_many([progress("a", 9.0), progress("b", 9.0), progress("c", 9.0)])
    assert storage.get_progress("a") == old
    assert storage.get_progress("c") is None
    assert [record.version for record in storage.save_many([progress("a"), progress("c")])] == [2, 1]


def test_a_batch_in_a_full_memory_writes_nothing(private: Callable[..., Server]) -> None:
    """The server refuses the first write of a batch, and with it the whole."""
    server = private("--maxmemory-policy", "noeviction")
    with RedisStorage(server.url) as storage, server.client() as raw:
        storage.save_progress(progress("a"))
        raw.config_set("maxmemory", 1)
        for batch in (["a", "b"], ["b", "a"]):
            with pytest.raises(StorageUnavailableError, match="maxmemory"):
                storage.save_many(progress(name) for name in batch)
        assert storage.delete_progress("a") == 2
        raw.config_set("maxmemory", 0)
        assert storage.load_progress() == []
        assert [record.version for record in storage.save_many([progress("a"), progress("b")])] == [3, 1]


def test_names_are_exact_and_listed_in_code_point_order(storage: RedisStorage) -> None:
    """Case, accents and spaces count; a name beyond the BMP comes last, unlike in UTF-16 order."""
    names = ["a", "A", "a ", " a", "á", "a\u0301", "ß", "ss", "\uffff", "\U0001f600", "a\n", "a:b", "z" * 255]
    storage.save_many(progress(name) for name in names)
    assert [record.model_name for record in storage.load_progress()] == sorted(names)
    assert [record.model_name for record in storage.iter_progress(batch_size=1)] == sorted(names)
    found = storage.query_progress(ProgressQuery(name_prefix="a"))
    assert [record.model_name for record in found] == sorted(n for n in names if n.startswith("a"))
    for name in names:
        assert storage.get_progress(name) is not None


def test_a_model_that_is_there_throughout_is_iterated_once(storage: RedisStorage) -> None:
    """Deletes, expiries and inserts around each batch neither skip nor repeat the others."""
    stable = [f"{i:03}-stable" for i in range(60)]
    storage.save_many(progress(name) for name in stable)
    storage.save_many(progress(f"{i:03}-gone") for i in range(60))
    seen = []
    for step, record in enumerate(storage.iter_progress(batch_size=3)):
        seen.append(record.model_name)
        storage.delete_progress(f"{step:03}-gone")
        storage.expire_now(f"{59 - step % 60:03}-gone")
        storage.save_many([progress(f"{step:03}-late"), progress(stable[step % 60])])
    assert [name for name in seen if name.endswith("stable")] == stable
    assert len(seen) == len(set(seen))


def test_a_query_filters_orders_and_pages(storage: RedisStorage) -> None:
    """Bounds, order and keyset paging, over a range of names."""
    storage.save_many(progress(f"run/{i}", mse=i % 3, metadata={"even": i % 2 == 0}) for i in range(9))
    storage.save_progress(progress("other", 0.0))
    query = ProgressQuery(name_prefix="run/", max_mse=1.0, metadata={"even": True}, order_by="-mse", limit=2)
    page = storage.query_progress(query)
    assert [record.model_name for record in page] == ["run/4", "run/0"]
    rest = storage.query_progress(dataclasses.replace(query, after=page[-1]))
    assert [record.model_name for record in rest] == ["run/6"]
