"""Working storages, each with one planted fault: what the contract tests must turn red."""

from . import lifetimes, listings, measuring, races, records, sequences, updates, versions
from .delegating import MUTANTS, Delegating, Mutant

__all__ = [
    "MUTANTS",
    "Delegating",
    "Mutant",
    "lifetimes",
    "listings",
    "measuring",
    "races",
    "records",
    "sequences",
    "updates",
    "versions",
]
