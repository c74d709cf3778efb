"""A hybrid storage that is written in its database, and read from leased copies in its cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from ..errors import AIStorageError, OutcomeUnknownError, StorageUnavailableError
from ..progress import AIProgress
from ..storage import Change, ChangeRaised
from ._cache import Cache, Claim, Write
from .database import DatabaseStorage

__all__ = ["WriteThrough"]

_TRIES: Final = 3
"""Of an update whose `change` takes longer than its announcement lasts, while the cache does not answer."""


class WriteThrough:
    """Announces each write in the cache, makes it in the database, and fills copies by claims.

    Args:
        cache: what holds the copies.
        database: the only truth.
    """

    trouble: None = None
    """Nothing goes on behind an operation that could fail."""

    pending: int = 0
    """The database has every write that was acknowledged."""

    def __init__(self, cache: Cache, database: DatabaseStorage) -> None:
        self._cache = cache
        self._database = database

    def get(self, model_name: str) -> AIProgress | None:
        """Return the model's record."""
        found = self._cache.get(model_name)
        if isinstance(found, tuple):
            return found[0]
        if found is None:
            return self._database._get(model_name)
        return self._filled(found)

    def _filled(self, claim: Claim) -> AIProgress | None:
        try:
            record = self._database._get(claim.model_name)
        except BaseException:
            self._cache.give_back(claim)
            raise
        try:
            self._cache.fill(claim, record)
        except StorageUnavailableError:  # the database went away behind the answer, which is as good as ever
            self._cache.give_back(claim)
        return record

    def save(self, record: AIProgress, expected: int | None) -> AIProgress:
        """Save one record."""
        with self._writing([record.model_name]):
            return self._database._save(record, expected, None)

    def save_many(self, records: list[AIProgress]) -> list[AIProgress]:
        """Save a batch in one transaction."""
        with self._writing([record.model_name for record in records]):
            return self._database._save_many(records, None)

    def delete(self, model_name: str, expected: int | None) -> int | None:
        """Delete the model's record."""
        with self._writing([model_name]):
            return self._database._delete(model_name, expected)

    def update(self, model_name: str, change: Change) -> AIProgress:
        """Replace the model's record in one transaction, which its announcement outlasts."""
        for _ in range(_TRIES):
            with contextlib.suppress(_Late), self._writing([model_name]) as write:
                return self._database._update(model_name, _in_time(change, write))
        raise StorageUnavailableError(
            f"{self._database._location()}: model {model_name!r}: change takes longer than others can be kept from "
            "the cache"
        )

    def sync(self) -> None:
        """Nothing: the database has every write that was acknowledged."""

    def flush(self, timeout: float) -> int:
        """Nothing, as `sync`; return how much is left."""
        return self.pending

    def close(self, timeout: float) -> None:
        """Take back what this client told the others."""
        with contextlib.suppress(StorageUnavailableError, OutcomeUnknownError):  # it ends by itself
            self._cache.forget()

    @contextlib.contextmanager
    def _writing(self, model_names: Sequence[str]) -> Iterator[Write]:
        """Announce a write for the length of a ``with`` block; one of unknown outcome stays announced."""
        write = Write(self._cache, model_names)
        write.announce()
        try:
            yield write
        except OutcomeUnknownError:
            raise
        except (AIStorageError, ChangeRaised):  # nothing of it can still take effect
            write.end()
            raise
        write.end()


class _Late(ChangeRaised):
    """`change` took so long that the announcement of its write may be over before the write is."""

    def __init__(self) -> None:
        super().__init__(self)


def _in_time(change: Change, write: Write) -> Change:
    def changed(current: AIProgress | None) -> AIProgress:
        result = change(current)
        if not write.renew():
            raise _Late
        return result

    return changed
