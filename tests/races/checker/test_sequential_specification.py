"""The checker follows the specification: an operation is told what `model` says, and nothing else."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from pytest_aistorage import AIProgress, AIStorageError, VersionConflictError, model
from pytest_aistorage.races import History, Verdict, check_linearizable
from pytest_aistorage.races.checker.search import Budget, search
from pytest_aistorage.races.history import Operation
from pytest_aistorage.races.recording import RecordingStorage

HISTORIES = 2_000
LONGEST = 8
VALUES = (0.25, 0.5, 0.75)
"""Few values, so that one that was replaced comes back."""


class Specification:
    """A storage that answers as the specification does, one call after the other."""

    def __init__(self) -> None:
        self.state = model.EMPTY

    def _done(self, operation):
        self.state, result = model.step(self.state, operation)
        match result:
            case model.Conflicted(name, expected, actual):
                raise VersionConflictError(name, expected, actual)
            case model.Raised(error):
                raise error
            case model.Deleted(version):
                return version
            case model.Saved(record) | model.Found(record):
                return record

    def save_progress(self, progress, *, expected_version=None):
        """See `AIStorage.save_progress`."""
        return self._done(model.Save(progress, expected_version))

    def update_progress(self, model_name, change):
        """See `AIStorage.update_progress`."""
        return self._done(model.Update(model_name, change))

    def delete_progress(self, model_name, *, expected_version=None):
        """See `AIStorage.delete_progress`."""
        return self._done(model.Delete(model_name, expected_version))

    def get_progress(self, model_name):
        """See `AIStorage.get_progress`."""
        return self._done(model.Get(model_name))


def _recorded(random: Random) -> list[Operation]:
    """What one client was told, one operation after the other."""
    storage = Specification()
    recorder = RecordingStorage(storage, 1)
    for _ in range(random.randint(1, LONGEST)):
        _do(recorder, storage.state["m"], random)
    # Times of their own: two readings of a clock may be equal, and then the two operations overlap.
    return [
        operation._replace(called=2 * number, returned=2 * number + 1)
        for number, operation in enumerate(recorder.operations)
    ]


def _do(recorder: RecordingStorage, state: model.ModelState, random: Random) -> None:
    versions = (0, state.current_version, state.current_version, state.version, state.version + 1)
    condition = {"expected_version": random.choice(versions)} if random.random() < 0.5 else {}
    record = AIProgress(model_name="m", mse=random.choice(VALUES))
    try:
        match random.choice(("save", "save", "update", "refused", "delete", "get")):
            case "save":
                recorder.save_progress(record, **condition)
            case "update":
                recorder.update_progress("m", lambda current: current or record)
            case "refused":  # it may be written down, and has no effect
                recorder.update_progress("m", lambda _: dataclasses.replace(record, model_name="another"))
            case "delete":
                recorder.delete_progress("m", **condition)
            case "get":
                recorder.get_progress("m")
    except AIStorageError:
        pass  # it is written down


def _told_otherwise(operation: Operation) -> list[Operation]:
    """The operation, told what the specification did not say."""
    kind, version, actual = operation.kind, operation.version, operation.actual
    if actual is not None:
        assert operation.outcome == "failed"
        others = [operation._replace(actual=one) for one in (0, actual - 1, actual + 1, operation.base)]
        accepted = operation._replace(outcome="ok", actual=None, error=None)
        return [
            *(one for one in others if one.actual not in (-1, actual)),
            *(accepted._replace(version=one) for one in (actual, actual + 1)),
        ]
    if operation.outcome != "ok":
        return []
    numbers = [one for one in (0, version - 1, version + 1) if one not in (-1, version)]
    if kind != "get":
        found = [operation._replace(version=one) for one in numbers]
        if operation.base is not None:
            refused = operation._replace(outcome="failed", version=None)
            found += [refused._replace(actual=one) for one in {operation.base, *numbers}]
        return found
    values = [{"mse": one} for one in VALUES if operation.value != {"mse": one}]
    return [
        *(
            operation._replace(version=one, value=operation.value if one else None)
            for one in numbers
            if version
        ),
        *(operation._replace(version=version or 1, value=value) for value in values),
    ]


def _is_found(operations: list[Operation]) -> set[bool]:
    """What the two tiers that know versions say: whether the operations are in order."""
    whole = check_linearizable(History(operations))
    assert whole.verdict is not Verdict.UNKNOWN
    return {bool(whole), search(operations, Budget(10_000)) is None}


@pytest.mark.parametrize("seed", range(2))
def test_tiers_follow_the_specification(seed):
    """What it says is accepted by both tiers; the last operation told anything else is refused by both."""
    random = Random(seed)
    refused = 0
    for _ in range(HISTORIES):
        operations = _recorded(random)
        assert _is_found(operations) == {True}, operations
        for other in _told_otherwise(operations[-1]):
            assert _is_found([*operations[:-1], other]) == {False}, [*operations[:-1], other]
            refused += 1
    assert refused > 2 * HISTORIES
