"""A whole file into a storage: everything is checked before anything is written, and nothing is overwritten."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    ConfigurationError,
    CorruptStorageError,
    MemoryStorage,
    StorageUnavailableError,
    open_storage,
)
from pytest_aistorage.migration import migrate_file
from pytest_aistorage.migration.differences import Difference, Problem
from pytest_aistorage.migration.migrating import Finding

RECORDS = [
    AIProgress(model_name=f"model-{number}", mse=number / 7, metadata={"epochs": number})
    for number in range(23)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The application's file, with `RECORDS` in camelCase."""
    place = tmp_path / "training_metrics.json"
    written = [{"modelName": r.model_name, "mse": r.mse, "metadata": r.metadata} for r in RECORDS]
    place.write_text(json.dumps(written))
    return place


def kept(storage: AIStorage) -> list[tuple[AIProgress, int]]:
    """What is stored, without moments, and each record's version."""
    return [
        (dataclasses.replace(found, version=0, created_at=None, updated_at=None), found.version)
        for found in storage.load_progress()
    ]


def counts(report: Any) -> dict[str, Any]:
    """What is not zero."""
    return {name: value for name, value in dataclasses.asdict(report).items() if value}


IN_ORDER = sorted(((record, 1) for record in RECORDS), key=lambda pair: pair[0].model_name)


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis", "mysql", "hybrid")
def test_every_record_is_saved_once(ai_storage: AIStorage, path: Path) -> None:
    """On every backend, under version 1; a second run finds all of it; what is read back is compared."""
    with open(path, "rb") as file:
        before = file.read()
    report = migrate_file(path, ai_storage, batch_size=5, verify=True)
    assert counts(report) == {"records": 23, "added": 23, "verified": 23}
    assert kept(ai_storage) == IN_ORDER
    assert counts(migrate_file(path, ai_storage, batch_size=7)) == {"records": 23, "equal": 23}
    assert kept(ai_storage) == IN_ORDER
    assert path.read_bytes() == before


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis", "mysql")
def test_what_is_stored_is_never_overwritten(ai_storage: AIStorage, path: Path) -> None:
    """Another record is told value by value and left; an equal one is left; a deleted one comes back."""
    theirs = dataclasses.replace(RECORDS[3], accuracy=0.5, metadata={"epochs": 3.0, "theirs": None})
    stored = ai_storage.save_progress(theirs)
    equal = ai_storage.save_progress(RECORDS[4])
    ai_storage.save_progress(RECORDS[5])
    deleted = ai_storage.delete_progress("model-5")
    found: list[Finding] = []
    report = migrate_file(path, ai_storage, batch_size=10, verify=True, found=found.append)
    assert counts(report) == {"records": 23, "added": 21, "equal": 1, "different": 1, "verified": 22}
    assert not report
    values = {"accuracy": (None, 0.5), "metadata.epochs": (3, 3.0), "metadata.theirs": (None, None)}
    assert found == [Difference("model-3", "different", values, "record 4")]
    assert str(found[0]) == (
        "record 4: 'model-3': accuracy nothing there, 0.5 stored; metadata.epochs 3 there, 3.0 stored; "
        "metadata.theirs nothing there, nothing stored"
    )
    assert ai_storage.get_progress("model-3") == stored
    assert ai_storage.get_progress("model-4") == equal
    reborn = ai_storage.get_progress("model-5")
    assert reborn is not None
    assert deleted is not None
    assert reborn.version in (1, deleted + 1)


def test_a_dry_run_writes_nothing(path: Path) -> None:
    """And says what would be written, and what differs."""
    with MemoryStorage() as storage:
        storage.save_progress(dataclasses.replace(RECORDS[3], mse=9.0))
        found: list[Finding] = []
        report = migrate_file(path, storage, dry_run=True, batch_size=4, found=found.append)
        assert counts(report) == {"records": 23, "added": 22, "different": 1, "dry_run": True}
        assert [str(each) for each in found] == [f"record 4: 'model-3': mse {3 / 7!r} there, 9.0 stored"]
        assert len(storage.load_progress()) == 1


DAMAGED = """\
{"modelName": "a", "mse": 1}
{"modelName": "b", "mse": NaN}
{"modelName": "a", "mse": 2}
{"modelName": "c", "ms{"modelName": "d", "mse": 4}
{"modelName": "e", "mse": 5}
"""


