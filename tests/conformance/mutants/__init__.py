"""Working storages, each with one planted fault: what the contract tests must turn red."""

from . import interleavings, lifetimes, listings, measuring, races, raw, records, sequences, updates, versions
from .delegating import MUTANTS, Delegating, Mutant

__all__ = [
    "MUTANTS",
    "Delegating",
    "Mutant",
    "interleavings",
    "lifetimes",
    "listings",
    "measuring",
    "races",
    "raw",
    "records",
    "sequences",
    "updates",
    "versions",
]
