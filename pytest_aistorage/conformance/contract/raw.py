"""What is stored, read around the storage: a storage can't vouch for itself."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ...capabilities import Capability
from ...errors import InvalidProgressError, VersionConflictError
from ...progress import GIVEN_FIELDS, STAMPS, AIProgress
from ...storage import AIStorage
from .. import strategies
from ..machine import Disagreement, check_sequences
from .checks import difference, explore
from .clients import Clients, ContractBase, inapplicable
from .hooks import RawReader

__all__ = ["RawContract"]

_M = AIProgress(model_name="m", mse=0.5, accuracy=0.25, training_samples=7, metadata={"k": [1, 1.0, None]})


def _reader(raw: RawReader | None) -> RawReader:
    """The author's raw reads; a test that needs them does not apply where there are none."""
    if raw is None:
        inapplicable("the author supplies no raw reads (fixture ai_storage_raw)")
    return raw


def _read(raw: RawReader, model_name: str, done: str) -> Mapping[str, Any] | None:
    fields = raw(model_name)
    if fields is None:
        return None
    if not isinstance(fields, Mapping):
        pytest.fail(
            f"{done}: ai_storage_raw({model_name!r}) returned {fields!r}, expected a mapping or None",
            pytrace=False,
        )
    if unknown := sorted(set(fields) - {*GIVEN_FIELDS, *STAMPS}):
        pytest.fail(
            f"ai_storage_raw({model_name!r}) returned the fields {unknown}, which no AIProgress has",
            pytrace=False,
        )
    return fields


def _check_stored(raw: RawReader, acknowledged: AIProgress, done: str) -> None:
    """Fail unless the raw read shows the record that was acknowledged, in all fields that it can read."""
    name = acknowledged.model_name
    fields = _read(raw, name, done)
    if fields is None:
        pytest.fail(
            f"{done} was acknowledged, and is not stored: the raw read of {name!r} finds no record\n"
            f"  expected {acknowledged!r}",
            pytrace=False,
        )
    if wrong := difference(acknowledged, dataclasses.replace(acknowledged, **fields), fields):
        pytest.fail(
            f"{done} was acknowledged, and the raw read of {name!r} shows something else\n{wrong}",
            pytrace=False,
        )


def _check_absent(raw: RawReader, model_name: str, done: str) -> None:
    """Fail if the raw read still, or already, shows a record."""
    fields = _read(raw, model_name, done)
    if fields is not None:
        pytest.fail(
            f"{done}: the raw read of {model_name!r} shows a record, expected none\n  got {dict(fields)!r}",
            pytrace=False,
        )


