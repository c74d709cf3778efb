"""update_progress: read, change, write as one step."""

from __future__ import annotations

import dataclasses
import sqlite3
from asyncio import CancelledError
from typing import Any, cast

import pytest

from ...errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    InvalidProgressError,
    OutcomeUnknownError,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
)
from ...progress import AIProgress
from ...storage import AIStorage, Change
from .checks import check_same, check_unchanged, refused
from .clients import Clients, ContractBase

__all__ = ["UpdateContract"]

_M = AIProgress(model_name="m", mse=0.5, metadata={"epoch": 1})


class _StopNow(BaseException):
    """What a change may raise that is no Exception, as KeyboardInterrupt is none."""


def _errors() -> list[Exception]:
    """What a change may raise; some of it a storage catches where it comes from itself."""
    return [
        *(LookupError("mine"), KeyError("m"), IndexError("mine"), ValueError("mine"), TypeError("mine")),
        *(AttributeError("mine"), AssertionError("mine"), ZeroDivisionError("mine"), RuntimeError("mine")),
        *(OSError("mine"), ConnectionError("mine"), TimeoutError("mine"), BrokenPipeError("mine")),
        *(StopIteration("mine"), RecursionError("mine"), MemoryError("mine"), NotImplementedError("mine")),
        *(UnicodeDecodeError("utf-8", b"x", 0, 1, "mine"), sqlite3.OperationalError("database is locked")),
        *(AIStorageError("mine"), InvalidProgressError("f", 1, "mine"), VersionConflictError("m", 1, 2)),
        *(StorageUnavailableError("mine"), OutcomeUnknownError("mine"), CorruptStorageError("mine")),
        *(UnsupportedOperationError("mine"), ConfigurationError("mine"), Exception("mine")),
    ]


def _check_raised(
    storage: AIStorage, model_name: str, change: Change, error: BaseException, done: str
) -> None:
    """Fail unless an update raises this very object."""
    try:
        returned = storage.update_progress(model_name, change)
    except BaseException as caught:
        if caught is not error:
            pytest.fail(f"{done}: raised {caught!r} instead of that very object", pytrace=False)
    else:
        pytest.fail(f"{done}: raised nothing and returned {returned!r}", pytrace=False)


