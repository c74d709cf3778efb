"""Faults in closing, and in what a storage says of itself."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from pytest_aistorage import (
    AIProgress,
    StorageInfo,
    StorageUnavailableError,
)

from .delegating import Delegating, turns_red


class Counting(Delegating):
    """Counts how often it was closed."""

    closes = 0

    def close(self) -> None:
        super().close()
        self.closes += 1


@turns_red("close_is_idempotent", by=(StorageUnavailableError,))
class SecondCloseRaises(Counting):
    """A second close meets a closed connection."""

    def close(self) -> None:
        if self.closes:
            raise StorageUnavailableError("already closed")
        super().close()


@turns_red("unused_client_can_be_closed", by=(RuntimeError,))
class UnusedCloseRaises(Delegating):
    """Connects lazily, and closes what it never opened."""

    _used = False

    def taken(self, progress: Any) -> Any:
        self._used = True
        return super().taken(progress)

    def close(self) -> None:
        super().close()
        if not self._used:
            raise RuntimeError("not connected")


@turns_red("operations_after_close_raise", "with_block_closes")
class CloseDoesNothing(Delegating):
    """A closed storage goes on as if nothing had been."""

    def close(self) -> None:
        pass


@turns_red("operations_after_close_raise")
class DriverErrorAfterClose(Delegating):
    """What the driver says of its closed connection comes out as it is."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        try:
            return super().get_progress(model_name)
        except StorageUnavailableError as error:
            raise ConnectionResetError("closed") from error


@turns_red("health_check_is_false_after_close")
class HealthLies(Delegating):
    """The health check asks nobody."""

    def health_check(self) -> bool:
        return True


@turns_red("health_check_is_false_after_close", by=(StorageUnavailableError,))
class HealthRaises(Delegating):
    """The health check of a storage that does not answer raises."""

    def health_check(self) -> bool:
        if not super().health_check():
            raise StorageUnavailableError("no answer")
        return True


@turns_red("close_leaves_other_clients_alone", by=(StorageUnavailableError,))
class CloseBreaksSiblings(Delegating):
    """All clients share a connection, and who closes first closes it for all."""

    _clients: ClassVar[list[CloseBreaksSiblings]] = []

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._clients.append(self)

    def close(self) -> None:
        for client in self._clients:
            if client.url == self.url:
                client.inner.close()


@turns_red("with_block_closes")
class WithSwallows(Delegating):
    """A with block lets no exception through."""

    def __exit__(self, *_: object) -> bool | None:
        self.close()
        return True


@turns_red("records_survive_the_last_close")
class CloseEmpties(Delegating):
    """What is stored goes with the client."""

    def close(self) -> None:
        if self.inner.health_check():
            for record in self.inner.load_progress():
                self.inner.delete_progress(record.model_name)
        super().close()


# -- what a storage says of itself --------------------------------------------------------------------------


@turns_red("health_check_is_true")
class EmptyIsIll(Delegating):
    """A store without tables is taken for one that does not answer."""

    def health_check(self) -> bool:
        return super().health_check() and bool(self.inner.load_progress())


class Telling(Delegating):
    """Tells something wrong of itself."""

    tells: ClassVar[dict[str, Any]]

    def get_storage_info(self) -> StorageInfo:
        return dataclasses.replace(super().get_storage_info(), **self.tells)


@turns_red("info_describes_the_storage")
class LatencyMissing(Telling):
    """No ping is taken."""

    tells: ClassVar[dict[str, Any]] = {"latency": None}


@turns_red("info_describes_the_storage")
class AnotherType(Telling):
    """A wrapper that tells the type of what it wraps."""

    tells: ClassVar[dict[str, Any]] = {"type": "memory"}


@turns_red("info_tells_the_declared_capabilities")
class TellsNoCapabilities(Telling):
    """The info leaves the capabilities out."""

    tells: ClassVar[dict[str, Any]] = {"capabilities": frozenset()}


@turns_red("no_password_is_shown")
class PasswordInTheLocation(Telling):
    """The URL is shown as it was given."""

    tells: ClassVar[dict[str, Any]] = {"location": "postgresql://user:hunter2@localhost/db"}


@turns_red("no_password_is_shown")
class PasswordInTheRepr(Delegating):
    """The repr shows the connection string."""

    def __repr__(self) -> str:
        return "<Mutant host=localhost password=hunter2>"


@turns_red("no_password_is_shown")
class PasswordInAnError(Delegating):
    """An error quotes the URL."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        try:
            return super().get_progress(model_name)
        except StorageUnavailableError as error:
            raise StorageUnavailableError("redis://:hunter2@localhost/0 is closed") from error


@turns_red("info_counts_models")
class CountsEveryModelEver(Delegating):
    """The count is that of the table of versions."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._names: set[str] = set()

    def kept(self, record: AIProgress) -> AIProgress:
        self._names.add(record.model_name)
        return record

    def get_storage_info(self) -> StorageInfo:
        return dataclasses.replace(super().get_storage_info(), model_count=len(self._names))


@turns_red("iteration_does_not_end_early_at_a_close")
class IterationEndsAtClose(Counting):
    """An iteration that is caught by close ends as if there were no more records."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        records = list(super().iter_progress(batch_size=batch_size))
        return (record for record in records if not self.closes)


@turns_red("operations_after_close_raise")
class ExpiresAfterClose(Counting):
    """expire_now of a closed storage says that there is no such record."""

    def expire_now(self, model_name: str) -> bool:
        return False if self.closes else super().expire_now(model_name)


@turns_red("health_and_info_leave_nothing_behind")
class HealthLeavesAProbe(Delegating):
    """health_check writes a record to see whether it can."""

    def health_check(self) -> bool:
        if healthy := super().health_check():
            self.inner.save_progress(AIProgress(model_name="__health__", mse=0.0))
        return healthy


@turns_red("health_check_is_true")
class HealthHangs(Delegating):
    """health_check waits for a server that is gone."""

    def health_check(self) -> bool:
        threading.Event().wait(60)
        return True


@turns_red("health_check_is_false_after_close")
class HealthHangsAfterClose(Counting):
    """health_check of a closed storage waits for a connection of an empty pool."""

    def health_check(self) -> bool:
        if self.closes:
            threading.Event().wait(60)
        return super().health_check()


@turns_red("info_counts_models")
class CountsItsOwnWrites(Delegating):
    """The count is kept by each client, and fetched only once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._counted: int | None = None

    def get_storage_info(self) -> StorageInfo:
        info = super().get_storage_info()
        self._counted = info.model_count if self._counted is None else self._counted
        return dataclasses.replace(info, model_count=self._counted)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        self._counted = None
        return super().save_many(progresses)

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        self._counted = None
        return super().delete_progress(model_name, expected_version=expected_version)
