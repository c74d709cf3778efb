"""What races on a hybrid storage, importable by other processes."""

from __future__ import annotations

import os

from pytest_aistorage import AIProgress, open_storage
from pytest_aistorage.races import Register, Workload


class Read(Register):
    """Registers that are mostly read: what is in the cache is read there."""

    def act(self, storage, client, random):
        """Read one nine times, and then read or write."""
        for _ in range(9):
            storage.get_progress(f"{self.prefix}-{random.randrange(self.registers) + 1}")
        return super().act(storage, client, random)


class Whole(Workload):
    """Three models that are always saved together, with one mse."""

    __slots__ = ()

    def act(self, storage, client, random):
        """Save them."""
        mse = random.random()
        return storage.save_many([AIProgress(model_name=f"{self.prefix}-{n}", mse=mse) for n in (1, 2, 3)])


def open_by_process(url, cache, around):
    """Every other process reaches the cache by another way, which no fault of the network meets."""
    way = cache if os.getpid() % 2 else around
    return open_storage(url, cache=way, cache_timeout=0.2, lease=0.5, timeout=2)


def open_behind(url, cache, around):
    """The same of a store that is written behind, whose cache is flushed less often than it is looked at."""
    way = cache if os.getpid() % 2 else around
    return open_storage(
        url,
        cache=way,
        cache_timeout=0.2,
        lease=0.3,
        timeout=2,
        write_policy="write-behind",
        flush_interval=0.2,
    )
