"""``ai_storage_factory``: a fresh store at each call, for tests that need many."""

from __future__ import annotations

import weakref

from ..storage import AIStorage
from .opener import StoreOpener
from .run import Run
from .stores import Store

__all__ = ["StoreFactory"]


class _Lease:
    """Who holds it uses a store; when nobody does any more, the store can be made fresh for somebody else."""

    __slots__ = ("__weakref__",)


class StoreFactory:
    """Gives a fresh store at each call.

    A store is used again, emptied, when its opener is not referred to any more, and each storage that was
    opened on it here is closed or not referred to either; so a thousand examples of Hypothesis take one
    database. Everything goes at the end of the session.

    Attributes:
        backend: the backend's name.
    """

    def __init__(self, run: Run, name: str) -> None:
        self.backend = name
        self._run = run
        self._free: list[Store] = [run.another_store(name)]
        self._leases: weakref.WeakKeyDictionary[object, _Lease] = weakref.WeakKeyDictionary()
        self._forever: list[_Lease] = []

    def __call__(self) -> AIStorage:
        """Open a storage on a fresh store. Close it, or use it as a context manager."""
        store, lease = self._take()
        storage = store.renew().open_kept()
        self._hold(storage, lease)
        return storage

    def opener(self) -> StoreOpener:
        """Return what opens clients of a fresh store, one more at each call.

        The store stays as long as the opener or a storage that it opened in this process is referred to.
        """
        store, lease = self._take()
        opener = store.renew()
        # One of its own for each call: the store's may be the same each time.
        held = _HoldingOpener(opener, self, lease)
        self._hold(held, lease)
        return held

    def _take(self) -> tuple[Store, _Lease]:
        if not self._free:
            # A closed storage may live on in a cycle, such as an exception's traceback.
            for holder in [holder for holder in self._leases if getattr(holder, "_closed", False)]:
                del self._leases[holder]
        store = self._free.pop() if self._free else self._run.another_store(self.backend)
        lease = _Lease()
        weakref.finalize(lease, self._give_back, store).atexit = False
        return store, lease

    def _give_back(self, store: Store) -> None:
        store.settle()
        self._free.append(store)

    def _hold(self, holder: object, lease: _Lease) -> None:
        try:
            self._leases[holder] = lease
        except TypeError:
            # A registered backend's storage that can't be referred to weakly, or has no hash.
            self._forever.append(lease)


class _HoldingOpener(StoreOpener):
    """An opener whose storages keep the store from being used again."""

    __slots__ = ("_factory", "_lease")

    def __init__(self, opener: StoreOpener, factory: StoreFactory, lease: _Lease) -> None:
        super().__init__(
            opener._url,
            opener._open_url,
            backend=opener.backend,
            kept=opener._kept,
            simulated=opener.simulated,
            by_id=opener._by_id,
        )
        self._factory = factory
        self._lease = lease

    def __call__(self) -> AIStorage:
        """Open a client of its own."""
        storage = super().__call__()
        self._factory._hold(storage, self._lease)
        return storage

    def open_kept(self) -> AIStorage:
        """Open a client, over connections that are there already if there are any."""
        storage = super().open_kept()
        self._factory._hold(storage, self._lease)
        return storage
