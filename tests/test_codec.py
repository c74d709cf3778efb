"""Records as JSON text: one text for one record, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from pytest_aistorage import AIProgress, CorruptStorageError
from pytest_aistorage.codec import (
    fields_from_text,
    fields_to_text,
    from_microseconds,
    metadata_from_text,
    metadata_to_text,
    record_from_document,
    record_to_document,
    to_microseconds,
)
from pytest_aistorage.conformance import strategies
from pytest_aistorage.queries import same_json
from pytest_aistorage.validation import checked_progress

_MOMENT = datetime(2024, 5, 1, 12, 0, 0, 1, tzinfo=UTC)


@given(strategies.progress())
def test_fields_come_back(progress: AIProgress) -> None:
    """The text of a record's fields gives the record back, with the stamps that are given to it."""
    record = checked_progress(progress)
    back = fields_from_text(
        fields_to_text(record),
        model_name=record.model_name,
        version=0,
        created_at=_MOMENT,
        updated_at=_MOMENT,
    )
    assert checked_progress(back) == record
    assert same_json(back.metadata, record.metadata)


@given(strategies.progress())
def test_documents_come_back(progress: AIProgress) -> None:
    """A record's document gives it back, stamps included, through JSON's text."""
    import dataclasses

    record = dataclasses.replace(
        checked_progress(progress), version=3, created_at=_MOMENT, updated_at=_MOMENT
    )
    assert record_from_document(json.loads(json.dumps(record_to_document(record)))) == record


@given(strategies.metadata())
def test_metadata_text_is_canonical(metadata: dict[str, Any]) -> None:
    """Whatever the order of its keys, equal metadata has one text, and it comes back with its types."""
    text = metadata_to_text(metadata)
    assert metadata_to_text(dict(reversed(metadata.items()))) == text
    assert same_json(metadata_from_text(text), metadata)


@given(strategies.moments())
def test_moments_come_back_from_microseconds(moment: datetime) -> None:
    """Microseconds since 1970 are exact, also before it."""
    assert from_microseconds(to_microseconds(moment)) == moment


def test_text_is_readable() -> None:
    """Letters of any script stand in the text as they are."""
    assert metadata_to_text({"b": 1.0, "a": "é😀"}) == '{"a":"é😀","b":1.0}'


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "1", b"\xff"])
def test_text_that_is_no_metadata_is_corrupt(text: str | bytes) -> None:
    """What is no JSON object raises CorruptStorageError."""
    with pytest.raises(CorruptStorageError):
        metadata_from_text(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"mse": 0.5}', '"x"'])
def test_text_that_is_no_record_is_corrupt(text: str) -> None:
    """A text without the fields raises CorruptStorageError that names the model."""
    with pytest.raises(CorruptStorageError, match="'m'"):
        fields_from_text(text, model_name="m", version=1, created_at=_MOMENT, updated_at=_MOMENT)


@pytest.mark.parametrize(
    "document", [None, [], "x", {}, {"model_name": "m"}, {"model_name": "m", "version": 1}]
)
def test_document_that_is_no_record_is_corrupt(document: Any) -> None:
    """A document without name or stamps raises CorruptStorageError."""
    with pytest.raises(CorruptStorageError):
        record_from_document(document)


def test_document_with_a_bad_moment_is_corrupt() -> None:
    """A moment that can't be read raises CorruptStorageError."""
    document = record_to_document(
        AIProgress(model_name="m", mse=0.5, version=1, created_at=_MOMENT, updated_at=_MOMENT)
    )
    for field in ("created_at", "training_start"):
        with pytest.raises(CorruptStorageError):
            record_from_document({**document, field: "yesterday"})
