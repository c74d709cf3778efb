"""What waits together is done together, also by storages of third parties, and no task is left waiting."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from pytest_aistorage import AIProgress, AIStorage, AsyncAIStorage, StorageUnavailableError
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.wrapper import WrapperStorage

PATIENCE = 60.0
NAMES = [f"m{number}" for number in range(5)]


class Lost(StorageUnavailableError):
    """A third party's error, which can't be made of what it was made of."""

    def __init__(self, *, host: str) -> None:
        super().__init__(f"{host} is lost")


class Remote(MemoryStorage):
    """Records in memory that are had by waiting for them."""

    def _at_once(self) -> None:
        return None


def gets(storage: AIStorage) -> list[Any]:
    """What several tasks get, which all wait for one thread."""

    async def use() -> list[Any]:
        async with AsyncAIStorage(storage, max_concurrency=1) as awaited, asyncio.timeout(PATIENCE):
            # While this one is done, the others come together.
            first = asyncio.ensure_future(awaited.get_progress("first"))
            await asyncio.sleep(0)
            found = await asyncio.gather(
                *(awaited.get_progress(name) for name in NAMES), return_exceptions=True
            )
            await asyncio.gather(first, return_exceptions=True)
            return found

    return asyncio.run(use())


def test_error_that_cannot_be_copied_is_told_to_all() -> None:
    """Each task gets a copy of the error where there can be one, and the error itself where not."""

    class Down(Remote):
        def _get(self, model_name: str) -> AIProgress | None:
            raise Lost(host="db")

        def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
            raise Lost(host="db")

    assert [str(error) for error in gets(Down())] == ["db is lost"] * len(NAMES)


def test_too_few_results_are_none() -> None:
    """Nobody could say whose is missing, so each is got by itself."""

    class Short(Remote):
        def _get(self, model_name: str) -> AIProgress | None:
            return AIProgress(model_name=model_name, mse=1.0)

        def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
            return super()._get_many(model_names)[1:]

    assert [record.model_name for record in gets(Short())] == NAMES


def test_wrapper_does_together_what_is_behind_it_does() -> None:
    """A storage that gets records one by one has them got in several threads, also where it is counted or traced."""

    class Single(Remote):
        def __init__(self) -> None:
            super().__init__()
            self.both = threading.Barrier(2)

        def _get(self, model_name: str) -> AIProgress | None:
            self.both.wait(PATIENCE)
            return None

    async def use() -> list[AIProgress | None]:
        async with AsyncAIStorage(WrapperStorage(WrapperStorage(Single())), max_concurrency=3) as storage:
            first = asyncio.ensure_future(storage.get_progress("first"))
            others = [storage.get_progress(name) for name in NAMES]
            return await asyncio.gather(first, *others)

    assert asyncio.run(use()) == [None] * (1 + len(NAMES))
