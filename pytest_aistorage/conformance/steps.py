"""Operations of the specification, done on a storage by clients at once, and which order of them explains it.

It imports neither pytest nor Hypothesis: a process of a race imports it as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import model
from ..errors import AIStorageError, CorruptStorageError, OutcomeUnknownError, VersionConflictError
from ..errors import InvalidProgressError as _Invalid
from ..progress import AIProgress

__all__ = ["Call", "Steps", "Told", "described", "explain", "outline", "shown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """What a client was told about one operation.

    Attributes:
        operation: what it did.
        result: what it ended with; None where ``error`` says so.
        error: what was raised, as text; a conflict is a result.
        effect: what the error means: ``"none"``: nothing was written; ``"unknown"``: it may have been;
            ``"broken"``: nothing that the contract allows.
    """

    operation: model.Operation
    result: model.Result | None
    error: str = ""
    effect: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """What one client does, one operation after the other; returns what it was told. Picklable.

    Attributes:
        operations: in order. After one that failed it goes on with the next.
    """

    operations: tuple[model.Operation, ...]

    def __call__(self, storage: Any) -> list[Told]:
        """Do it."""
        return [_told(storage, operation) for operation in self.operations]


def _told(storage: Any, operation: model.Operation) -> Told:
    try:
        return Told(operation, _done(storage, operation))
    except VersionConflictError as error:
        return Told(operation, model.Conflicted(error.model_name, error.expected, error.actual))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, OutcomeUnknownError):
            return Told(operation, None, said, "unknown")
        broken = not isinstance(error, AIStorageError) or isinstance(error, (CorruptStorageError, _Invalid))
        return Told(operation, None, said, "broken" if broken else "none")


def _done(storage: Any, operation: model.Operation) -> model.Result:
    match operation:
        case model.Save(progress, expected, _):
            given = {} if expected is None else {"expected_version": expected}
            return model.Saved(storage.save_progress(progress, **given))
        case model.SaveMany(progresses, _):
            return model.SavedMany(tuple(storage.save_many(progresses)))
        case model.Update(name, change):
            return model.Saved(storage.update_progress(name, change))
        case model.Delete(name, expected):
            given = {} if expected is None else {"expected_version": expected}
            return model.Deleted(storage.delete_progress(name, **given))
        case model.Get(name):
            return model.Found(storage.get_progress(name))
        case model.Load():
            return model.Listed(tuple(storage.load_progress()))
        case _:
            raise TypeError(f"{operation!r} is not done here")


# -- what explains it ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One operation in a history of several clients.

    Attributes:
        client: its number, from 0.
        told: what it was told.
        called: when, in any unit.
        returned: when it was told.
    """

    client: int
    told: Told
    called: int
    returned: int


def explain(calls: Sequence[Call], before: model.State, *, reused: bool) -> list[str]:
    """Look for an order of the operations that explains what every client was told.

    Each takes effect at one moment between its call and its return, as the specification says. All orders are
    tried: it is meant for a handful of operations.

    Args:
        calls: each client's in its order.
        before: what was stored before them.
        reused: whether a model that was deleted may begin at version 1 again.

    Returns:
        Nothing, if there is one; otherwise for each order where it contradicts what was told.
    """
    faults: list[str] = []
    names = {name for call in calls for name in _names(call.told.operation)} | set(before.models)
    for counts_on in (True, False) if reused else (True,):
        found = _orders(list(calls), before, counts_on, names, [], faults)
        if found:
            return []
    return list(dict.fromkeys(faults))


def _orders(
    left: list[Call],
    state: model.State,
    counts_on: bool,
    names: set[str],
    order: list[str],
    faults: list[str],
) -> bool:
    if not left:
        return True
    for call in left:
        if any(other.returned < call.called for other in left):
            continue  # that one was over before this one began
        rest = [other for other in left if other is not call]
        taken = [*order, f"P{call.client + 1} {described(call.told.operation)}"]
        if call.told.effect in ("none", "unknown") and _orders(rest, state, counts_on, names, order, faults):
            return True
        if call.told.effect == "none":
            continue
        after, result = model.step(state, call.told.operation)
        if isinstance(call.told.operation, model.Delete) and not counts_on:
            after = after.replaced(call.told.operation.model_name, model.ABSENT)
        if call.told.effect != "unknown" and not _same(result, call.told.result, names):
            wanted, got = shown(result), shown(_narrowed(call.told.result, names))
            faults.append(f"{'; '.join(taken)}: would have been told {wanted}, was told {got}")
            continue
        if _orders(rest, after, counts_on, names, taken, faults):
            return True
    return False


