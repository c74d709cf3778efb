"""One run of the benchmarks: its reports, and what they were measured on."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import MEASURED
from .figures import Report
from .machine import Machine
from .settings import Settings

__all__ = ["Outcome", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        reports: in the order in which they were measured.
        before: the machine when the run began.
        after: the machine when it ended.
        version: of this package.
        quick: whether little was measured.
    """

    reports: Sequence[Report]
    before: Machine
    after: Machine
    version: str
    quick: bool

    @property
    def missed(self) -> list[str]:
        """One line for each goal that is not met."""
        return [line for report in self.reports for line in report.missed]

    @property
    def broken(self) -> list[str]:
        """One line for each promise that was seen to be broken."""
        return [
            f"{', '.join(row.labels)}: {name}: {shown.words}, though promised: {shown.counts}"
            for report in self.reports
            for row in report.rows
            for name, shown in row.shown.items()
            if shown.broken
        ]

    @property
    def notes(self) -> list[str]:
        """What could not be measured, or misses its goal, and why; each line once."""
        return list(dict.fromkeys(line for report in self.reports for line in report.notes))

    def document(self) -> dict[str, Any]:
        """Return everything as what JSON can say."""
        return {
            "version": self.version,
            "machine": self.before.document(),
            "load_afterwards": self.after.load,
            "quick": self.quick,
            "broken": self.broken,
            "missed": self.missed,
            "reports": [report.document() for report in self.reports],
        }


def measured(settings: Settings, names: Sequence[str] = MEASURED) -> Outcome:
    """Run benchmarks, one after the other.

    Args:
        settings: how much, and where.
        names: some of `MEASURED`.
    """
    before = Machine.now()
    reports = [importlib.import_module(f"{__package__}.{name}").run(settings) for name in names]
    try:
        version = importlib.metadata.version("pytest-aistorage")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        version = "(not installed)"
    return Outcome(reports=reports, before=before, after=Machine.now(), version=version, quick=settings.quick)
