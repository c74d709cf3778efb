"""The clients of all races of a test run: started once, with a store opened anew for each test."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import AIStorageError
from .clients import Client, ClientPool

__all__ = ["clients_of", "shared_pool"]

_pools: list[ClientPool] = []


def shared_pool() -> ClientPool:
    """Return the pool of this process; it ends with the process."""
    if not _pools:
        _pools.append(ClientPool())
        atexit.register(_pools[0].close)
    return _pools[0]


@contextmanager
def clients_of(
    opener: Callable[[], Any], number: int, *, processes: bool = False, observers: int = 0
) -> Iterator[list[Client]]:
    """Clients that have opened a store, for the length of a ``with`` block.

    Args:
        opener: opens a client; picklable for processes.
        number: how many race.
        processes: whether each of them is a process of its own; otherwise they are threads of this one.
        observers: how many more, which are threads of this process in any case.

    Raises:
        UnsupportedOperationError: processes can't be had on this system.
        Exception: what the opener raised.
    """
    pool = shared_pool()
    threads = pool.clients(observers + (0 if processes else number), threads=True)
    racing = pool.clients(number) if processes else threads[observers:]
    used = [*racing, *threads[:observers]]
    try:
        for client in used:
            client.open(opener)
        yield used
    finally:
        for client in used:
            if client.alive:
                with contextlib.suppress(AIStorageError):
                    client.close()