@pytest.mark.parametrize(
    ("duplicates", "skip", "expected", "stored"),
    [
        ("refuse", False, {"refused": True, "duplicates": 2}, {}),
        ("first", False, {"refused": True, "superseded": 1}, {}),
        ("refuse", True, {"added": 1, "duplicates": 2}, {"e": 5.0}),
        ("first", True, {"added": 2, "superseded": 1}, {"a": 1.0, "e": 5.0}),
        ("last", True, {"added": 2, "superseded": 1}, {"a": 2.0, "e": 5.0}),
    ],
)
def test_what_can_t_be_taken(
    path: Path, duplicates: Any, skip: bool, expected: dict[str, Any], stored: dict[str, float]
) -> None:
    """Nothing is written unless it is to be left out; every record is accounted for, and each problem is told."""
    path.write_text(DAMAGED)
    found: list[Finding] = []
    with MemoryStorage() as storage:
        report = migrate_file(path, storage, duplicates=duplicates, skip_invalid=skip, found=found.append)
        assert counts(report) == {"records": 5, "invalid": 1, "damaged": 1, **expected}
        assert {record.model_name: record.mse for record in storage.load_progress()} == stored
    told = [
        Problem("invalid", "record 2", "mse: must be finite, got nan", "b"),
        Problem(
            "damaged",
            "record 4",
            "no JSON: Expecting ':' delimiter (line 4, column 25, in the record of \"c\"); "
            "the lines behind it are read",
        ),
        Problem("duplicate", "record 1, record 3", "the model 'a' comes 2 times", "a"),
    ]
    assert found == (told if duplicates == "refuse" else told[:2])
    assert str(found[0]) == "record 2, 'b': mse: must be finite, got nan"


def test_of_a_truncated_list_the_beginning_can_be_saved(path: Path) -> None:
    """How much, is told before anything is written."""
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b'"model-9"') + 3])
    found: list[Finding] = []
    with MemoryStorage() as storage:
        assert not migrate_file(path, storage, found=found.append)
        assert storage.load_progress() == []
        (problem,) = found
        assert "what stands before it can be read, 9 places; nothing behind it" in str(problem)
        report = migrate_file(path, storage, skip_invalid=True)
        assert counts(report) == {"records": 10, "added": 9, "damaged": 1}
        assert {found.model_name for found in storage.load_progress()} == {f"model-{n}" for n in range(9)}


def test_many_duplicates_of_one_model(path: Path) -> None:
    """Three places are named, the others are counted."""
    path.write_text('{"modelName": "a", "mse": 1}\n' * 10 + '{"modelName": "b", "mse": 1}\n')
    found: list[Finding] = []
    with MemoryStorage() as storage:
        migrate_file(path, storage, skip_invalid=True, found=found.append)
        assert [str(each) for each in found] == [
            "record 1, record 2, record 3 and 7 more: the model 'a' comes 10 times"
        ]
        assert [record.model_name for record in storage.load_progress()] == ["b"]


def test_progress_is_true(path: Path) -> None:
    """What is told is done: at each call so many records are stored; each pass ends with the whole file."""
    calls: list[tuple[str, int, int, int]] = []
    with MemoryStorage() as storage:

        def progress(phase: str, done: int, size: int, records: int) -> None:
            calls.append((phase, done, size, records))
            if phase == "write":
                # The next batch may be on its way; what was told is there.
                assert len(storage.load_progress()) >= records

        migrate_file(path, storage, batch_size=5, verify=True, progress=progress)
    size = path.stat().st_size
    for phase in ("check", "write", "verify"):
        passed = [(done, records) for name, done, _, records in calls if name == phase]
        assert passed == sorted(passed)
        assert [records for _, records in passed] == [5, 10, 15, 20, 23]
        assert passed[-1] == (size, 23)
        assert all(done < size for done, records in passed if records < 23)
    assert {total for _, _, total, _ in calls} == {size}


def test_somebody_writes_the_file_meanwhile(path: Path) -> None:
    """Half of the old file and half of the new one would be a third."""
    with MemoryStorage() as storage:

        def progress(phase: str, *_: object) -> None:
            if phase == "check":
                path.write_text("[]")

        with pytest.raises(CorruptStorageError, match="somebody writes it"):
            migrate_file(path, storage, progress=progress)
        assert storage.load_progress() == []


def test_a_storage_that_fails_on_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error comes out, what was saved stays, and the next run goes on."""
    with open_storage("memory://") as storage:
        add = storage._add_many
        monkeypatch.setattr(
            storage, "_add_many", lambda records, ttl: add(records, ttl) if not _there(storage) else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            migrate_file(path, storage, batch_size=5)
        assert _there(storage) == 5
        monkeypatch.undo()
        assert counts(migrate_file(path, storage)) == {"records": 23, "added": 18, "equal": 5}


def _there(storage: AIStorage) -> int:
    return len(storage.load_progress())


def test_an_empty_file_of_records(path: Path) -> None:
    """Is migrated in full."""
    path.write_text("[]")
    with MemoryStorage() as storage:
        report = migrate_file(path, storage, verify=True)
        assert report
        assert (report.records, report.verified) == (0, 0)


@pytest.mark.parametrize("options", [{"duplicates": "newest"}, {"batch_size": 0}, {"batch_size": True}])
def test_bad_options(path: Path, options: dict[str, Any]) -> None:
    """Are refused, naming them."""
    with MemoryStorage() as storage, pytest.raises(ConfigurationError, match=next(iter(options))):
        migrate_file(path, storage, **options)


def test_no_file(tmp_path: Path) -> None:
    """A wrong path is not a migration of nothing."""
    with MemoryStorage() as storage, pytest.raises(StorageUnavailableError, match="nowhere"):
        migrate_file(tmp_path / "nowhere.json", storage)
