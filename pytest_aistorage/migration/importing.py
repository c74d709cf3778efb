"""Records into a storage that may hold some of them already: what it holds is never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import VersionConflictError
from ..progress import AIProgress
from ..storage import AIStorage
from ..validation import checked_progress
from .differences import Difference, difference_of, is_same

__all__ = ["Placed", "import_batch", "import_records", "look_up"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A checked record, and where it stands in its file.

    Attributes:
        record: checked by `validation.checked_progress`.
        number: its place, counted from 1.
    """

    record: AIProgress
    number: int


@dataclass(slots=True)
class Tally:
    """How many records were added, were there already, are missing, or differ from what is there."""

    added: int = 0
    equal: int = 0
    missing: int = 0
    different: int = 0

    def __iadd__(self, other: Tally) -> Tally:
        self.added += other.added
        self.equal += other.equal
        self.missing += other.missing
        self.different += other.different
        return self


def import_records(storage: AIStorage, records: Iterable[AIProgress]) -> int:
    """Save records that the storage does not hold yet; what it holds is never overwritten.

    A record that is there already, equal but for its stamps, is passed over, so an import that was interrupted is
    taken up by importing again. Each record is saved by itself, with ``expected_version=0``.

    Returns:
        How many records were saved.

    Raises:
        VersionConflictError: another record of a model is there. Nothing was written, unless somebody else wrote it
            meanwhile.
        StorageUnavailableError, OutcomeUnknownError: as for `AIStorage.save_progress`; the records before were saved.
    """
    missing = [record for record in records if not _is_there(storage, record)]
    saved = 0
    for record in missing:
        try:
            storage.save_progress(record, expected_version=0)
        except VersionConflictError:
            if not _is_there(storage, record):
                raise
        else:
            saved += 1
    return saved


def _is_there(storage: AIStorage, record: AIProgress) -> bool:
    found = storage.get_progress(record.model_name)
    if found is None:
        return False
    if not is_same(found, checked_progress(record)):
        raise VersionConflictError(record.model_name, 0, found.version)
    return True


def import_batch(storage: AIStorage, batch: Sequence[Placed], found: Callable[[Difference], object]) -> Tally:
    """Save the records of a batch whose models are absent, as by ``expected_version=0``, and compare the others.

    Args:
        storage: where to.
        batch: each model once.
        found: called with what differs.

    Raises:
        StorageUnavailableError: the storage can't be reached.
        OutcomeUnknownError: an acknowledgement was lost; what was saved is equal the next time.
    """
    with storage._operation(writing=True):
        added = storage._add_many([placed.record for placed in batch], storage._default_ttl)
    tally = Tally(added=len(added))
    rest = [placed for placed in batch if placed.record.model_name not in added]
    absent: list[Placed] = []
    tally += look_up(storage, rest, found, absent.append)
    for placed in absent:  # it was there once, and has been deleted since
        try:
            storage.save_progress(placed.record, expected_version=0)
        except VersionConflictError:
            tally += look_up(storage, [placed], found)
        else:
            tally.added += 1
            tally.missing -= 1
    return tally


def look_up(
    storage: AIStorage,
    batch: Sequence[Placed],
    found: Callable[[Difference], object],
    absent: Callable[[Placed], object] | None = None,
) -> Tally:
    """Compare the records of a batch with what is stored of their models; nothing is written.

    Args:
        storage: where to look.
        batch: what should be there.
        found: called with what differs; with what is missing as well, unless ``absent`` is given.
        absent: called with what is missing.
    """
    tally = Tally()
    if not batch:
        return tally
    with storage._operation():
        stored = storage._get_many([placed.record.model_name for placed in batch])
    for placed, there in zip(batch, stored, strict=True):
        difference = difference_of(placed.record.model_name, placed.record, there, f"record {placed.number}")
        if difference is None:
            tally.equal += 1
        elif there is not None:
            tally.different += 1
            found(difference)
        else:
            tally.missing += 1
            if absent is None:
                found(difference)
            else:
                absent(placed)
    return tally
