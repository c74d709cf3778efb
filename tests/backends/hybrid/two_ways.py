"""What races on a hybrid storage, importable by other processes."""

from __future__ import annotations

import os

from pytest_aistorage import open_storage
from pytest_aistorage.races import Register


class Read(Register):
    """Registers that are mostly read: what is in the cache is read there."""

    def act(self, storage, client, random):
        """Read one nine times, and then read or write."""
        for _ in range(9):
            storage.get_progress(f"{self.prefix}-{random.randrange(self.registers) + 1}")
        return super().act(storage, client, random)


def open_by_process(url, cache, around):
    """Every other process reaches the cache by another way, which no fault of the network meets."""
    way = cache if os.getpid() % 2 else around
    return open_storage(url, cache=way, cache_timeout=0.2, lease=0.5, timeout=2)
