"""JSON files that applications wrote by hand: read as a whole or refused, imported without overwriting."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    CorruptStorageError,
    FileStorage,
    InvalidProgressError,
    MemoryStorage,
    StorageUnavailableError,
    VersionConflictError,
)
from pytest_aistorage.migration import import_records, read_records

CAMEL: dict[str, Any] = {
    "modelName": "resnet",
    "trainingStart": "2026-01-31T12:00:00.000Z",
    "trainingEnd": None,
    "accuracy": 0.93,
    "mse": 0.12,
    "trainingSamples": 1000,
    "crossValidationScore": 0.9,
    "metadata": {"epochs": 3},
    "learningRate": 0.1,
    "version": 7,
    "createdAt": "2026-01-31T12:00:00.000Z",
}
RESNET = AIProgress(
    model_name="resnet",
    training_start=datetime(2026, 1, 31, 12, tzinfo=UTC),
    accuracy=0.93,
    mse=0.12,
    training_samples=1000,
    cross_validation_score=0.9,
    metadata={"epochs": 3, "learningRate": 0.1},
)
BERT = AIProgress(model_name="bert", mse=0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the application keeps its file."""
    return tmp_path / "training_metrics.json"


@pytest.mark.parametrize(
    "document",
    [
        [CAMEL, {"model_name": "bert", "mse": 0.5}],
        {"resnet": CAMEL, "bert": {"mse": 0.5}},
    ],
    ids=["list", "object"],
)
def test_records_are_read_as_they_are_written_in_the_wild(path: Path, document: Any) -> None:
    """In camelCase and snake_case, in a list or by name; what is no field's is kept as metadata."""
    path.write_text(json.dumps(document))
    assert read_records(path) == [RESNET, BERT]


def test_one_record_alone_is_read(path: Path) -> None:
    """The guide's own line writes `JSON.stringify(progress)`; with a byte order mark, as Windows has it."""
    path.write_text(json.dumps(CAMEL), encoding="utf-8-sig")
    assert read_records(path) == [RESNET]


def test_what_the_file_backend_wrote_is_read(path: Path) -> None:
    """The file of `FileStorage`, whose stamps are its own."""
    with FileStorage(path) as storage:
        storage.save_many([RESNET, BERT])
    assert read_records(path) == [BERT, RESNET]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ('[{"modelName": "resnet", "ms', "no JSON"),  # torn by a crash
        ("[" * 100_000, "no JSON"),
        ("3", "JSON int where"),
        ('{"a": {"mse": 1}, "a": {"mse": 2}}', "the key 'a' comes twice"),
        (
            '[{"model_name": "a", "mse": 1}, {"model_name": "a", "mse": 1}]',
            "record 2: the same model as record 1",
        ),
        ('[{"model_name": "a", "mse": 1}, 5]', "record 2: record: must be a JSON object, got 5"),
        ('[{"mse": 1}]', "record 1: model_name: must be there"),
        ('[{"model_name": "a"}]', "record 1: mse: must be there"),
        ('{"a": {"mse": NaN}}', "record 1, 'a': mse: must be finite, got nan"),
        (
            '{"a": {"mse": 1, "model_name": "b"}}',
            "record 1, 'a': model_name: is told twice, before as 'a', got 'b'",
        ),
        ('{"a": {"mse": 1, "trainingSamples": 1.5}}', "training_samples: must be an int, got 1.5"),
        ('{"a": {"mse": 1, "trainingStart": "2026-01-31"}}', "training_start: must be aware"),
        (
            '{"a": {"mse": 1, "trainingStart": "soon"}}',
            "training_start: must be a moment in ISO 8601, got 'soon'",
        ),
        ('{"a": {"mse": 1, "trainingStart": 1769860800000}}', "training_start: must be a datetime"),
        ('{"a": {"mse": 1, "metadata": [1]}}', "metadata: must be a mapping"),
        ('{"a": {"mse": 1, "metadata": [1], "lr": 1}}', "metadata: must be a JSON object"),
        (
            '{"a": {"mse": 1, "metadata": {"lr": 2}, "lr": 1}}',
            r"metadata\['lr'\]: is told twice, before as 2, got 1",
        ),
    ],
)
def test_malformed_file_is_refused_naming_the_place(path: Path, text: str, message: str) -> None:
    """The message names the file and the record; a broken rule's own error is the cause."""
    path.write_text(text)
    with pytest.raises(CorruptStorageError, match=message) as caught:
        read_records(path)
    assert str(path) in str(caught.value)
    if "must be" in message and "record" in message:
        assert isinstance(caught.value.__cause__, InvalidProgressError)


