"""Working storages, each with one planted fault: what the contract tests must turn red."""

from . import (
    bad_input,
    batches,
    closing,
    expiry,
    interleavings,
    listings,
    measuring,
    queries,
    races,
    raw,
    records,
    sequences,
    updates,
    versions,
    ways,
)
from .delegating import MUTANTS, Delegating, Mutant

__all__ = [
    "MUTANTS",
    "Delegating",
    "Mutant",
    "bad_input",
    "batches",
    "closing",
    "expiry",
    "interleavings",
    "listings",
    "measuring",
    "queries",
    "races",
    "raw",
    "records",
    "sequences",
    "updates",
    "versions",
    "ways",
]
