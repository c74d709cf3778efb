"""Openers of storages on their way, for the contract: picklable, each call opens one more client of a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from pytest_aistorage import AIStorage, open_storage
from pytest_aistorage.migration import CutoverStorage, DualWriteStorage, Step
from pytest_aistorage.migration.cutover_storage import WholeFile, identity


class OwningDualWrite(DualWriteStorage):
    """Closes what was opened for it."""

    def _close(self) -> None:
        super()._close()
        self._old.close()
        self._new.close()


def open_dual_write(place: Path) -> AIStorage:
    """From one SQLite file to another."""
    old, new = (open_storage(f"sqlite:///{place / name}.db") for name in ("old", "new"))
    return OwningDualWrite(old, new, journal=place / "journal")


def open_cutover(place: Path) -> AIStorage:
    """From a JSON file to a SQLite file, at the step that `at_step` has noted."""
    return open_storage(cutover_url(place))


def cutover_url(place: Path) -> str:
    """Of the application that moves."""
    to = f"sqlite:///{place / 'new.db'}"
    return f"cutover://{quote(str(place / 'training_metrics.json'))}?to={quote(to, safe='')}"


def at_step(place: Path, step: Step) -> None:
    """Begin with no records, at a step."""
    file, to = place / "training_metrics.json", f"sqlite:///{place / 'new.db'}"
    file.write_text("[]", encoding="utf-8")
    with CutoverStorage(file, to) as storage, storage._journal.locked():
        fingerprint = WholeFile(file).fingerprint()
        if step is not Step.NOT_BEGUN:
            storage._journal.put(step=step.value, to=identity(to), copied="yes", file=fingerprint)
