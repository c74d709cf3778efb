"""What a storage promises. Declared by the instance, never inferred from its class."""

from __future__ import annotations

import enum

__all__ = ["Capability"]


class Capability(enum.Enum):
    """A promise of a storage. What is declared, the contract tests test.

    `EXPIRY` is a feature: where it is not declared, ``ttl`` raises `UnsupportedOperationError`. All others
    are guarantees: the operations always work, and the declaration says what holds when things go wrong.
    """

    SHARED_BETWEEN_PROCESSES = "shared-between-processes"
    """Another process that opens the same URL sees the same records."""
    SURVIVES_CLOSE = "survives-close"
    """Records are still there after every client has closed."""
    SURVIVES_CLIENT_CRASH = "survives-client-crash"
    """A client killed at any moment loses no acknowledged write and leaves nothing unreadable."""
    SURVIVES_SERVER_CRASH = "survives-server-crash"
    """A server process killed at any moment loses no acknowledged write."""
    SURVIVES_POWER_LOSS = "survives-power-loss"
    """A machine that loses its power loses no acknowledged write: it is acknowledged after an fsync."""
    LINEARIZABLE = "linearizable"
    """Operations on one model appear to happen one at a time, each between its call and its return
    (Herlihy and Wing, 1990)."""
    VERSIONS_NEVER_REUSED = "versions-never-reused"
    """A version is not given twice, not even when a deleted or expired model comes back."""
    ATOMIC_BATCH = "atomic-batch"
    """`save_many` takes effect whole or not at all, and no reader sees a part of it."""
    SNAPSHOT_LISTING = "snapshot-listing"
    """`load_progress` returns what was stored at one moment."""
    EXPIRY = "expiry"
    """``ttl`` is obeyed."""
    SERVER_SIDE_QUERY = "server-side-query"
    """`query_progress` filters where the records are; what does not match is not transferred."""
