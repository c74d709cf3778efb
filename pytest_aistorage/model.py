"""The sequential specification: what one client after another may see, as data and a pure function.

It knows no backend. `step` takes a state and an operation and returns the next state and the result; both
states stay as they are, so that a search can branch. The conformance suite's state machine compares a storage
with it, and tests hold the checker of histories to it: models don't influence each other, so `step_model` says of
one model alone what its operations are told.

Operations are taken to be valid: bad input is refused before it comes to a state. Moments are the storage's
own choice; who wants them predicted as well says at which moment an operation took place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from . import queries
from .errors import InvalidProgressError
from .progress import AIProgress, ProgressQuery
from .validation import checked_progress

__all__ = [
    "ABSENT",
    "EMPTY",
    "Conflicted",
    "Delete",
    "Deleted",
    "Expire",
    "Expired",
    "Found",
    "Get",
    "Listed",
    "Load",
    "ModelOperation",
    "ModelState",
    "Operation",
    "Query",
    "Raised",
    "Result",
    "Save",
    "SaveMany",
    "Saved",
    "SavedMany",
    "State",
    "Update",
    "step",
    "step_model",
]


# -- states -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class ModelState:
    """What is known of one model.

    Attributes:
        version: the last version that was given out; it outlives the record. 0 before the first save.
        record: the record, or None: never saved, deleted or expired.
        ttl: the time to live that the record was saved with; None where it has none, or there is no record.
        owes_version: the record has expired, and no mutation has yet counted the version that this took.
    """

    version: int = 0
    record: AIProgress | None = None
    ttl: timedelta | None = None
    owes_version: bool = False

    @property
    def current_version(self) -> int:
        """The version that a compare-and-set meets: 0 where there is no record."""
        return 0 if self.record is None else self.version


ABSENT = ModelState()
"""A model that was never saved."""


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """All models that were ever saved.

    Attributes:
        models: by name; a name that is not there is `ABSENT`.
    """

    models: Mapping[str, ModelState] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, model_name: str) -> ModelState:
        return self.models.get(model_name, ABSENT)

    def __hash__(self) -> int:
        return hash(frozenset(self.models.items()))

    def replaced(self, model_name: str, after: ModelState) -> State:
        """Return the state with another one for this model."""
        return State(MappingProxyType({**self.models, model_name: after}))

    def records(self) -> tuple[AIProgress, ...]:
        """Return the records by model name, in code point order."""
        kept = (self.models[name].record for name in sorted(self.models))
        return tuple(record for record in kept if record is not None)


EMPTY = State()
"""A store in which nothing was ever saved."""


# -- operations ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Save:
    """``save_progress(progress, expected_version=…, ttl=…)``."""

    progress: AIProgress
    expected_version: int | None = None
    ttl: timedelta | None = None

    @property
    def model_name(self) -> str:
        """The model that it changes."""
        return self.progress.model_name


@dataclasses.dataclass(frozen=True, slots=True)
class Get:
    """``get_progress(model_name)``."""

    model_name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Update:
    """``update_progress(model_name, change)``."""

    model_name: str
    change: Callable[[AIProgress | None], AIProgress]


@dataclasses.dataclass(frozen=True, slots=True)
class Delete:
    """``delete_progress(model_name, expected_version=…)``."""

    model_name: str
    expected_version: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Expire:
    """The end of the record's time to live, or ``expire_now(model_name)``."""

    model_name: str


@dataclasses.dataclass(frozen=True, slots=True)
class SaveMany:
    """``save_many(progresses)``, all or nothing."""

    progresses: tuple[AIProgress, ...]
    ttl: timedelta | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """``load_progress()``; ``iter_progress()`` too, as long as nobody writes meanwhile."""


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """``query_progress(query)``."""

    query: ProgressQuery


ModelOperation = Save | Get | Update | Delete | Expire
"""An operation on one model."""

Operation = ModelOperation | SaveMany | Load | Query
"""Any operation."""


# -- results ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Saved:
    """A save or an update took effect; the record as it is stored."""

    record: AIProgress


