"""The contract's own half: what happens before and after a backend's hook."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    AIStorageError,
    MemoryStorage,
    StorageUnavailableError,
    UnsupportedOperationError,
)

_M = AIProgress(model_name="m", mse=0.5)


class DriverError(Exception):
    """What a driver raises."""


class Failing(MemoryStorage):
    """A backend whose driver fails."""

    type: ClassVar[str] = "failing"
    error: Exception = DriverError("no route to host")
    asked: ClassVar[list[bool]] = []

    def _fail(self) -> Any:
        raise self.error

    def _save(self, *_: Any) -> AIProgress:
        return self._fail()  # type: ignore[no-any-return]  # never returns

    def _get(self, model_name: str) -> AIProgress | None:
        return self._fail()  # type: ignore[no-any-return]  # never returns

    def _ping(self) -> None:
        self._fail()

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        yield _M
        self._fail()

    def _translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        self.asked.append(writing)
        return StorageUnavailableError("gone") if isinstance(error, DriverError) else None


@pytest.fixture
def failing() -> Iterator[Failing]:
    """A storage whose driver fails."""
    Failing.asked.clear()
    with Failing() as storage:
        yield storage


def test_driver_error_is_translated_and_chained(failing: Failing) -> None:
    """A driver's error comes out as one of ours, with the driver's as its cause."""
    with pytest.raises(StorageUnavailableError) as caught:
        failing.get_progress("m")
    assert isinstance(caught.value.__cause__, DriverError)
    with pytest.raises(StorageUnavailableError):
        failing.save_progress(_M)
    assert failing.asked == [False, True], "the translator is told whether the operation writes"


def test_what_is_no_driver_error_is_a_bug_and_comes_out(failing: Failing) -> None:
    """A backend's own mistake is not dressed up as an unreachable server."""
    failing.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        failing.get_progress("m")


def test_error_while_iterating_is_translated(failing: Failing) -> None:
    """Also the later batches of an iteration let no driver error out."""
    records = failing.iter_progress()
    assert next(records) == _M
    with pytest.raises(StorageUnavailableError):
        next(records)


def test_health_check_of_a_failing_storage_is_false(failing: Failing) -> None:
    """health_check raises nothing, whatever the driver does; the info does."""
    assert failing.health_check() is False
    failing.error = ZeroDivisionError()
    assert failing.health_check() is False
    failing.error = DriverError()
    with pytest.raises(StorageUnavailableError):
        failing.get_storage_info()


def test_iteration_ends_with_a_close() -> None:
    """An iteration that goes on after close raises, and does not read from a closed storage."""
    storage = MemoryStorage()
    storage.save_many([_M, dataclasses.replace(_M, model_name="n")])
    records = storage.iter_progress(batch_size=1)
    next(records)
    storage.close()
    with pytest.raises(StorageUnavailableError):
        next(records)


def test_exception_of_change_has_no_context_of_ours() -> None:
    """The traceback of what a change raises shows the application's error alone."""
    error = LookupError("mine")

    def change(_: AIProgress | None) -> AIProgress:
        raise error

    with MemoryStorage() as storage, pytest.raises(LookupError) as caught:
        storage.update_progress("m", change)
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


def test_unsupported_operation_names_the_capability() -> None:
    """The message says what is not declared, and by whom."""

    class Lasting(MemoryStorage):
        def __init__(self) -> None:
            super().__init__()
            self.capabilities = frozenset()

    with Lasting() as storage, pytest.raises(UnsupportedOperationError, match="EXPIRY"):
        storage.save_progress(_M, ttl=timedelta(hours=1))


def test_repr_says_where_and_whether_closed() -> None:
    """The repr is fit for a log."""
    storage = MemoryStorage("shared-by-name")
    assert repr(storage) == "<MemoryStorage memory://shared-by-name>"
    storage.close()
    assert repr(storage).endswith("(closed)>")


@pytest.mark.parametrize(
    "operation",
    [
        lambda storage: storage.save_many([]),
        lambda storage: storage.iter_progress(),
        lambda storage: storage.query_progress(__import__("pytest_aistorage").ProgressQuery(limit=0)),
        lambda storage: storage.expire_now("m"),
    ],
    ids=["save_many of nothing", "iter_progress", "query with limit 0", "expire_now"],
)
def test_closed_storage_refuses_also_what_needs_no_server(operation: Callable[[AIStorage], Any]) -> None:
    """After close the operations that would return at once raise as well."""
    storage = MemoryStorage()
    storage.close()
    with pytest.raises(StorageUnavailableError, match="closed"):
        operation(storage)


def test_public_methods_are_final() -> None:
    """Every public method of the contract is marked as final; a backend writes hooks."""
    methods = [
        value for name, value in vars(AIStorage).items() if callable(value) and not name.startswith("_")
    ]
    assert len(methods) >= 12
    assert all(getattr(method, "__final__", False) for method in methods)
