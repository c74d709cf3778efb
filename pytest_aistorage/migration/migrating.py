"""A whole file into a storage: checked first, then written, then, if asked for, compared with what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigurationError, CorruptStorageError, InvalidProgressError
from ..storage import AIStorage
from .differences import Difference, Problem
from .duplicates import Names
from .importing import Placed, Tally, import_batch, look_up
from .records import Entry, entries
from .stream import Item, JSONFile

__all__ = ["DUPLICATES", "Finding", "MigrationReport", "Progress", "migrate_file"]

Finding = Problem | Difference
Progress = Callable[[str, int, int, int], object]
"""Called with a phase, how many bytes of the file it is through with, of how many, and with how many records."""

Keep = Literal["refuse", "first", "last"]
DUPLICATES: tuple[Keep, ...] = ("refuse", "first", "last")
"""What may be done with a model that comes several times."""

_BATCH = 2000
_PLACES = 3


@dataclass(slots=True)
class MigrationReport:
    """What came of `migrate_file`. Each record of the file is counted once.

    Attributes:
        records: places of the file at which there should be a record.
        added: saved, or to be saved if this had been no dry run.
        equal: there already, equal but for their stamps.
        different: another record of their model is there, and was left as it is.
        missing: not there when all was compared in the end.
        invalid: break a rule of a record.
        damaged: places that are no JSON. What may stand behind one, outside of JSON Lines, is not counted.
        duplicates: left out, because their model comes several times.
        superseded: left out, because the first or the last record of their model was asked for.
        verified: compared with what was stored in the end, and equal; None: this was not asked for.
        refused: nothing was written, because of what is wrong with the file.
        dry_run: nothing was to be written.
    """

    records: int = 0
    added: int = 0
    equal: int = 0
    different: int = 0
    missing: int = 0
    invalid: int = 0
    damaged: int = 0
    duplicates: int = 0
    superseded: int = 0
    verified: int | None = None
    refused: bool = False
    dry_run: bool = False

    def __bool__(self) -> bool:
        """Whether every record of the file is in the storage, or would be."""
        return not (
            self.refused or self.different or self.missing or self.invalid or self.damaged or self.duplicates
        )


def migrate_file(
    path: str | Path,
    storage: AIStorage,
    *,
    dry_run: bool = False,
    verify: bool = False,
    skip_invalid: bool = False,
    duplicates: Keep = "refuse",
    batch_size: int = _BATCH,
    progress: Progress | None = None,
    found: Callable[[Finding], object] | None = None,
) -> MigrationReport:
    """Save every record of a JSON file whose model the storage has not got; nothing that it has is overwritten.

    The whole file is read and checked before anything is written. Records go in batches; memory is bounded whatever
    the file's length, but for some bytes a record. A migration that was interrupted, at whatever moment, is taken up
    by running it again: what is there and equal is passed over. What may be read is told by `read_records`.

    Args:
        path: the file. It must not be written meanwhile, and is not changed.
        storage: where to.
        dry_run: only compare with what is stored.
        verify: read the file once more in the end, and compare what is stored.
        skip_invalid: leave out what can't be taken, and save the rest; otherwise nothing is written then.
        duplicates: of a model that comes several times, save the ``"first"`` or the ``"last"`` record; ``"refuse"``
            takes none of them.
        batch_size: how many records to save at a time.
        progress: called as the file is gone through: what was counted is done.
        found: called with each problem and each difference.

    Raises:
        StorageUnavailableError: the file or the storage can't be reached; what was saved before stays.
        OutcomeUnknownError: an acknowledgement was lost; run it again.
        CorruptStorageError: the file changed while it was read.
        ConfigurationError: an unknown way to treat duplicates, or a batch size below 1.
    """
    if duplicates not in DUPLICATES:
        raise ConfigurationError(f"duplicates: must be one of {', '.join(DUPLICATES)}, got {duplicates!r}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigurationError(f"batch_size: must be an int from 1 up, got {batch_size!r}")
    run = _Run(Path(path), storage, progress or _nothing, found or _nothing, batch_size)
    return run.all(dry_run=dry_run, verify=verify, skip_invalid=skip_invalid, keep=duplicates)


def _nothing(*_: Any) -> None:
    pass


def _model_of(item: Item) -> str | None:
    """What a record that can't be taken calls its model."""
    value = item.value if isinstance(item.value, dict) else {}
    name = item.name or value.get("model_name") or value.get("modelName")
    return name if isinstance(name, str) else None


