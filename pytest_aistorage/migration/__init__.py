"""From the JSON files that applications write by hand to a storage."""

from __future__ import annotations

from .importing import import_records
from .records import read_records

__all__ = ["import_records", "read_records"]
