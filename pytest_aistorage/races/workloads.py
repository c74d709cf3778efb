"""What the clients of a stress run do: one small class each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from ..progress import AIProgress
from ..storage import AIStorage
from . import operations

__all__ = ["Counter", "DistinctModels", "SameModel", "Workload"]


@dataclass(frozen=True, slots=True)
class Workload(ABC):
    """What each client does, again and again. Picklable.

    Attributes:
        prefix: of the names of the models, which must not exist before.
    """

    prefix: str = "race"
    operation: ClassVar[str] = "save"

    @abstractmethod
    def model_of(self, client: int) -> str:
        """Return the name of the model that a client changes."""

    def models(self, clients: int) -> list[str]:
        """Return all models that so many clients change."""
        return list(dict.fromkeys(self.model_of(client) for client in range(clients)))

    def act(self, storage: AIStorage, client: int, random: Random) -> AIProgress:
        """Do it once; return what was acknowledged."""
        return operations.save(storage, self.model_of(client), random.random())

    def changes(self, records: Iterable[AIProgress]) -> dict[str, int]:
        """Say by how many of these operations each record was made."""
        return {record.model_name: record.version for record in records}


class SameModel(Workload):
    """All clients save one model: each save must take a version of its own."""

    __slots__ = ()

    def model_of(self, client: int) -> str:
        """Return the one model's name."""
        return self.prefix


class DistinctModels(Workload):
    """Each client saves a model of its own: nobody else writes it, and yet a whole-file store loses it."""

    __slots__ = ()

    def model_of(self, client: int) -> str:
        """Return the name of the client's own model."""
        return f"{self.prefix}-{client + 1}"


class Counter(Workload):
    """All clients count one model's ``training_samples`` up by `AIStorage.update_progress`."""

    __slots__ = ()
    operation = "update"

    def model_of(self, client: int) -> str:
        """Return the one model's name."""
        return self.prefix

    def act(self, storage: AIStorage, client: int, random: Random) -> AIProgress:
        """Count up by one."""
        return operations.count_up(storage, self.prefix)

    def changes(self, records: Iterable[AIProgress]) -> dict[str, int]:
        """Return the count, or the version where it is lower."""
        return {record.model_name: min(record.version, record.training_samples or 0) for record in records}
