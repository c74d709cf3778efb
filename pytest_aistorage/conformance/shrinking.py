"""From a sequence that disagrees to a small one that does: by leaving out, and by plainer arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..queries import same_json
from .comparison import Disagreement
from .material import METADATA, NAMES
from .player import Operation
from .stage import Failure, Performance, Stage

__all__ = ["smallest"]

# Operations that may be spent: no time, which would differ from run to run. At 5 ms an operation it is 10 s.
_BUDGET = 2000

# What is tried instead of an argument, the plainest first.
_PLAINER: dict[str, tuple[Any, ...]] = {
    "client": (0, 1),
    "name": (0, 1),
    "reader": (None, 0, 1),
    "ttl": (None,),
    "expected": ("any", "current", "zero"),
    "limit": (None, 1),
    "order_by": ("model_name", "mse"),
    "condition": ("all",),
    "pick": (0,),
    "goes_on": (False,),
    "batch_size": (1000, 1),
    "most": (1,),
    "which": (0,),
}


_PLAIN_SAVE = {"ttl": None, "reader": None}


class _EnoughError(Exception):
    """The budget is spent."""


def smallest(stage: Stage, failure: Failure) -> Failure:
    """Return the smallest sequence that was found to disagree, too: perhaps with another fault.

    Args:
        stage: where to try.
        failure: the sequence.
    """
    shrinker = _Shrinker(stage, failure)
    with suppress(_EnoughError):
        shrinker.shrink()
    return shrinker.best


class _Shrinker:
    def __init__(self, stage: Stage, failure: Failure) -> None:
        self._stage = stage
        self._enough = stage.operations + _BUDGET
        self.best = failure

    def shrink(self) -> None:
        """Try until nothing makes it smaller any more."""
        before = None
        while before is not self.best:
            before = self.best
            self._leave_out()
            self._take_plainer_arguments()
            self._take_plainer_names()

    def _leave_out(self) -> None:
        size = len(self.best.operations) // 2
        while size:
            start = len(self.best.operations) - size
            while start >= 0:
                kept = self.best.operations
                # From the back: what comes later depends on what came earlier. What failed stays the last.
                if not self._fails(self.best.names, kept[:start] + kept[start + size :]):
                    start -= size
                else:
                    start = min(start, len(self.best.operations) - size)
            size //= 2

    def _take_plainer_arguments(self) -> None:
        position = 0
        while position < len(self.best.operations):
            if not any(self._replaces(position, one) for one in _plainer(self.best.operations[position])):
                position += 1

    def _replaces(self, position: int, operation: Operation) -> bool:
        kept = self.best.operations
        return self._fails(self.best.names, (*kept[:position], operation, *kept[position + 1 :]))

    def _take_plainer_names(self) -> None:
        plainest = NAMES[: len(self.best.names)]
        if self.best.names == plainest or self._fails(plainest, self.best.operations):
            return
        for position in range(len(self.best.names)):
            for plain in NAMES[: NAMES.index(self.best.names[position])]:
                names = self.best.names
                if plain not in names and self._fails(
                    (*names[:position], plain, *names[position + 1 :]), self.best.operations
                ):
                    break

    def _fails(self, names: tuple[str, ...], operations: tuple[Operation, ...]) -> bool:
        """Perform a sequence; keep it if it fails as well, and is told in no more lines."""
        if self._stage.operations > self._enough:
            raise _EnoughError
        performance = Performance(self._stage, names)
        with suppress(Disagreement):
            try:
                performance.begin()
                for operation in operations:
                    performance.play(operation)
            finally:
                performance.end()
        if performance.failure is None or performance.failure.lines > self.best.lines:
            return False
        self.best = performance.failure
        return True


def _plainer(operation: Operation) -> Iterator[Operation]:
    """Yield the same operation with one argument that is plainer."""
    what, given = operation
    if what in ("compare_and_set", "update"):
        yield "save", {**{name: given[name] for name in ("client", "name", "fields")}, **_PLAIN_SAVE}
    if what == "save_many" and len(given["batch"]) == 1:
        ((name, fields),) = given["batch"]
        yield "save", {"client": given["client"], "name": name, "fields": fields, **_PLAIN_SAVE}
    for argument, value in given.items():
        if argument == "fields":
            for fields in _plainer_fields(value):
                yield what, {**given, argument: fields}
        elif argument == "batch":
            for index in range(len(value)):
                yield what, {**given, argument: [*value[:index], *value[index + 1 :]]}
            for index, (name, fields) in enumerate(value):
                for plainer in _plainer_fields(fields):
                    yield what, {**given, argument: [*value[:index], (name, plainer), *value[index + 1 :]]}
        else:
            choices = _PLAINER.get(argument, ())
            for plain in choices[: choices.index(value)] if value in choices else choices:
                yield what, {**given, argument: plain}


def _plainer_fields(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if len(fields) > 2:
        yield {"mse": fields["mse"]}
    for field in fields:
        if field != "mse":
            yield {name: value for name, value in fields.items() if name != field}
    for field, plain in (("mse", 0.5), ("metadata", METADATA[0])):
        if field in fields and not same_json(fields[field], plain):
            yield {**fields, field: plain}
