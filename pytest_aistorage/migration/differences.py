"""What differs between a record and what is stored of its model, value by value, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .. import codec
from ..progress import GIVEN_FIELDS, AIProgress
from ..storage import AIStorage

__all__ = [
    "Consistency",
    "Difference",
    "Problem",
    "compared",
    "difference_of",
    "is_same",
    "verify_consistency",
]

_SHOWN = 60
"""Characters of a value in a line of text."""

_ABSENT = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs of one model.

    Attributes:
        model_name: the model.
        kind: ``"different"``; ``"missing"``: the new storage has no record; ``"extra"``: only the new one has.
        values: of what differs, by the field's name, ``"metadata.epochs"`` inside of metadata: the old value and the
            new one; None stands for what is absent, too.
        place: where the old record stands in its file; None: it is no file that was read in its order.
    """

    model_name: str
    kind: Literal["different", "missing", "extra"]
    values: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    place: str | None = None

    def __str__(self) -> str:
        head = f"{self.model_name!r}" if self.place is None else f"{self.place}: {self.model_name!r}"
        if self.kind == "missing":
            return f"{head}: missing in the new storage"
        if self.kind == "extra":
            return f"{head}: only in the new storage"
        values = (
            f"{name} {_said(old)} there, {_said(new)} stored" for name, (old, new) in self.values.items()
        )
        return f"{head}: {'; '.join(values)}"

    def document(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return {
            "kind": self.kind,
            "model_name": self.model_name,
            "place": self.place,
            "values": {
                name: {"old": _json(old), "new": _json(new)} for name, (old, new) in self.values.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """A place in a file whose record can't be taken as it is.

    Attributes:
        kind: ``"invalid"``: it breaks a rule of a record; ``"damaged"``: it is no JSON; ``"duplicate"``: its model
            comes several times.
        place: where it is, in words.
        reason: what is wrong.
        model_name: the model, as far as that is known.
    """

    kind: Literal["invalid", "damaged", "duplicate"]
    place: str
    reason: str
    model_name: str | None = None

    def __str__(self) -> str:
        whose = (
            f", {self.model_name!r}" if self.model_name and repr(self.model_name) not in self.place else ""
        )
        return f"{self.place}{whose if self.kind == 'invalid' else ''}: {self.reason}"

    def document(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return {
            "kind": self.kind,
            "model_name": self.model_name,
            "place": self.place,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Consistency:
    """What came of `verify_consistency`.

    Attributes:
        equal: how many models have equal records in both storages, stamps apart.
        different: how many have other values.
        missing: how many are in the old storage only.
        extra: how many are in the new storage only.
    """

    equal: int
    different: int
    missing: int
    extra: int

    def __bool__(self) -> bool:
        """Whether nothing differs."""
        return not (self.different or self.missing or self.extra)


def verify_consistency(
    old: AIStorage, new: AIStorage, *, found: Callable[[Difference], object] | None = None
) -> Consistency:
    """Compare all records of two storages, value by value; stamps are each storage's own and are not compared.

    In bounded memory, as far as the storages list theirs so. What is written meanwhile may be told as a difference.

    Args:
        old: what the records should be.
        new: what is compared with it.
        found: called with each difference, in the order of the models' names.

    Raises:
        CorruptStorageError, StorageUnavailableError: as for `AIStorage.iter_progress` of either.
    """
    counts = dict.fromkeys(("equal", "different", "missing", "extra"), 0)
    for difference in compared(old.iter_progress(), new.iter_progress()):
        if difference is None:
            counts["equal"] += 1
        else:
            counts[difference.kind] += 1
            if found is not None:
                found(difference)
    return Consistency(**counts)


def compared(theirs: Iterator[AIProgress], ours: Iterator[AIProgress]) -> Iterator[Difference | None]:
    """Yield for each model of two listings, in the order of the names, what differs; None: nothing does.

    Args:
        theirs: the records of the old storage, by name.
        ours: those of the new one, likewise.
    """
    a, b = next(theirs, None), next(ours, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.model_name < b.model_name):
            assert a is not None  # one of them is there
            yield Difference(a.model_name, "missing")
            a = next(theirs, None)
        elif a is None or b.model_name < a.model_name:
            yield Difference(b.model_name, "extra")
            b = next(ours, None)
        else:
            yield difference_of(a.model_name, a, b)
            a, b = next(theirs, None), next(ours, None)


def difference_of(
    model_name: str, old: AIProgress | None, new: AIProgress | None, place: str | None = None
) -> Difference | None:
    """Return what differs between the two records of a model; None: nothing does.

    Args:
        model_name: whose they are.
        old: what the new storage should have; None: no record.
        new: what it has, likewise.
        place: where the old one stands.
    """
    if old is None:
        return None if new is None else Difference(model_name, "extra", place=place)
    if new is None:
        return Difference(model_name, "missing", place=place)
    if is_same(old, new):
        return None
    return Difference(model_name, "different", _differing_values(old, new), place)


def is_same(one: AIProgress, other: AIProgress) -> bool:
    """Whether two checked records of one model have the same values, of the same types; stamps apart."""
    # As text, in which 1 is not True, nor 1.0.
    return codec.fields_to_text(one) == codec.fields_to_text(other)


def _differing_values(old: AIProgress, new: AIProgress) -> dict[str, tuple[Any, Any]]:
    """Return the values that differ between two checked records, by the names of their fields."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in GIVEN_FIELDS[1:]:
        if name == "metadata":
            for key in sorted({*old.metadata, *new.metadata}):
                before, after = old.metadata.get(key), new.metadata.get(key)
                if (key in old.metadata) != (key in new.metadata) or codec.metadata_to_text(
                    {"": before}
                ) != codec.metadata_to_text({"": after}):
                    found[f"metadata.{key}"] = before, after
        elif getattr(old, name) != getattr(new, name):
            found[name] = getattr(old, name), getattr(new, name)
    return found


def _said(value: Any) -> str:
    text = _ABSENT if value is None else str(_json(value)) if isinstance(value, datetime) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
