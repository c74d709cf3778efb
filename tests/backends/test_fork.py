"""A storage that was used before ``fork()``, as multiprocessing and data loaders do on Linux."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from typing import Any

import pytest

from pytest_aistorage import AIProgress, AIStorage, open_storage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: no fork() on Windows")

ROUNDS = 100


def _get(storage: AIStorage, model_name: str, barrier: Any, wrong: Any) -> None:
    """Read one's own record again and again, while others read theirs."""
    barrier.wait(60)
    for number in range(ROUNDS):
        found = storage.get_progress(model_name)
        if found is None or found.model_name != model_name:
            wrong.value += 1
        storage.save_progress(AIProgress(model_name=model_name, mse=float(number)))


@pytest.mark.ai_storage("sqlite", "postgres", "redis", "mysql")
@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # it is multi-threaded under pytest-xdist
def test_children_connect_anew(ai_storage: AIStorage) -> None:
    """Parent and children on one inherited socket would read each other's answers; each has its own."""
    context = multiprocessing.get_context("fork")
    names = ["parent", "one", "other"]
    ai_storage.save_many([AIProgress(model_name=name, mse=1.0) for name in names])
    barrier, wrong = context.Barrier(len(names)), context.Value("i", 0)
    children = [
        context.Process(target=_get, args=(ai_storage, name, barrier, wrong), daemon=True)
        for name in names[1:]
    ]
    for child in children:
        child.start()
    _get(ai_storage, "parent", barrier, wrong)
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert wrong.value == 0
    # The children's end leaves the parent's connection as it was.
    assert [record.version for record in ai_storage.load_progress()] == [ROUNDS + 1] * len(names)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    """A copy of records in memory may be used, although another thread wrote when it was made."""
    begun, go_on = threading.Event(), threading.Event()

    def change(current: AIProgress | None) -> AIProgress:
        begun.set()
        assert go_on.wait(60)
        return AIProgress(model_name="changed", mse=2.0)

    with open_storage("memory://forked") as storage, contextlib.ExitStack() as last:
        storage.save_progress(AIProgress(model_name="resnet", mse=1.0))
        writer = threading.Thread(target=storage.update_progress, args=("changed", change))
        writer.start()
        last.callback(writer.join)
        last.callback(go_on.set)
        assert begun.wait(60)

        def use() -> None:
            assert (
                storage.update_progress(
                    "resnet", lambda now: now or AIProgress(model_name="no", mse=0)
                ).version
                == 2
            )
            os._exit(0)

        child = multiprocessing.get_context("fork").Process(target=use, daemon=True)
        child.start()
        child.join(10)
        child.kill()
        child.join(60)
        assert child.exitcode == 0