def _names(operation: model.Operation) -> Iterator[str]:
    if isinstance(operation, model.SaveMany):
        yield from (progress.model_name for progress in operation.progresses)
    elif not isinstance(operation, (model.Load, model.Query)):
        yield operation.model_name


def _narrowed(result: model.Result | None, names: set[str]) -> model.Result | None:
    """A listing without the models that are none of ours."""
    if isinstance(result, model.Listed):
        return model.Listed(tuple(record for record in result.records if record.model_name in names))
    return result


def _same(wanted: model.Result, got: model.Result | None, names: set[str]) -> bool:
    return _plain(wanted) == _plain(_narrowed(got, names))


def _plain(result: model.Result | None) -> object:
    match result:
        case model.Saved(record) | model.Found(record):
            return type(result), _without_moments(record)
        case model.SavedMany(records) | model.Listed(records):
            return type(result), [_without_moments(record) for record in records]
        case _:
            return result


def _without_moments(record: Any) -> object:
    if not isinstance(record, AIProgress):
        return record
    return dataclasses.replace(record, created_at=None, updated_at=None)


def outline(told: Told, bases: Mapping[str, int]) -> tuple[object, ...]:
    """Return what is the same of what was told of the same operations that began with another version.

    Args:
        told: of one operation.
        bases: by the model's name, the version that it began with.
    """
    result = _narrowed(told.result, set(bases))
    match result:
        case model.Saved(record) | model.Found(record):
            records: tuple[Any, ...] = (record,)
        case model.SavedMany(records) | model.Listed(records):
            pass
        case model.Conflicted(name, expected, actual):
            return "conflict", expected - bases.get(name, 0), actual and actual - bases.get(name, 0)
        case model.Deleted(version):
            name = getattr(told.operation, "model_name", "")
            return "deleted", version and version - bases.get(name, 0)
        case _:
            return told.effect, told.error.partition(":")[0]
    return tuple(
        (record.version - bases.get(record.model_name, 0), record.mse, record.training_samples)
        if isinstance(record, AIProgress)
        else repr(record)
        for record in records
    )


# -- in words -----------------------------------------------------------------------------------------------


def described(operation: model.Operation) -> str:
    """Return an operation as it is written."""
    match operation:
        case model.Save(progress, expected, _):
            given = "" if expected is None else f", expected_version={expected}"
            return f"save_progress({progress.model_name!r}, mse={progress.mse:g}{given})"
        case model.SaveMany(progresses, _):
            names = ", ".join(repr(progress.model_name) for progress in progresses)
            return f"save_many([{names}], mse={progresses[0].mse:g})"
        case model.Update(name, change):
            return f"update_progress({name!r}, {change})"
        case model.Delete(name, expected):
            return f"delete_progress({name!r}{'' if expected is None else f', expected_version={expected}'})"
        case model.Get(name):
            return f"get_progress({name!r})"
        case model.Load():
            return "load_progress()"
        case _:
            return repr(operation)


def shown(result: model.Result | None) -> str:
    """Return what an operation ended with, in short."""
    match result:
        case model.Saved(record) | model.Found(record):
            return _brief(record)
        case model.SavedMany(records) | model.Listed(records):
            return f"[{', '.join(map(_briefer, records))}]"
        case model.Deleted(version):
            return "nothing to delete" if version is None else f"deleted, version {version}"
        case model.Conflicted(_, expected, actual):
            return f"a conflict: expected version {expected}, actual {actual}"
        case None:
            return "an error"
        case _:
            return repr(result)


def _briefer(record: object) -> str:
    if not isinstance(record, AIProgress):
        return repr(record)
    return f"{record.model_name!r} version {record.version} (mse={record.mse:g})"


def _brief(record: object) -> str:
    if record is None:
        return "no record"
    if not isinstance(record, AIProgress):
        return repr(record)
    samples = "" if record.training_samples is None else f", training_samples={record.training_samples}"
    return f"version {record.version} (mse={record.mse:g}{samples})"
