"""What a proof is about: one backend, with stores of it to race on."""

from __future__ import annotations

import contextlib
import functools
import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..capabilities import Capability
from ..registry import open_storage
from ..storage import AIStorage
from .controller import LockProbe, Operation, Scenario
from .probes import probe_for
from .seams import Failpoints, FileSeams, Seams

__all__ = ["Store", "Subject"]


@dataclass(frozen=True, slots=True)
class Store:
    """One store, and how its clients are stopped.

    Attributes:
        opener: opens one more client.
        seams: where clients can be stopped.
    """

    opener: Callable[[], AIStorage]
    seams: Seams


class Subject:
    """One backend under proof. A context manager: it keeps one client open, for which a ``memory://`` lives.

    Args:
        name: ``"file"``, ``"postgres"``, ...
        fresh: makes an empty store; or returns the same one each time, given that it bears many models: every
            scenario takes models of its own.
        probe: how a wait for a lock is recognized.
        is_filled: whether a fresh store has records already.
    """

    def __init__(
        self,
        name: str,
        fresh: Callable[[], Store],
        probe: LockProbe | None = None,
        *,
        is_filled: bool = False,
    ) -> None:
        self.name = name
        self.is_filled = is_filled
        self._fresh = fresh
        self._probe = probe
        self._numbers = itertools.count(1)
        self._open = contextlib.ExitStack()
        self._observers: dict[Callable[[], AIStorage], AIStorage] = {}

    @classmethod
    def of_url(cls, name: str, url: str) -> Self:
        """Make the subject of one store that is not a file: a database, a Redis, a shared ``memory://name``."""
        store = Store(functools.partial(open_storage, url), Failpoints())
        return cls(name, lambda: store, probe_for(url))

    @classmethod
    def of_files(
        cls,
        name: str,
        directory: Path,
        open_file: Callable[[Path], AIStorage],
        template: Path | None = None,
    ) -> Self:
        """Make the subject of a storage that keeps everything in one file.

        Args:
            name: the subject's name.
            directory: where to make files.
            open_file: opens one; picklable.
            template: a file of which each store begins as a copy; None: each begins empty.
        """
        numbers = itertools.count(1)

        def fresh() -> Store:
            path = directory / f"training_metrics-{next(numbers)}.json"
            if template is not None:
                shutil.copyfile(template, path)
            return Store(functools.partial(open_file, path), FileSeams(path))

        return cls(name, fresh, is_filled=template is not None)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its storages declare."""
        return self.observer(self._fresh()).capabilities

    @property
    def threads(self) -> bool:
        """Whether its clients must be threads of one process."""
        return Capability.SHARED_BETWEEN_PROCESSES not in self.capabilities

    def fresh(self) -> Store:
        """Return a store for one more scenario."""
        return self._fresh()

    def model(self) -> str:
        """Return the name of a model that nobody has used."""
        return f"resnet-{next(self._numbers):05}"

    def scenario(self, store: Store, *operations: Operation) -> Scenario:
        """Return the scenario of these operations on a store."""
        return Scenario(
            opener=store.opener,
            operations=operations,
            seams=store.seams,
            threads=self.threads,
            probe=self._probe,
        )

    def observer(self, store: Store) -> AIStorage:
        """Return a client of ours, which stays open."""
        if store.opener not in self._observers:
            self._observers[store.opener] = self._open.enter_context(store.opener())
        return self._observers[store.opener]

    def __enter__(self) -> Self:
        self.observer(self._fresh())
        return self

    def __exit__(self, *exception: object) -> None:
        self._observers.clear()
        self._open.close()
        if self._probe is not None:
            self._probe.close()
