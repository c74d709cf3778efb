"""The records of the contract: what is stored, what is asked for, what a storage says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .capabilities import Capability

__all__ = ["GIVEN_FIELDS", "SCALAR_FIELDS", "STAMPS", "AIProgress", "ProgressQuery", "StorageInfo", "stamped"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AIProgress:
    """The training progress of one model.

    A plain value: it is checked when it is given to a storage, which raises `InvalidProgressError` before
    anything is written. What a storage returns has its datetimes in UTC and its own copy of the metadata.

    Attributes:
        model_name: 1 to 255 characters, compared exactly; no NUL, no lone surrogate.
        mse: mean squared error; finite.
        accuracy: finite, or None.
        cross_validation_score: finite, or None.
        training_samples: 0 to 2**31 - 1, or None.
        training_start: aware, in the years 1000 to 9999, or None.
        training_end: likewise.
        metadata: what JSON can say, with types kept: str, bool, None, int within signed 64 bits, finite
            float, list, dict with str keys; at most 32 levels, metadata itself being the first.
        version: stamped by the storage: 1 at the first save, one more at every save, update and delete of
            the model; 0 before the first save.
        created_at: stamped by the storage; stays for the life of the record.
        updated_at: stamped by the storage; never decreases.

    The stamps that a record carries into a save are ignored; they count in equality.
    """

    model_name: str
    mse: float
    accuracy: float | None = None
    cross_validation_score: float | None = None
    training_samples: int | None = None
    training_start: datetime | None = None
    training_end: datetime | None = None
    # A dict has no hash; two equal records still hash alike without it.
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


def stamped(record: AIProgress, version: int, created_at: datetime, updated_at: datetime) -> AIProgress:
    """Return the record with these stamps; everything else is the record's own, metadata not copied."""
    # Field by field: dataclasses.replace takes twice as long, in the path of every save.
    return AIProgress(
        model_name=record.model_name,
        mse=record.mse,
        accuracy=record.accuracy,
        cross_validation_score=record.cross_validation_score,
        training_samples=record.training_samples,
        training_start=record.training_start,
        training_end=record.training_end,
        metadata=record.metadata,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


STAMPS = ("version", "created_at", "updated_at")
"""The fields of `AIProgress` that the storage adds."""

GIVEN_FIELDS = tuple(f.name for f in dataclasses.fields(AIProgress) if f.name not in STAMPS)
"""The fields that the caller of a save gives."""

SCALAR_FIELDS = tuple(f.name for f in dataclasses.fields(AIProgress) if f.name != "metadata")
"""The fields of `AIProgress` that a query can order by."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProgressQuery:
    """Which records to return, in which order, and how many.

    Bounds are inclusive, and an absent value never matches a bound. All conditions must hold.

    Attributes:
        name_prefix: the model's name begins with it, compared exactly.
        min_accuracy: ``accuracy`` is at least this.
        max_mse: ``mse`` is at most this.
        min_training_samples: ``training_samples`` is at least this.
        updated_since: ``updated_at`` is at least this; aware.
        metadata: each of these top-level keys is there with an equal value of the same type
            (``True`` is not ``1``, and ``1`` is not ``1.0``).
        order_by: a scalar field's name; ``"-mse"`` descends. Ties are ordered by name, ascending; records
            without the value come last either way.
        limit: return at most so many.
        after: the last record of the page before; the page begins behind it (keyset paging).
    """

    name_prefix: str | None = None
    min_accuracy: float | None = None
    max_mse: float | None = None
    min_training_samples: int | None = None
    updated_since: datetime | None = None
    metadata: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    order_by: str = "model_name"
    limit: int | None = None
    after: AIProgress | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StorageInfo:
    """What a storage says of itself.

    Attributes:
        type: ``"memory"``, ``"file"``, ``"database"``, ``"redis"``, ...
        model_count: how many models are stored now.
        server: product and version, ``"PostgreSQL 17.2"``; the storage's own type where there is no server.
        location: the URL or path, without any password.
        latency: of one ping, in seconds.
        capabilities: what this instance declares.
    """

    type: str
    model_count: int
    server: str
    location: str
    latency: float
    capabilities: frozenset[Capability]
