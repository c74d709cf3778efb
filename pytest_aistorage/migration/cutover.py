"""The four steps from a JSON file to another storage, while the application runs; each can be killed and repeated."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ..errors import CorruptStorageError, CutoverStepError, StorageUnavailableError
from ..progress import AIProgress
from .cutover_storage import CutoverStorage
from .differences import Consistency, Difference, compared, difference_of, verify_consistency
from .importing import Placed, import_batch
from .journal import Step

__all__ = ["Cutover", "CutoverStatus"]

T = TypeVar("T")

_BATCH = 500

Found = Callable[[Difference], object]


@dataclass(frozen=True, slots=True)
class CutoverStatus:
    """How far a cutover has come.

    Attributes:
        step: the last step that was taken.
        copied: whether the records that were there before it are in the new storage.
        pending: models whose last change has no copy yet.
        last_failure: why not; None where that is not known.
    """

    step: Step
    copied: bool
    pending: int
    last_failure: str | None


class Cutover:
    """Takes the steps of a cutover, one at a time. What a kill interrupts is taken up by taking the step again.

    The application has the storage ``cutover:///…/training_metrics.json?to=URL`` open all the while, in any number of
    processes, and follows. Only dual write changes the file, and nothing removes it. Use it as a context manager.

    Args:
        path: the file, in the form of `FileStorage`.
        to: the URL of the new storage.
        timeout: seconds to wait for the application's operations to end.

    Raises:
        ConfigurationError: as for `CutoverStorage`.
    """

    def __init__(self, path: str | Path, to: str, *, timeout: float = 60.0) -> None:
        __tracebackhide__ = True  # pytest would print the URL, with its password
        self._storage = CutoverStorage(path, to, timeout=timeout)
        self._journal = self._storage._journal
        self._file = self._storage._file
        self._new = self._storage._new

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.close()

    def status(self) -> CutoverStatus:
        """Return how far it has come.

        Raises:
            ConfigurationError: there is no such file; or a cutover from it to another storage.
            StorageUnavailableError: the journal can't be read.
        """
        with self._journal.locked():
            return CutoverStatus(
                step=self._storage._step(),
                copied=self._journal.get("copied") is not None,
                pending=self._journal.pending_count(),
                last_failure=self._journal.reason(),
            )

    def dual_write(self, found: Found | None = None) -> Consistency:
        """First step: from now on the application writes both; and what the file has is copied to the new storage.

        Before anything is changed, the new storage is compared with the file. It must hold nothing but what the file
        holds as well.

        Args:
            found: called with each difference that is in the way.

        Returns:
            What the comparison found; if something is different or extra, nothing was changed.

        Raises:
            CutoverStepError: this step is behind.
            CorruptStorageError: the file has another form than that of `FileStorage`.
            StorageUnavailableError, OutcomeUnknownError: take the step again.
        """
        with self._journal.one_step():
            return self._dual_write(found)

    def _dual_write(self, found: Found | None) -> Consistency:
        with self._journal.locked():
            step = self._storage._step()
        if step not in (Step.NOT_BEGUN, Step.DUAL_WRITE):
            raise CutoverStepError("dual-write", step.value, "it writes both already")
        if step is Step.NOT_BEGUN:
            obstacles = self._obstacles(found)
            if obstacles.different or obstacles.extra:
                return obstacles
            with self._journal.locked():
                if self._storage._step() is Step.NOT_BEGUN:
                    self._journal.put(
                        step=Step.DUAL_WRITE.value,
                        to=self._storage._to,
                        **self._storage._after_write(),
                    )
        if self.status().copied:
            return Consistency(self._file.get_storage_info().model_count, 0, 0, 0)
        return self._copy_all()

    def _obstacles(self, found: Found | None) -> Consistency:
        def tell(difference: Difference) -> None:
            if found is not None and difference.kind != "missing":
                found(difference)

        try:
            return verify_consistency(self._file, self._new, found=tell)
        except CorruptStorageError as error:
            raise CorruptStorageError(
                f"{error} (a cutover takes the form of FileStorage: "
                "aistorage migrate FILE file:///another.json makes such a file of any other)"
            ) from error

    def _copy_all(self) -> Consistency:
        """Copy what was there before both were written. What is written meanwhile is newer, and is left."""
        with self._journal.locked():
            records = self._file.iter_progress()
        added = equal = 0
        for batch in _batches(records):
            newer: list[str] = []
            tally = import_batch(
                self._new,
                [Placed(record, 0) for record in batch],
                lambda difference, newer=newer: newer.append(difference.model_name),  # type: ignore[misc]
            )
            self._repaired(newer)
            added, equal = added + tally.added, equal + tally.equal + len(newer)
        with self._journal.locked():
            deleted = self._journal.deleted()
        # Deleted from both, and then copied from what had been read of the file before.
        for names in _batches(iter(deleted)):
            self._repaired(names)
        with self._journal.locked():
            self._journal.put(copied="yes")
            self._journal.forget_deleted()
        return Consistency(added + equal, 0, 0, 0)

    def _repaired(self, names: list[str]) -> None:
        if names:
            with self._journal.locked():
                self._journal.note(names)
        self._repair_all("dual-write")

    def _repair_all(self, wanted: str) -> None:
        if left := self._storage.repair():
            with self._journal.locked():
                reason = self._journal.reason()
            raise StorageUnavailableError(f"{wanted}: {left} models have no copy yet: {reason}")

    def verify(self, found: Found | None = None, *, repair: bool = False) -> Consistency:
        """Second step: compare the new storage with the file, value by value.

        The application goes on writing. What differs is looked at again under the lock, so that a copy on its way is
        no difference.

        Args:
            found: called with each difference.
            repair: make the new storage as the file is, where it differs.

        Returns:
            What differs, or differed before it was repaired. If nothing does, the step is taken.

        Raises:
            CutoverStepError: dual write has not copied everything yet, or reads are switched already.
            StorageUnavailableError: one of the storages does not answer, or somebody else writes the file.
        """
        with self._journal.one_step():
            return self._verify(found, repair=repair)

    def _verify(self, found: Found | None, *, repair: bool) -> Consistency:
        with self._journal.locked():
            step = self._storage._step()
            if step not in (Step.DUAL_WRITE, Step.VERIFIED) or self._journal.get("copied") is None:
                raise CutoverStepError("verify", step.value, _NEXT[step])
            # What somebody else has written since it was verified is not, whatever becomes of this comparison.
            step = self._storage._before_write(step)
            # From here on, whoever else writes the file is noticed.
            self._journal.put(foreign="", **self._storage._after_write())
            old = self._file.iter_progress()
        self._repair_all("verify")
        counts = self._compare(old, found, repair=repair)
        self._repair_all("verify")
        with self._journal.locked():
            if self._journal.get("foreign") or self._journal.get("file") != self._file.fingerprint():
                raise StorageUnavailableError(
                    f"verify: {self._file.path} was written by another way than {self._storage!r} meanwhile"
                )
            if left := self._journal.pending_count():
                raise StorageUnavailableError(f"verify: {left} models have no copy yet: try again")
            if counts or repair:
                self._journal.put(step=Step.VERIFIED.value)
                self._journal.forget_deleted()
            elif step is Step.VERIFIED:
                self._journal.put(step=Step.DUAL_WRITE.value)
        return counts

    def _compare(self, old: Iterator[AIProgress], found: Found | None, *, repair: bool) -> Consistency:
        counts = dict.fromkeys(("equal", "different", "missing", "extra"), 0)
        doubtful: list[str] = []
        for difference in compared(old, self._new.iter_progress()):
            if difference is None:
                counts["equal"] += 1
                continue
            doubtful.append(difference.model_name)
            if len(doubtful) == _BATCH:
                self._look_again(doubtful, counts, found, repair=repair)
                doubtful = []
        self._look_again(doubtful, counts, found, repair=repair)
        return Consistency(**counts)

    def _look_again(
        self, names: list[str], counts: dict[str, int], found: Found | None, *, repair: bool
    ) -> None:
        if not names:
            return
        with self._journal.locked():
            olds, news = self._file._get_many(names), self._new._get_many(names)
            wrong: list[str] = []
            for name, old, new in zip(names, olds, news, strict=True):
                if (difference := difference_of(name, old, new)) is None:
                    counts["equal"] += 1
                    continue
                counts[difference.kind] += 1
                wrong.append(name)
                if found is not None:
                    found(difference)
            if repair:
                self._journal.note(wrong)
        if repair:
            self._repair_all("verify")

    def switch(self) -> None:
        """Third step: from now on the new storage is believed and read, and the file gets a copy of each write.

        Raises:
            CutoverStepError: not verified; or somebody has written the file by another way since.
            StorageUnavailableError: the new storage lacks the last writes, and does not answer.
        """
        with self._journal.one_step():
            self._switch()

    def _switch(self) -> None:
        self._repair_all("switch")
        with self._journal.locked():
            step = self._storage._step()
            if step is Step.SWITCHED:
                return
            if step is not Step.VERIFIED:
                raise CutoverStepError("switch", step.value, _NEXT[step])
            if self._journal.get("file") != self._file.fingerprint():
                self._journal.put(step=Step.DUAL_WRITE.value)
                raise CutoverStepError(
                    "switch",
                    Step.DUAL_WRITE.value,
                    f"{self._file.path} was written by another way since it was verified: verify again",
                )
            if left := self._journal.pending_count():
                raise StorageUnavailableError(f"switch: {left} models have no copy yet: try again")
            self._journal.put(step=Step.SWITCHED.value)

    def retire(self, found: Found | None = None, *, accept_differences: bool = False) -> str | None:
        """Fourth step: from now on the file is used no more.

        Args:
            found: called with what only the file has, or has otherwise; it would be lost with the file.
            accept_differences: take the step all the same.

        Returns:
            The command that removes the file, for whoever wants that; None: there are differences, and nothing was
            changed.

        Raises:
            CutoverStepError: reads are not switched.
            CorruptStorageError, StorageUnavailableError: one of the storages can't be read.
        """
        with self._journal.one_step():
            return self._retire(found, accept_differences=accept_differences)

    def _retire(self, found: Found | None, *, accept_differences: bool) -> str | None:
        with self._journal.locked():
            step = self._storage._step()
        if step is not Step.RETIRED:
            if step is not Step.SWITCHED:
                raise CutoverStepError("retire", step.value, _NEXT[step])
            if not accept_differences:
                self._storage.repair()
                with self._journal.locked():
                    old = self._file.iter_progress()
                counts = self._compare(old, found, repair=False)
                if counts.different or counts.missing:
                    return None
            with self._journal.locked():
                self._journal.put(step=Step.RETIRED.value)
        return f"rm -- {shlex.quote(str(self._file.path))}"


_NEXT = {
    Step.NOT_BEGUN: "dual-write is next",
    Step.DUAL_WRITE: "dual-write has to copy everything, and verify has to find no difference, before",
    Step.VERIFIED: "switch is next",
    Step.SWITCHED: "retire is next",
    Step.RETIRED: "there is no step behind it",
}


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, _BATCH)):
        yield batch
