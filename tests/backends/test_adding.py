"""Records of absent models, many at a time: what a migration writes is what a save would have written."""

from __future__ import annotations

import dataclasses
import random
import struct
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pytest_aistorage import AIProgress, AIStorage
from pytest_aistorage.codec import fields_to_text
from pytest_aistorage.validation import checked_batch

ALL = ("memory", "file", "sqlite", "postgres", "redis", "mysql", "hybrid")


def records(count: int) -> list[AIProgress]:
    """Every kind of value, at its bounds and in between; names that sort, quote and escape badly."""
    rng = random.Random(7)
    floats = [0.1, 5e-324, 1.7976931348623157e308, -1e16, 1e22, 123456789.123456789, 0.0]
    moments = [
        None,
        datetime(1000, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2026, 2, 3, 4, 5, 6, 7, timezone(timedelta(hours=5, minutes=30))),
    ]
    metadata: list[dict[str, Any]] = [
        {},
        {
            "int": 2**63 - 1,
            "least": -(2**63),
            "float": 1e16,
            "whole": 1.0,
            "one": 1,
            "true": True,
            "none": None,
        },
        {'quote"\\': "\t\n'\u2028 é 😀", "": [[], {}, [1.5e-7, "}{"]]},
        {"deep": {"er": [{"1e16": "1e16", "x": 2.5e300}]}},
    ]

    def any_float() -> float:
        while True:
            (found,) = struct.unpack("d", rng.randbytes(8))
            if abs(found) < 1e308 and found == found:
                return rng.choice([*floats, float(found)])

    names = ["Z", "a", "é", "😀", "a ", 'quote"\\', "tab\t", "{}", "x" * 255]
    return [
        AIProgress(
            model_name=names[n] if n < len(names) else f"m{n}",
            mse=any_float(),
            accuracy=rng.choice([None, any_float()]),
            cross_validation_score=rng.choice([None, any_float()]),
            training_samples=rng.choice([None, 0, 2**31 - 1]),
            training_start=rng.choice(moments),
            training_end=rng.choice(moments),
            metadata=rng.choice(metadata),
        )
        for n in range(count)
    ]


def add(storage: AIStorage, given: list[AIProgress]) -> set[str]:
    """As a migration calls it: with checked records."""
    return storage._add_many(checked_batch(given), None)


@pytest.mark.ai_storage(*ALL)
def test_what_is_added_is_what_a_save_would_have_saved(ai_storage: AIStorage) -> None:
    """Every value, with its type; version 1; both moments of the record are one."""
    given = records(120)
    assert add(ai_storage, given) == {record.model_name for record in given}
    wanted = {record.model_name: fields_to_text(record) for record in checked_batch(given)}
    stored = ai_storage.load_progress()
    assert {record.model_name: fields_to_text(record) for record in stored} == wanted
    assert {record.version for record in stored} == {1}
    assert all(record.created_at == record.updated_at for record in stored)
    again = ai_storage.save_progress(given[0], expected_version=1)
    assert again.version == 2


@pytest.mark.ai_storage(*ALL)
def test_what_is_there_is_left_alone(ai_storage: AIStorage) -> None:
    """Whatever it holds; and of a deleted model, at the most a record with a new version comes in."""
    given = records(20)
    stored = ai_storage.save_progress(dataclasses.replace(given[3], mse=42.0))
    ai_storage.save_progress(given[4])
    ai_storage.delete_progress(given[4].model_name)
    added = add(ai_storage, given)
    names = {record.model_name for record in given}
    assert names - {given[3].model_name, given[4].model_name} <= added <= names - {given[3].model_name}
    assert ai_storage.get_progress(given[3].model_name) == stored
    assert (ai_storage.get_progress(given[4].model_name) is not None) == (given[4].model_name in added)
    assert add(ai_storage, [record for record in given if record.model_name in added]) == set()


@pytest.mark.ai_storage("sqlite", "postgres", "mysql")
def test_two_migrations_at_once(ai_storage: AIStorage) -> None:
    """In opposite orders, with saves in between: each model is added by one of them, none waits for ever."""
    given = [AIProgress(model_name=f"m{n:04}", mse=n) for n in range(600)]
    added: list[set[str]] = []
    saved: list[AIProgress] = []

    def migrate(order: list[AIProgress]) -> None:
        for start in range(0, len(order), 100):
            added.append(add(ai_storage, order[start : start + 100]))

    def save() -> None:
        saved.extend(ai_storage.save_progress(record) for record in given[::40])

    threads = [
        threading.Thread(target=migrate, args=(given,)),
        threading.Thread(target=migrate, args=(given[::-1],)),
        threading.Thread(target=save),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    names = [name for names in added for name in names]
    assert len(names) == len(set(names))
    first = {record.model_name for record in saved if record.version == 1}
    assert set(names) | first == {record.model_name for record in given}
    assert not set(names) & first
    versions = {record.model_name: record.version for record in ai_storage.load_progress()}
    assert versions == {
        record.model_name: 1 + (record.model_name in {one.model_name for one in saved} - first)
        for record in given
    }
