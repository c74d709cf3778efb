"""An asynchronous storage that was used before ``fork()``."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from typing import Any

import pytest

from pytest_aistorage import AIProgress, AsyncAIStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: no fork() on Windows")

ROUNDS = 50


async def _use(storage: AsyncAIStorage, name: str, wrong: Any) -> None:
    for number in range(ROUNDS):
        await storage.save_progress(AIProgress(model_name=name, mse=float(number)))
        found = await asyncio.gather(*(storage.get_progress(name) for _ in range(3)))
        if {one and (one.model_name, one.mse) for one in found} != {(name, float(number))}:
            wrong.value += 1


def _child(storage: AsyncAIStorage, name: str, wrong: Any) -> None:
    asyncio.run(_use(storage, name, wrong))


@pytest.mark.ai_storage("sqlite", "postgres", "redis", "mysql", "hybrid")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded, and means to be
def test_children_have_threads_and_connections_of_their_own(async_ai_storage: AsyncAIStorage) -> None:
    """The parent's threads are not there in a child, and its connections are the parent's."""
    context = multiprocessing.get_context("fork")
    wrong = context.Value("i", 0)

    async def race() -> None:
        await _use(async_ai_storage, "parent", wrong)

    asyncio.run(race())
    children = [
        context.Process(target=_child, args=(async_ai_storage, name, wrong), daemon=True)
        for name in ("one", "other")
    ]
    for child in children:
        child.start()
    asyncio.run(race())
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert wrong.value == 0
