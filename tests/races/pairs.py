"""Operations on one or two models, importable by other processes; scenarios of several of them, and their judge."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pytest_aistorage.progress import AIProgress, ProgressQuery
from pytest_aistorage.races import History, Operation, Recording, Run, Scenario, Step, linearizable
from pytest_aistorage.races.recording import value_of
from pytest_aistorage.races.subjects import Subject


def record(model_name: str, mse: float) -> AIProgress:
    """Return a record that its mse tells from others."""
    return AIProgress(model_name=model_name, mse=mse, training_samples=0)


def save(storage: Any, a: str, b: str, mse: float) -> None:
    """Save the first model."""
    storage.save_progress(record(a, mse))


def save_other(storage: Any, a: str, b: str, mse: float) -> None:
    """Save the second model."""
    storage.save_progress(record(b, mse))


def save_if(storage: Any, a: str, b: str, mse: float) -> None:
    """Save the first model if it is at version 1."""
    storage.save_progress(record(a, mse), expected_version=1)


def create(storage: Any, a: str, b: str, mse: float) -> None:
    """Save the first model if it is not there."""
    storage.save_progress(record(a, mse), expected_version=0)


def update(storage: Any, a: str, b: str, mse: float) -> None:
    """Change the first model in one read-modify-write."""
    storage.update_progress(a, functools.partial(_changed, model_name=a, mse=mse))


def _changed(current: AIProgress | None, model_name: str, mse: float) -> AIProgress:
    return record(model_name, mse) if current is None else dataclasses.replace(current, mse=mse)


def delete(storage: Any, a: str, b: str, mse: float) -> None:
    """Delete the first model."""
    storage.delete_progress(a)


def delete_if(storage: Any, a: str, b: str, mse: float) -> None:
    """Delete the first model if it is at version 1."""
    storage.delete_progress(a, expected_version=1)


def get(storage: Any, a: str, b: str, mse: float) -> None:
    """Get the first model."""
    storage.get_progress(a)


def load(storage: Any, a: str, b: str, mse: float) -> None:
    """List all models."""
    storage.load_progress()


def save_many(storage: Any, a: str, b: str, mse: float) -> None:
    """Save both models as one batch."""
    # The second client's batch names them the other way round: whoever locks one after the other meets itself.
    storage.save_many([record(name, mse) for name in ((a, b) if mse == FIRST else (b, a))])


def query(storage: Any, a: str, b: str, mse: float) -> tuple[int, int, list[AIProgress]]:
    """Query all models; when it was called and returned, and what it gave."""
    called = time.monotonic_ns()
    found = storage.query_progress(ProgressQuery(order_by="-mse"))
    return called, time.monotonic_ns(), found


def iterate(storage: Any, a: str, b: str, mse: float) -> tuple[int, int, list[AIProgress]]:
    """Iterate over all models; when it was called and returned, and what it gave."""
    called = time.monotonic_ns()
    found = list(storage.iter_progress(batch_size=1))
    return called, time.monotonic_ns(), found


FIRST, SECOND, THIRD = 0.25, 0.125, 0.0625

ON_WHAT_IS_THERE = (save, save_if, update, delete, delete_if, get, load, save_many, query, iterate)
ON_NOTHING = (save, create, update, delete, save_many)


class Stage:
    """Scenarios of operations on two models of one store, new ones each time; those of the last are gone."""

    def __init__(self, subject: Subject, operations: Iterable[Callable[..., Any]], *, there: bool) -> None:
        self._subject = subject
        self._operations = tuple(operations)
        self._there = there
        self._store = subject.fresh()
        self._names: tuple[str, ...] = ()

    def scenario(self) -> Scenario:
        """Make one."""
        observer = self._subject.observer(self._store)
        for name in self._names:
            observer.delete_progress(name)
        a, b = self._names = self._subject.model(), self._subject.model()
        recording = Recording(observer, len(self._operations))
        if self._there:
            recording.storage.save_many([record(a, 0.5), record(b, 0.5)])
        values = (FIRST, SECOND, THIRD)
        clients = [
            functools.partial(operation, a=a, b=b, mse=mse)
            for operation, mse in zip(self._operations, values, strict=False)
        ]
        return dataclasses.replace(self._subject.scenario(self._store, *clients), recording=recording)

    def judge(self, run: Run) -> str | None:
        """Linearizable, and nothing raised but conflicts; queries and iterations count as a get of each model."""
        for number, outcome in enumerate(run.outcomes):
            killed = Step(number, "killed") in run.schedule.steps
            if not killed and outcome.kind != "ok" and type(outcome.error).__name__ != "VersionConflictError":
                return f"{outcome.kind}: {outcome.error!r}"
        assert run.history is not None
        seen = [
            get for number, outcome in enumerate(run.outcomes) for get in self._gets(number, outcome.value)
        ]
        return linearizable(dataclasses.replace(run, history=History([*run.history, *seen])))

    def _gets(self, client: int, value: Any) -> Iterator[Operation]:
        if value is None:
            return
        called, returned, found = value
        records = {one.model_name: one for one in found}
        for name in self._names:
            one = records.get(name)
            yield Operation(
                client + 1,
                "get",
                name,
                called,
                returned,
                version=0 if one is None else one.version,
                value=value_of(one),
            )