@dataclass(slots=True)
class _Run:
    path: Path
    storage: AIStorage
    progress: Progress
    found: Callable[[Finding], object]
    batch_size: int
    report: MigrationReport = field(default_factory=MigrationReport)
    left_out: dict[str, int | None] = field(default_factory=dict)
    """Models that come several times, and the place of the record that is taken; None: no one is."""
    known: tuple[int, ...] | None = None

    def all(self, *, dry_run: bool, verify: bool, skip_invalid: bool, keep: Keep) -> MigrationReport:
        report = self.report
        report.dry_run = dry_run
        repeated = self._check()
        if repeated:
            self._name(repeated, keep)
        if (report.invalid or report.damaged or report.duplicates) and not skip_invalid:
            report.refused = True
            return report
        if dry_run:
            tally = self._go_through("compare", self._compare)
            report.added, tally.missing = tally.missing, 0
        else:
            # What differs is told once, by the last pass.
            tell = _nothing if verify else self.found
            tally = self._go_through("write", lambda batch: import_batch(self.storage, batch, tell))
            report.added = tally.added
        report.equal, report.different = tally.equal, tally.different
        if verify and not dry_run:
            tally = self._go_through("verify", lambda batch: look_up(self.storage, batch, self.found))
            report.verified, report.different, report.missing = tally.equal, tally.different, tally.missing
        return report

    def _compare(self, batch: list[Placed]) -> Tally:
        return look_up(self.storage, batch, self.found, _nothing)

    def _check(self) -> frozenset[int]:
        """Read everything; count and tell what can't be taken. Return hashes of names that come several times."""
        names = Names()
        for entry in self._each("check"):
            self.report.records += 1
            if entry.record is not None:
                names.add(entry.record.model_name)
                continue
            item = entry.item
            if isinstance(entry.problem, InvalidProgressError) or item.problem is None:
                self.report.invalid += 1
                self.found(Problem("invalid", item.place, str(entry.problem), _model_of(item)))
            else:
                self.report.damaged += 1
                reason = f"{entry.problem}; {self._behind(entry)}"
                self.found(Problem("damaged", item.place, reason, item.name))
        return names.seen_twice()

    def _behind(self, entry: Entry) -> str:
        if not entry.item.last:
            return "the lines behind it are read"
        before = entry.item.number - 1
        return f"what stands before it can be read, {before} places; nothing behind it can be told apart"

    def _name(self, repeated: frozenset[int], keep: Keep) -> None:
        places: dict[str, list[int]] = {}
        for entry in self._each("duplicates"):
            if entry.record is not None and hash(entry.record.model_name) in repeated:
                places.setdefault(entry.record.model_name, []).append(entry.item.number)
        for name, numbers in places.items():
            if len(numbers) < 2:
                continue
            kept = {"refuse": None, "first": numbers[0], "last": numbers[-1]}[keep]
            self.left_out[name] = kept
            if kept is not None:
                self.report.superseded += len(numbers) - 1
                continue
            self.report.duplicates += len(numbers)
            more = f" and {len(numbers) - _PLACES} more" if len(numbers) > _PLACES else ""
            told = ", ".join(f"record {number}" for number in numbers[:_PLACES]) + more
            reason = f"the model {name!r} comes {len(numbers)} times"
            self.found(Problem("duplicate", told, reason, name))

    def _go_through(self, phase: str, work: Callable[[list[Placed]], Tally]) -> Tally:
        """Do the work on every batch: while one waits for the storage, the next one is read."""
        total = Tally()
        done = 0
        waiting: tuple[Future[Tally], int, int, int] | None = None
        with ThreadPoolExecutor(1, "aistorage-migrate") as pool:
            for batch, position, size in self._batches():
                following = pool.submit(work, batch), position, size, len(batch)
                if waiting is not None:
                    done = self._finish(phase, waiting, total, done)
                waiting = following
            if waiting is not None:
                self._finish(phase, waiting, total, done)
        return total

    def _finish(
        self, phase: str, waiting: tuple[Future[Tally], int, int, int], total: Tally, done: int
    ) -> int:
        future, position, size, records = waiting
        total += future.result()
        done += records
        self.progress(phase, position, size, done)
        return done

    def _batches(self) -> Iterator[tuple[list[Placed], int, int]]:
        batch: list[Placed] = []
        with JSONFile(self.path) as file:
            self._check_unchanged(file)
            for entry in entries(file):
                record, number = entry.record, entry.item.number
                if record is None or self.left_out.get(record.model_name, number) != number:
                    continue
                batch.append(Placed(record, number))
                if len(batch) == self.batch_size:
                    yield batch, file.consumed, file.size
                    batch = []
            self._check_unchanged(file)
            yield batch, file.size, file.size

    def _each(self, phase: str) -> Iterator[Entry]:
        """Every place of the file, for a pass that needs no storage."""
        count = 0
        with JSONFile(self.path) as file:
            self._check_unchanged(file)
            for count, entry in enumerate(entries(file), 1):
                yield entry
                if not count % self.batch_size:
                    self.progress(phase, file.consumed, file.size, count)
            self._check_unchanged(file)
            self.progress(phase, file.size, file.size, count)

    def _check_unchanged(self, file: JSONFile) -> None:
        state = file.state()
        if self.known not in (None, state):
            raise CorruptStorageError(
                f"{self.path}: somebody writes it while it is migrated; run the migration again when nobody does"
            )
        self.known = state
