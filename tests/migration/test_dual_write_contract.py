"""The contract, on storages that are two: between databases, and on the way from a file at two of its steps."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from two_storages import at_step, open_cutover, open_dual_write

from pytest_aistorage import AIProgress, AIStorage
from pytest_aistorage.conformance import AIStorageContract
from pytest_aistorage.conformance.contract import Clients, deviation
from pytest_aistorage.conformance.contract.compare_and_set import CompareAndSetContract
from pytest_aistorage.conformance.contract.updates import UpdateContract
from pytest_aistorage.migration import Step

# All of it takes minutes: each interleaving in which one client waits for the lock of the other takes its time.
WHOLE = "DUAL_WRITE_CONTRACT" in os.environ
"""``nox -s migration`` sets it."""

if WHOLE:

    class Contract(AIStorageContract):
        """All of the contract."""

else:

    class Contract(CompareAndSetContract, UpdateContract):  # type: ignore[no-redef]  # the same name for less
        """The part in which two storages could most easily disagree."""


class TestDualWrite(Contract):
    """From one database to another."""

    @pytest.fixture
    def ai_storage_opener(self, tmp_path: Path) -> Callable[[], AIStorage]:
        """Clients of one pair."""
        return functools.partial(open_dual_write, tmp_path)


class TestCutoverBeforeTheSwitch(Contract):
    """The file is believed."""

    @pytest.fixture
    def ai_storage_opener(self, tmp_path: Path) -> Callable[[], AIStorage]:
        """Clients of one cutover."""
        at_step(tmp_path, Step.DUAL_WRITE)
        return functools.partial(open_cutover, tmp_path)

    if WHOLE:

        @deviation("a JSON file is read whole")
        def test_iteration_is_in_bounded_memory(self, storage: AIStorage) -> None:
            """All records are yielded, at least."""
            storage.save_many([])
            assert list(storage.iter_progress(batch_size=2)) == []


class TestCutoverAfterTheSwitch(Contract):
    """The new storage is believed."""

    @pytest.fixture
    def ai_storage_opener(self, tmp_path: Path) -> Callable[[], AIStorage]:
        """Clients of one cutover."""
        at_step(tmp_path, Step.SWITCHED)
        return functools.partial(open_cutover, tmp_path)

    if WHOLE:

        @deviation("it declares what holds at every step; before the switch the file's versions come again")
        def test_undeclared_memory_of_versions_is_not_there(
            self, storage: AIStorage, clients: Clients
        ) -> None:
            """After it they don't."""
            given = storage.save_progress(AIProgress(model_name="m", mse=0.5)).version
            storage.delete_progress("m")
            assert storage.save_progress(AIProgress(model_name="m", mse=0.5)).version == given + 2
