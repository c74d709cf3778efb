"""What races on a hybrid whose cache is a cluster, importable by other processes."""

from __future__ import annotations

import random
from typing import Any

from pytest_aistorage import AIStorage, open_storage
from pytest_aistorage.races import Register


class Read(Register):
    """Registers that are mostly read: what is in the cache is read there."""

    def act(self, storage: Any, client: int, random: random.Random) -> Any:
        """Read one nine times, and then read or write."""
        for _ in range(9):
            storage.get_progress(f"{self.prefix}-{random.randrange(self.registers) + 1}")
        return super().act(storage, client, random)


def open_hybrid(url: str, cache: str) -> AIStorage:
    """Open a client that soon gives a node up, and soon believes another one."""
    storage: Any = open_storage(url, cache=cache, cache_timeout=0.2, lease=0.3, timeout=2)
    storage._cache.span = 0.5  # far more than a write takes here, so that there are copies to be read
    return storage  # type: ignore[no-any-return]  # a hybrid