class UpdateContract(ContractBase):
    """``update_progress``: what it gives to a change, and what it makes of its result."""

    area = "updates"

    def test_change_gets_the_record_and_its_result_is_stored(self, storage: AIStorage) -> None:
        """The change gets the current record, stamps included; what it returns is stored and returned."""
        before = storage.save_progress(_M)
        seen: list[AIProgress | None] = []

        def change(current: AIProgress | None) -> AIProgress:
            seen.append(current)
            return dataclasses.replace(current or _M, mse=0.25, accuracy=None, metadata={"epoch": 2})

        returned = storage.update_progress("m", change)
        assert seen, "update_progress did not call change"
        check_same("the record given to change", before, seen[-1], stamps=True)
        wanted = dataclasses.replace(_M, mse=0.25, metadata={"epoch": 2})
        check_same("update_progress returned", wanted, returned)
        check_same("get_progress after update_progress", returned, storage.get_progress("m"), stamps=True)

    def test_result_of_change_is_stored_not_its_argument(self, storage: AIStorage) -> None:
        """What is stored is what the change returns; what it does to its argument on the way is not."""
        storage.save_progress(dataclasses.replace(_M, metadata={"epoch": 1, "kept": [1]}))

        def change(current: AIProgress | None) -> AIProgress:
            assert current is not None, "the change of a stored model got None"
            mine = cast(dict[str, Any], current.metadata)
            mine["tampered"] = True
            mine["kept"].append("tampered")
            return dataclasses.replace(_M, metadata={"epoch": 2})

        returned = storage.update_progress("m", change)
        done = "update_progress whose change alters its argument and returns another record"
        wanted = dataclasses.replace(_M, metadata={"epoch": 2})
        check_same(f"{done} returned", wanted, returned)
        check_same(f"{done}, then get_progress", wanted, storage.get_progress("m"))

    def test_change_of_an_absent_model_gets_none(self, storage: AIStorage) -> None:
        """The change of a model that does not exist, or no longer, gets None; its result is stored."""
        seen: list[AIProgress | None] = []

        def change(current: AIProgress | None) -> AIProgress:
            seen.append(current)
            return _M

        storage.update_progress("m", change)
        check_same("update_progress of a new model", _M, storage.get_progress("m"))
        storage.delete_progress("m")
        storage.update_progress("m", change)
        assert all(current is None for current in seen), f"change of an absent model got {seen!r}"
        check_same("update_progress of a deleted model", _M, storage.get_progress("m"))

    def test_exception_of_change_propagates_unchanged(self, storage: AIStorage) -> None:
        """What the change raises comes out as the same object, not wrapped, and nothing is written.

        An application's own errors come out, and those that storages and drivers raise and might retry, too.
        """
        before = storage.save_progress(_M)
        cause = RuntimeError("the cause")
        for error in _errors():
            error.__cause__ = cause

            def change(current: AIProgress | None, raised: BaseException = error) -> AIProgress:
                raise raised

            done = f"update_progress whose change raises {error!r}"
            _check_raised(storage, "m", change, error, done)
            assert error.__cause__ is cause, f"{done}: its __cause__ became {error.__cause__!r}"
            check_unchanged(storage, before, done)
            _check_raised(storage, "absent", change, error, f"{done}, of an absent model")
            got = storage.get_progress("absent")
            assert got is None, f"{done}, of an absent model, created {got!r}"

    def test_base_exception_of_change_propagates(self, storage: AIStorage, clients: Clients) -> None:
        """An exit or an interrupt in the change comes out, nothing is written, and the storage works on."""
        before = storage.save_progress(_M)
        other = clients.open()
        for stop in (_StopNow("now"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), CancelledError()):

            def change(current: AIProgress | None, raised: BaseException = stop) -> AIProgress:
                raise raised

            done = f"update_progress whose change raises {stop!r}"
            _check_raised(storage, "m", change, stop, done)
            check_unchanged(storage, before, done)
            for who, client in (("another client", other), ("the same client", storage)):
                version = before.version + 1
                before = client.update_progress("m", lambda current: current or _M)
                assert before.version == version, (
                    f"{done}, then an update by {who}: expected version {version}, got {before.version}"
                )

    def test_failed_change_holds_no_lock(self, storage: AIStorage, clients: Clients) -> None:
        """After a change that raised, every client can write the model at once."""
        storage.save_progress(_M)

        def change(current: AIProgress | None) -> AIProgress:
            raise LookupError("mine")

        for expected in range(2, 12):
            with pytest.raises(LookupError):
                storage.update_progress("m", change)
            saved = clients.open().save_progress(_M)
            assert saved.version == expected, "a save by another client after a change that raised"

    def test_result_that_is_no_record_is_refused(self, storage: AIStorage) -> None:
        """A change that returns None or anything but a record raises InvalidProgressError."""
        before = storage.save_progress(_M)
        results: tuple[Any, ...] = (None, {"model_name": "m", "mse": 0.5}, "m", False)
        for result in results:
            done = f"update_progress whose change returns {result!r}"
            with refused(InvalidProgressError, done) as caught:
                storage.update_progress("m", lambda _, returned=result: returned)  # type: ignore[misc]
            assert caught[0].value is result, f"{done}: the error names the value {caught[0].value!r}"
            check_unchanged(storage, before, done)
        version = storage.save_progress(_M).version
        assert version == 2, (
            f"{len(results)} updates that were refused and a save: version {version}, expected 2"
        )

    def test_result_of_another_model_is_refused(self, storage: AIStorage) -> None:
        """A change that returns a record of another model raises InvalidProgressError; neither is written."""
        before = storage.save_progress(_M)
        for other in ("other", "M", "m "):
            done = f"update_progress('m') whose change returns a record of {other!r}"
            with refused(InvalidProgressError, done) as caught:
                storage.update_progress("m", lambda _, name=other: dataclasses.replace(_M, model_name=name))  # type: ignore[misc]
            assert (caught[0].field, caught[0].value) == ("model_name", other), f"{done}: {caught[0]}"
            check_unchanged(storage, before, done)
            assert storage.get_progress(other) is None, f"{done} wrote the other model"

    def test_invalid_result_is_refused(self, storage: AIStorage) -> None:
        """A change whose result breaks a rule raises InvalidProgressError naming the field; nothing is written."""
        before = storage.save_progress(_M)
        bad: tuple[tuple[str, Any], ...] = (
            ("mse", float("nan")),
            ("accuracy", "high"),
            ("training_samples", 2**31),
            ("metadata", {"set": {1}}),
        )
        for field, value in bad:
            done = f"update_progress whose change returns {field}={value!r}"
            with refused(InvalidProgressError, done) as caught:
                storage.update_progress("m", lambda _, new={field: value}: dataclasses.replace(_M, **new))  # type: ignore[misc]
            assert caught[0].field == field, f"{done}: the error names the field {caught[0].field!r}"
            check_unchanged(storage, before, done)
        version = storage.save_progress(_M).version
        assert version == 2, f"{len(bad)} updates that were refused and a save: version {version}, expected 2"
