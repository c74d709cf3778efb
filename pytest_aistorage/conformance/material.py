"""What sequences of operations are made of: few names and values, so that operations meet each other often."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from ..model import State
from ..progress import AIProgress, ProgressQuery
from .narrative import said_given

__all__ = [
    "CHANGES",
    "CONDITIONS",
    "EXPECTED",
    "INVALID",
    "METADATA",
    "NAMES",
    "OPTIONAL",
    "Change",
    "change_of",
    "expected_version",
    "query_of",
]

Change = Callable[[AIProgress | None], Any]

NAMES = (
    "a",
    "b",
    "A",
    "a ",
    "\u00e4",
    "a\u0308",  # the same letter in another normalization form
    "😀",
    "a%",
    "a_",
    "a\\",
    "it's",
    '"a"',
    "n" * 255,
    "ä" * 255,
)
"""One store or another takes some of them for each other, or can't keep them. The plainest first."""

METADATA: tuple[dict[str, Any], ...] = (
    {"k": 1},
    {"k": 1.0},
    {"k": True, "l": [1, [None]]},
    {"d": {"x": "ä"}},
    {"😀": 2**63 - 1},
)

OPTIONAL: dict[str, tuple[Any, ...]] = {
    "metadata": METADATA,
    "accuracy": (0.5, 0.1, 0.9),
    "training_samples": (0, 1, 2**31 - 1),
    "training_start": (
        datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
        datetime(1969, 12, 31, tzinfo=UTC),
    ),
    "cross_validation_score": (0.25, 0.0),
}
"""The values of the fields that a record may have beside its ``mse``."""

INVALID: tuple[tuple[str, Any], ...] = (
    ("mse", float("nan")),
    ("accuracy", float("inf")),
    ("training_samples", 2**31),
    ("training_start", datetime(2024, 1, 1)),
    ("metadata", {"k": {1}}),
    ("metadata", {"k": 2**63}),
    ("model_name", ""),
    ("model_name", "n" * 256),
)
"""Fields with a value that is refused."""

EXPECTED = ("any", "current", "zero", "last", "before", "long before", "next")
"""What a compare-and-set may expect; see `expected_version`."""

CHANGES = ("set", "count", "replace", "keep", "raise", "stamps", "none", "rename", "invalid")
"""What a change of `update_progress` may do; see `change_of`."""

CONDITIONS = (
    "all",
    "name_prefix",
    "min_accuracy",
    "max_mse",
    "min_training_samples",
    "updated_since",
    "metadata",
    "after",
)
"""What a query may ask for; see `query_of`."""


class ChangeError(LookupError):
    """What a change raises that is the application's own."""


def expected_version(state: State, name: str, which: str) -> int | None:
    """Return the version that a compare-and-set is to expect.

    Args:
        state: what is stored.
        name: the model.
        which: one of `EXPECTED`.
    """
    version = state[name].version
    versions = {
        "any": None,
        "current": state[name].current_version,
        "last": version,  # of a deleted model: the version that the delete took
        "before": max(version - 1, 0),
        "long before": max(version - 2, 0),  # of a reborn model: of the record that was deleted
        "next": version + 1,
        "zero": 0,
    }
    return versions[which]


def change_of(kind: str, name: str, fields: Mapping[str, Any]) -> tuple[str, Change]:
    """Return a change for `update_progress`, in words and as a function, which is pure.

    Args:
        kind: one of `CHANGES`.
        name: the model.
        fields: of the record that it makes.
    """
    error = ChangeError("raised by change")

    def fresh(**more: Any) -> AIProgress:
        return AIProgress(model_name=name, **{**copy.deepcopy(dict(fields)), **more})

    def change(current: AIProgress | None) -> Any:
        known = current or fresh()
        match kind:
            case "set":
                return dataclasses.replace(known, mse=fields["mse"])
            case "count":
                return dataclasses.replace(
                    known, training_samples=((known.training_samples or 0) + 1) % 2**31
                )
            case "keep":
                return current
            case "raise":
                raise error
            case "none":
                return None
            case "rename":
                return dataclasses.replace(known, model_name=f"{name[:-1]}?")
            case "invalid":
                return fresh(mse=float("nan"))
            case "stamps":
                return fresh(version=77, created_at=_LONG_AGO, updated_at=_LONG_AGO)
        return fresh()

    whole = said_given(fields)
    said = {
        "set": f"returns the same with mse={fields['mse']!r}",
        "count": "returns the same with training_samples + 1",
        "replace": f"returns a new record: {whole}",
        "stamps": f"returns a new record, with stamps of its own: {whole}",
        "keep": "returns the same",
        "raise": "raises an error of its own",
        "none": "returns None",
        "rename": "returns a record of another model",
        "invalid": "returns a record with mse=nan",
    }
    return f"change {said[kind]}", change


_LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def query_of(
    records: Sequence[AIProgress], condition: str, pick: int, order_by: str, limit: int | None
) -> ProgressQuery:
    """Return a query, most often one that some of the records match and others don't.

    Args:
        records: what is stored.
        condition: one of `CONDITIONS`.
        pick: chooses the record of which the condition is made.
        order_by: see `ProgressQuery`.
        limit: likewise.
    """
    given: dict[str, Any] = {"order_by": order_by, "limit": limit}
    if not records:
        return ProgressQuery(**given)
    record = records[pick % len(records)]
    values: dict[str, Any] = {
        "name_prefix": record.model_name[:-1],
        "min_accuracy": record.accuracy,
        "max_mse": record.mse,
        "min_training_samples": record.training_samples,
        "updated_since": record.updated_at,
        "metadata": dict(list(record.metadata.items())[:1]) or METADATA[pick % len(METADATA)],
        "after": record,
    }
    if condition in values:
        given[condition] = values[condition]
    return ProgressQuery(**given)
