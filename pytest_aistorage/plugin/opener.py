"""What ``ai_storage_opener`` hands out: a picklable callable that opens one more client of the test's store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UnsupportedOperationError
from ..storage import AIStorage

__all__ = ["StoreOpener"]


class StoreOpener:
    """Opens one more client of a store, each time it is called. The caller closes it.

    Pickled, it becomes a plain partial call, so that another process which opens the store need not import
    pytest.

    Args:
        url: the store's; None where no URL leads to it.
        open_url: opens the URL; picklable.
        backend: the backend's name, ``postgres@17``.
        kept: opens a client over connections that are there already, in this process; None: there are none.
        simulated: whether a fake stands in for the server.
        by_id: ``url`` is none, but the id of a store, and ``open_url`` opens that.
        directory: of the store's own; None: it has none.

    Attributes:
        url: the store's, for an application's settings.
        backend: the backend's name.
        simulated: whether a fake stands in for the server, so that nothing here is evidence for a guarantee.
        directory: where all its files are, and no other's; None: nowhere, or in nobody knows what places.
    """

    __slots__ = ("__weakref__", "_by_id", "_kept", "_open_url", "_url", "backend", "directory", "simulated")

    def __init__(
        self,
        url: str | None,
        open_url: Callable[[str], AIStorage] | None,
        *,
        backend: str,
        kept: Callable[[], AIStorage] | None = None,
        simulated: bool = False,
        by_id: bool = False,
        directory: Path | None = None,
    ) -> None:
        self._url = url
        self._by_id = by_id
        self._open_url = open_url
        self._kept = kept
        self.backend = backend
        self.simulated = simulated
        self.directory = directory

    @property
    def url(self) -> str:
        """The store's URL.

        Raises:
            UnsupportedOperationError: no URL leads to a fake, nor to what a factory opens.
        """
        if self._by_id:
            raise UnsupportedOperationError(f"{self.backend} has no URL: its factory opens a store by an id")
        if self._url is None:
            raise UnsupportedOperationError(f"{self.backend} has no URL: it lives in this process")
        return self._url

    @property
    def store_id(self) -> str | None:
        """What a factory, or a registered class, was given to open the store by: the id, or the URL."""
        return self._url

    def __call__(self) -> AIStorage:
        """Open a client of its own."""
        if self._url is None or self._open_url is None:
            return self.open_kept()
        return self._open_url(self._url)

    def open_kept(self) -> AIStorage:
        """Open a client, over connections that are there already if there are any."""
        return self() if self._kept is None else self._kept()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._url is None or self._open_url is None:
            raise UnsupportedOperationError(
                f"{self.backend} lives in this process: its opener can't be given to another"
            )
        return functools.partial, (self._open_url, self._url)

    def __repr__(self) -> str:
        return f"<opener of a {self.backend} store>"  # no URL: it may hold a password
