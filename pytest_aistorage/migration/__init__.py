"""From the JSON files that applications write by hand to a storage: at once, or while the application runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cutover import Cutover, CutoverStatus
    from .cutover_storage import CutoverStorage
    from .differences import Consistency, Difference, Problem, verify_consistency
    from .dual_write import DualWriteStorage
    from .importing import import_records
    from .journal import Step
    from .migrating import MigrationReport, migrate_file
    from .records import read_records

__all__ = [
    "Consistency",
    "Cutover",
    "CutoverStatus",
    "CutoverStorage",
    "Difference",
    "DualWriteStorage",
    "MigrationReport",
    "Problem",
    "Step",
    "import_records",
    "migrate_file",
    "read_records",
    "verify_consistency",
]

_HOMES = {
    **dict.fromkeys(("Cutover", "CutoverStatus"), "cutover"),
    "CutoverStorage": "cutover_storage",
    "DualWriteStorage": "dual_write",
    "Step": "journal",
    **dict.fromkeys(("Consistency", "Difference", "Problem", "verify_consistency"), "differences"),
    "import_records": "importing",
    **dict.fromkeys(("MigrationReport", "migrate_file"), "migrating"),
    "read_records": "records",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