@dataclasses.dataclass(frozen=True, slots=True)
class SavedMany:
    """A batch took effect; the records as they are stored, in its order."""

    records: tuple[AIProgress, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What a get returns."""

    record: AIProgress | None


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """What a listing or a query returns."""

    records: tuple[AIProgress, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Deleted:
    """The version that a delete took; None: there was no record."""

    version: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Expired:
    """Whether there was a record to expire."""

    existed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Conflicted:
    """A compare-and-set met another version; 0 where there was no record. Nothing was written."""

    model_name: str
    expected: int
    actual: int


@dataclasses.dataclass(frozen=True, slots=True)
class Raised:
    """``change`` raised, or what it returned was refused. Nothing was written."""

    error: BaseException


Result = Saved | SavedMany | Found | Listed | Deleted | Expired | Conflicted | Raised
"""What an operation ends with."""


# -- the specification --------------------------------------------------------------------------------------


def step(state: State, operation: Operation, *, moment: datetime | None = None) -> tuple[State, Result]:
    """Return the state after an operation, and its result.

    Args:
        state: the state before; it stays as it is.
        operation: a valid one.
        moment: when it takes place; without it the records bear no moments.
    """
    if isinstance(operation, Load):
        return state, Listed(state.records())
    if isinstance(operation, Query):
        return state, Listed(tuple(queries.run_query(operation.query, state.records())))
    if isinstance(operation, SaveMany):
        saved = []
        for progress in operation.progresses:
            after, result = step_model(
                state[progress.model_name], Save(progress, ttl=operation.ttl), moment=moment
            )
            assert isinstance(result, Saved)  # no version was expected
            state = state.replaced(progress.model_name, after)
            saved.append(result.record)
        return state, SavedMany(tuple(saved))
    before = state[operation.model_name]
    after, result = step_model(before, operation, moment=moment)
    return (state if after is before else state.replaced(operation.model_name, after)), result


def step_model(
    state: ModelState, operation: ModelOperation, *, moment: datetime | None = None
) -> tuple[ModelState, Result]:
    """Return the state of one model after an operation on it, and its result.

    Args:
        state: the model's state before; it stays as it is.
        operation: on this model.
        moment: when it takes place; without it the record bears no moments.
    """
    match operation:
        case Get():
            return state, Found(state.record)
        case Save(progress, expected, ttl):
            if (conflict := _conflict(operation.model_name, expected, state)) is not None:
                return state, conflict
            return _written(state, progress, ttl, moment)
        case Update(model_name, change):
            try:
                result = _checked(model_name, change(state.record))
            except BaseException as error:
                return state, Raised(error)
            return _written(state, result, state.ttl, moment)
        case Delete(model_name, expected):
            if (conflict := _conflict(model_name, expected, state)) is not None:
                return state, conflict
            if state.record is None:
                return state, Deleted(None)
            return ModelState(state.version + 1), Deleted(state.version + 1)
        case Expire():
            if state.record is None:
                return state, Expired(False)
            return ModelState(state.version, owes_version=True), Expired(True)


def _conflict(model_name: str, expected: int | None, state: ModelState) -> Conflicted | None:
    if expected is None or expected == state.current_version:
        return None
    return Conflicted(model_name, expected, state.current_version)


def _checked(model_name: str, result: object) -> AIProgress:
    if not isinstance(result, AIProgress):
        raise InvalidProgressError("change", result, "must return an AIProgress")
    if result.model_name != model_name:
        raise InvalidProgressError("model_name", result.model_name, "change must keep the model's name")
    return checked_progress(result)


def _written(
    state: ModelState, progress: AIProgress, ttl: timedelta | None, moment: datetime | None
) -> tuple[ModelState, Saved]:
    # An expiry takes its version here and not before: who expires a record need not be able to write.
    version = state.version + (2 if state.owes_version else 1)
    created_at, updated_at = moment, moment
    if state.record is not None:
        created_at = state.record.created_at
        if moment is not None and state.record.updated_at is not None:
            updated_at = max(moment, state.record.updated_at)
    record = dataclasses.replace(
        checked_progress(progress), version=version, created_at=created_at, updated_at=updated_at
    )
    return ModelState(version, record, ttl), Saved(record)