@pytest.mark.parametrize(("one", "other"), [("3", "3.0"), ("1", "true"), ("[1]", "[true]")])
def test_one_key_told_twice_of_two_types(path: Path, one: str, other: str) -> None:
    """Neither is taken for the other, beside metadata and in it."""
    path.write_text(f'[{{"modelName": "a", "mse": 1, "epochs": {one}, "metadata": {{"epochs": {other}}}}}]')
    with pytest.raises(CorruptStorageError, match=r"metadata.*is told twice"):
        read_records(path)


def test_what_only_shares_a_stamp_s_name(path: Path) -> None:
    """The application's own values are kept; a storage's stamps are not."""
    path.write_text(
        '[{"modelName": "a", "mse": 1, "version": "2.1", "createdAt": "spring", "updatedAt": 7},'
        ' {"modelName": "b", "mse": 1, "version": 2, "createdAt": "2026-01-31T12:00:00Z", "updated_at": null}]'
    )
    assert [record.metadata for record in read_records(path)] == [
        {"version": "2.1", "createdAt": "spring", "updatedAt": 7},
        {},
    ]


def test_missing_file_is_no_empty_one(path: Path) -> None:
    """A wrong path must not look like a migration of nothing."""
    with pytest.raises(StorageUnavailableError, match=r"training_metrics\.json"):
        read_records(path)


def test_import_takes_up_where_it_was_interrupted() -> None:
    """What is there and equal is passed over, and counts as not imported."""
    with MemoryStorage() as storage:
        storage.save_progress(BERT)
        assert import_records(storage, [RESNET, BERT]) == 1
        assert import_records(storage, [RESNET, BERT]) == 0
        assert [record.version for record in storage.load_progress()] == [1, 1]


@pytest.mark.parametrize("mse", [0.6, 0.5])
def test_import_overwrites_nothing(mse: float) -> None:
    """Another record of one model, be it by a type within its metadata, and none of the others is written."""
    with MemoryStorage() as storage:
        stored = storage.save_progress(AIProgress(model_name="bert", mse=mse, metadata={"best": True}))
        record = AIProgress(model_name="bert", mse=0.5, metadata={"best": 1})
        with pytest.raises(VersionConflictError) as caught:
            import_records(storage, [RESNET, record])
        assert (caught.value.model_name, caught.value.expected, caught.value.actual) == ("bert", 0, 1)
        assert storage.load_progress() == [stored]


@pytest.mark.parametrize(("theirs", "imported"), [(BERT, 0), (AIProgress(model_name="bert", mse=9.0), None)])
def test_somebody_else_writes_meanwhile(
    monkeypatch: pytest.MonkeyPatch, theirs: AIProgress, imported: int | None
) -> None:
    """A record that appears between the look and the save is equal and passed over, or a conflict."""
    with MemoryStorage() as storage:
        save = storage._save

        def overtaken(*arguments: Any) -> AIProgress:
            monkeypatch.undo()
            storage.save_progress(theirs)
            return save(*arguments)

        monkeypatch.setattr(storage, "_save", overtaken)
        if imported is None:
            with pytest.raises(VersionConflictError):
                import_records(storage, [BERT])
        else:
            assert import_records(storage, [BERT]) == imported
        assert [(found.mse, found.version) for found in storage.load_progress()] == [(theirs.mse, 1)]
