"""The storage that the mutants are made of: it passes everything on to a good one."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Self, TypeVar

from pytest_aistorage import (
    AIProgress,
    Capability,
    InvalidProgressError,
    ProgressQuery,
    StorageInfo,
    open_storage,
)
from pytest_aistorage.validation import checked_progress

__all__ = ["MUTANTS", "Change", "Delegating", "Mutant", "turns_red"]

Change = Any
"""A change; or whatever else a test gives for one."""


class Delegating:
    """A storage around a good one. It inherits nothing from the package: any object with the methods will do.

    A mutant overrides a method, or one of the places through which all of them go: `kept`, `shown`, `named`
    and `mended`.

    Args:
        url: the good storage's.
    """

    type = "mutant"
    capabilities: frozenset[Capability]

    def __init__(self, url: str) -> None:
        self.url = url
        self.inner = open_storage(url)
        self.capabilities = self.inner.capabilities

    def kept(self, record: AIProgress) -> AIProgress:
        """What is stored of a valid record."""
        return record

    def shown(self, record: AIProgress) -> AIProgress:
        """What is returned of a stored record."""
        return record

    def named(self, model_name: str) -> str:
        """The name that a model is looked up by."""
        return model_name

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        """What is stored instead of an invalid record; by default the good storage refuses it."""
        return progress

    def taken(self, progress: Any) -> Any:
        """What is passed on of what the caller saves."""
        try:
            checked_progress(progress)
        except InvalidProgressError as error:
            return self.mended(progress, error)
        return self.kept(progress)

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        return self.shown(
            self.inner.save_progress(self.taken(progress), expected_version=expected_version, ttl=ttl)
        )

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return self.inner.save_many(progresses)
        return [self.shown(record) for record in self.inner.save_many([self.taken(p) for p in progresses])]

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = self.inner.get_progress(self.named(model_name))
        return None if record is None else self.shown(record)

    def load_progress(self) -> list[AIProgress]:
        return [self.shown(record) for record in self.inner.load_progress()]

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        return map(self.shown, self.inner.iter_progress(batch_size=batch_size))

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if not callable(change):
            return self.inner.update_progress(model_name, change)

        def changed(current: AIProgress | None) -> AIProgress:
            result: AIProgress = self.taken(change(None if current is None else self.shown(current)))
            return result

        return self.shown(self.inner.update_progress(self.named(model_name), changed))

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        return self.inner.delete_progress(self.named(model_name), expected_version=expected_version)

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        return [self.shown(record) for record in self.inner.query_progress(query)]

    def expire_now(self, model_name: str) -> bool:
        return self.inner.expire_now(model_name)

    def health_check(self) -> bool:
        return self.inner.health_check()

    def get_storage_info(self) -> StorageInfo:
        return dataclasses.replace(self.inner.get_storage_info(), type=self.type)

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> bool | None:
        self.close()
        return None


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A storage class with a fault, and a contract test that must see it.

    Attributes:
        storage: opened with a URL.
        test: the contract test's name.
        errors: what the test may end with besides a failed assertion: the fault itself may raise.
    """

    storage: type[Delegating]
    test: str
    errors: tuple[type[BaseException], ...]

    @property
    def id(self) -> str:
        """``fault-test``, for the names of parametrized tests."""
        return f"{self.storage.__name__}-{self.test.removeprefix('test_')}"


M = TypeVar("M", bound=type[Delegating])

MUTANTS: list[Mutant] = []
"""Every mutant with every test that it is planted for."""


def turns_red(*tests: str, by: tuple[type[BaseException], ...] = ()) -> Callable[[M], M]:
    """Plant a mutant.

    Args:
        tests: the names of the contract tests that must see the fault, without ``test_``.
        by: what the fault itself may raise in them.
    """

    def plant(storage: M) -> M:
        MUTANTS.extend(Mutant(storage, f"test_{test}", by) for test in tests)
        return storage

    return plant
