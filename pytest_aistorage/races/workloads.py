"""What the clients of a stress run do: one small class each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from ..errors import VersionConflictError
from ..progress import AIProgress
from ..storage import AIStorage
from . import operations
from .given import refuse_idle

__all__ = [
    "BatchesUnderReads",
    "Churn",
    "Counter",
    "DistinctModels",
    "Functions",
    "ListingUnderWrites",
    "Register",
    "SameModel",
    "Workload",
]


@dataclass(frozen=True, slots=True)
class Workload(ABC):
    """What each client does, again and again. Picklable.

    Attributes:
        prefix: of the names of the models, which must not exist before.
    """

    prefix: str = "race"

    @abstractmethod
    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Do it once.

        Args:
            storage: the client's own, which writes down what is done with it.
            client: the client's number, from 0.
            random: the client's own, seeded.
        """

    def changes(self, record: AIProgress) -> int:
        """Say by how many changes a record was made."""
        return record.version


class SameModel(Workload):
    """All clients save one model: each save must take a version of its own."""

    __slots__ = ()

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Save it."""
        return operations.save(storage, self.prefix, random.random())


class DistinctModels(Workload):
    """Each client saves a model of its own: nobody else writes it, and yet a whole-file store loses it."""

    __slots__ = ()

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Save the client's own."""
        return operations.save(storage, f"{self.prefix}-{client + 1}", random.random())


class Counter(Workload):
    """All clients count one model's ``training_samples`` up by `AIStorage.update_progress`."""

    __slots__ = ()

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Count up by one."""
        return operations.count_up(storage, self.prefix)

    def changes(self, record: AIProgress) -> int:
        """Return the count, or the version where it is lower."""
        return min(record.version, record.training_samples or 0)


@dataclass(frozen=True, slots=True)
class Register(Workload):
    """A compare-and-set register (as in Jepsen's tests): clients read a few models and save on what they read.

    A conflict is an answer and no failure; it says which version was met, so it is checked as a read.

    Attributes:
        registers: how many models there are.
    """

    registers: int = 2

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Read one, write it blindly, or write it if nobody else has since it was read."""
        model = f"{self.prefix}-{random.randrange(self.registers) + 1}"
        current = storage.get_progress(model)
        choice = random.random()
        if choice < 0.2:
            return current
        written = AIProgress(model_name=model, mse=random.random())
        try:
            if choice < 0.3:
                return storage.save_progress(written)
            return storage.save_progress(written, expected_version=0 if current is None else current.version)
        except VersionConflictError as conflict:
            return conflict.actual


class Churn(Workload):
    """Saves and deletes of a few models: records come and go, and versions must go on."""

    __slots__ = ()

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Save, delete or get one of them, at times on the condition of what was read."""
        model = f"{self.prefix}-{random.randint(1, 3)}"
        choice = random.random()
        if choice < 0.4:
            return operations.save(storage, model, random.random())
        if choice < 0.65:
            return storage.delete_progress(model)
        found = storage.get_progress(model)
        version = 0 if found is None else found.version
        try:
            if choice < 0.75:
                return storage.delete_progress(model, expected_version=version)
            if choice < 0.85:
                return storage.save_progress(
                    AIProgress(model_name=model, mse=random.random()), expected_version=version
                )
        except VersionConflictError as conflict:
            return conflict.actual
        return found


class ListingUnderWrites(Workload):
    """Listings while others write: each must show one moment, where `Capability.SNAPSHOT_LISTING` is declared."""

    __slots__ = ()

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """List, or write or delete one of four models."""
        model = f"{self.prefix}-{random.randint(1, 4)}"
        choice = random.random()
        if choice < 0.3:
            return storage.load_progress()
        if choice < 0.4:
            return storage.delete_progress(model)
        return operations.save(storage, model, random.random())


class BatchesUnderReads(Workload):
    """Batches of the same models while others read: nobody may see half a batch of an `Capability.ATOMIC_BATCH`."""

    __slots__ = ()

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Save two or three models as one batch, in any order; list them; or get one."""
        names = [f"{self.prefix}-{number}" for number in (1, 2, 3)]
        choice = random.random()
        if choice < 0.4:
            chosen = random.sample(names, random.randint(2, 3))
            return storage.save_many([AIProgress(model_name=name, mse=random.random()) for name in chosen])
        if choice < 0.7:
            return storage.load_progress()
        return storage.get_progress(random.choice(names))


@dataclass(frozen=True, slots=True)
class Functions(Workload):
    """An application's own functions: client n calls the n-th, and begins anew when there are fewer.

    Attributes:
        steps: each is given the client's storage; picklable where clients are processes.

    Raises:
        RaceError: calling one of them would do nothing.
    """

    steps: tuple[Callable[[AIStorage], Any], ...] = ()

    def __post_init__(self) -> None:
        refuse_idle(self.steps)

    def act(self, storage: AIStorage, client: int, random: Random) -> object:
        """Call the client's function."""
        return self.steps[client % len(self.steps)](storage)
