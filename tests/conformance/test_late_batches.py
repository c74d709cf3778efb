"""What a killed client had sent may arrive while others read: that is late, and no fault."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_aistorage import AIProgress, MemoryStorage, model
from pytest_aistorage.conformance.contract import killing
from pytest_aistorage.conformance.steps import Steps, Told


@pytest.mark.parametrize(("arrives", "is_fault"), [(3, False), (2, True), (1, True), (0, False)])
@pytest.mark.parametrize("turn", range(5))
def test_late_batch(monkeypatch: pytest.MonkeyPatch, turn: int, arrives: int, is_fault: bool) -> None:
    """A batch that arrives before any of the reads is whole or absent; a part of it is a fault wherever it shows."""
    names = ("a", "b", "c", "d")
    storage = MemoryStorage()
    case = killing.BATCH_CRASHES[0]
    batch = case.operation(*names[:3])
    assert isinstance(batch, model.SaveMany)

    def looked(_self: Any, operations: Sequence[model.Operation]) -> list[Told]:
        told: list[Told] = []
        for number, operation in enumerate(operations):
            if number == turn and arrives:
                storage.save_many(batch.progresses[:arrives])
            told += Steps((operation,))(storage)
        return told

    before = Steps(tuple(model.Save(AIProgress(model_name=name, mse=0.5)) for name in names))(storage)
    monkeypatch.setattr(killing._Killing, "_looked", looked)
    clients: Any = SimpleNamespace(first=storage, capabilities=storage.capabilities)
    observer: Any = None
    found = killing._Killing(clients, observer, case, names, killing.reading, False)._judged(
        before, "killed", None
    )
    assert (found is not None) == is_fault