class RawContract(ContractBase):
    """What raw reads show once a write has returned; they need the fixture ``ai_storage_raw``."""

    area = "raw reads"

    def test_saved_record_is_stored_when_the_save_returns(
        self, storage: AIStorage, ai_storage_raw: RawReader | None
    ) -> None:
        """Before the first save there is no record; each save is stored in all fields when it returns."""
        raw = _reader(ai_storage_raw)
        _check_absent(raw, "m", "before the first save")
        _check_stored(raw, storage.save_progress(_M), "save_progress of a new model")
        other = dataclasses.replace(_M, mse=0.125, accuracy=None, training_samples=None, metadata={})
        _check_stored(raw, storage.save_progress(other), "save_progress of a model that is there")
        kept = storage.save_progress(_M, expected_version=2)
        _check_stored(raw, kept, "save_progress(expected_version=2)")

    def test_any_record_is_stored_as_it_was_given(
        self, storage: AIStorage, ai_storage_raw: RawReader | None
    ) -> None:
        """Whatever its name and values, what is stored of a record is what was given."""
        raw = _reader(ai_storage_raw)

        def check(progress: AIProgress) -> None:
            _check_stored(raw, storage.save_progress(progress), f"save_progress({progress!r})")

        explore(check, strategies.progress())

    def test_update_is_stored_when_it_returns(
        self, storage: AIStorage, clients: Clients, ai_storage_raw: RawReader | None
    ) -> None:
        """An update is stored when it returns, of a new model too, and of a record that another client saved."""
        raw = _reader(ai_storage_raw)
        created = storage.update_progress("m", lambda _: _M)
        _check_stored(raw, created, "update_progress of a new model")
        clients.open().save_progress(dataclasses.replace(_M, mse=9.0))
        updated = storage.update_progress(
            "m", lambda current: dataclasses.replace(current or _M, training_samples=8)
        )
        _check_stored(raw, updated, "update_progress of what another client saved")

    def test_batch_is_stored_when_it_returns(
        self, storage: AIStorage, ai_storage_raw: RawReader | None
    ) -> None:
        """When save_many returns, each record of the batch is stored, the last one too."""
        raw = _reader(ai_storage_raw)
        storage.save_progress(dataclasses.replace(_M, model_name="m1", mse=9.0))
        batch = [dataclasses.replace(_M, model_name=f"m{index}", mse=float(index)) for index in range(7)]
        for record in storage.save_many(batch):
            _check_stored(raw, record, "save_many of 7 records")

    def test_delete_leaves_no_record_behind(
        self, storage: AIStorage, ai_storage_raw: RawReader | None
    ) -> None:
        """When a delete returns, the record is gone, and only that one: names that look alike are others."""
        raw = _reader(ai_storage_raw)
        others = [
            storage.save_progress(dataclasses.replace(_M, model_name=name))
            for name in ("M", "m ", "mm", "\u00e4", "a\u0308")
        ]
        storage.save_progress(_M)
        storage.delete_progress("m")
        _check_absent(raw, "m", "delete_progress('m')")
        for other in others:
            _check_stored(raw, other, f"save_progress of {other.model_name!r}, then delete_progress('m')")
        _check_stored(raw, storage.save_progress(_M), "save_progress after a delete")

    def test_refused_write_leaves_what_is_stored(
        self, storage: AIStorage, ai_storage_raw: RawReader | None
    ) -> None:
        """A conflict, a bad record, a bad batch and a change that raises leave what is stored as it was."""
        raw = _reader(ai_storage_raw)
        before = storage.save_progress(_M)
        new, bad = dataclasses.replace(_M, mse=9.0), dataclasses.replace(_M, mse=float("nan"))
        other = dataclasses.replace(_M, model_name="other")

        def failing(_: AIProgress | None) -> AIProgress:
            raise LookupError

        refusals: dict[str, Callable[[], object]] = {
            "save_progress with another version": lambda: storage.save_progress(new, expected_version=7),
            "delete_progress with another version": lambda: storage.delete_progress("m", expected_version=7),
            "save_progress of a bad record": lambda: storage.save_progress(bad),
            "save_many whose last record is bad": lambda: storage.save_many([other, bad]),
            "update_progress whose change raises": lambda: storage.update_progress("m", failing),
        }
        for done, refused in refusals.items():
            with contextlib.suppress(VersionConflictError, InvalidProgressError, LookupError):
                refused()
            _check_stored(raw, before, f"save_progress, and after it {done}, which was refused,")
            _check_absent(raw, "other", f"{done}, which was refused")

    def test_any_sequence_of_writes_is_stored_as_acknowledged(
        self, storage: AIStorage, clients: Clients, ai_storage_raw: RawReader | None
    ) -> None:
        """Whatever several clients do one after another, after each write the raw read shows just that."""
        raw = _reader(ai_storage_raw)
        if Capability.SURVIVES_CLOSE in clients.capabilities:
            storage.close()
        try:
            check_sequences(clients.opener, clients.capabilities, raw=raw, share=0.35)
        except Disagreement as disagreement:
            said = str(disagreement)
        else:
            return
        pytest.fail(f"clients of one store, one operation after another:\n{said}", pytrace=False)
