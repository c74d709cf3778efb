"""The records: plain frozen values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from pytest_aistorage import AIProgress, ProgressQuery
from pytest_aistorage.progress import SCALAR_FIELDS


def test_record_is_frozen_and_keyword_only() -> None:
    """A record can't be changed, and its fields are given by name."""
    record = AIProgress(model_name="m", mse=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.mse = 0.25  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError):
        AIProgress("m", 0.5)  # type: ignore[call-arg]  # what is tested
    assert not hasattr(record, "__dict__")


def test_defaults_are_those_of_an_unsaved_record() -> None:
    """Before the first save the version is 0, the moments are None, and the metadata is a dict of its own."""
    first, second = AIProgress(model_name="m", mse=0.5), AIProgress(model_name="m", mse=0.5)
    assert (first.version, first.created_at, first.updated_at, first.metadata) == (0, None, None, {})
    assert first.metadata is not second.metadata


def test_stamps_count_in_equality() -> None:
    """Records that differ in their stamps only are not equal."""
    record = AIProgress(model_name="m", mse=0.5)
    assert record == AIProgress(model_name="m", mse=0.5)
    assert record != dataclasses.replace(record, version=1)
    assert record != dataclasses.replace(record, created_at=datetime(2024, 1, 1, tzinfo=UTC))


def test_record_has_a_hash() -> None:
    """Records can stand in sets; equal ones hash alike, metadata aside."""
    record = AIProgress(model_name="m", mse=0.5, metadata={"k": [1]})
    assert {record, dataclasses.replace(record)} == {record}
    assert hash(ProgressQuery(metadata={"k": 1})) == hash(ProgressQuery(metadata={"k": 1}))


def test_every_field_but_metadata_orders() -> None:
    """A query orders by any field that has an order."""
    fields = {field.name for field in dataclasses.fields(AIProgress)}
    assert set(SCALAR_FIELDS) == fields - {"metadata"}
