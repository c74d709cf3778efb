"""What the contract tests say when they fail: what was done, what was expected, what came."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ...errors import AIStorageError
from ...progress import GIVEN_FIELDS, STAMPS, AIProgress, ProgressQuery
from ...storage import AIStorage
from ...validation import checked_progress
from ..effort import active
from ..equality import same_value

__all__ = [
    "Writes",
    "check_names",
    "check_same",
    "check_unchanged",
    "difference",
    "doing",
    "explore",
    "found",
    "moment",
    "names_of",
    "refused",
    "shown",
    "writing",
]

_PATIENCE = 60.0  # seconds that one write may take
_SHOWN = 600
_LISTED = 20  # names of a list that a message shows whole

E = TypeVar("E", bound=AIStorageError)


def difference(wanted: AIProgress, got: object, fields: Iterable[str] = (*GIVEN_FIELDS, *STAMPS)) -> str:
    """Say in which fields a record differs from the wanted one; types count. Empty: in none."""
    if not isinstance(got, AIProgress):
        return f"expected a record, got {got!r}"
    lines = []
    for field in fields:
        expected, actual = getattr(wanted, field), getattr(got, field)
        if not same_value(expected, actual):
            lines += _told(field, expected, actual)
    return "\n".join(lines)


_ABSENT = object()
_TOLD = 3  # places in metadata that a message names


def _told(place: str, expected: object, actual: object) -> list[str]:
    """Say where in a value two differ, the innermost places only."""
    if type(expected) is type(actual) and isinstance(expected, (dict, list)):
        assert isinstance(actual, (dict, list))
        ours = expected if isinstance(expected, dict) else dict(enumerate(expected))
        theirs = actual if isinstance(actual, dict) else dict(enumerate(actual))
        lines: list[str] = []
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            one, other = ours.get(key, _ABSENT), theirs.get(key, _ABSENT)
            if one is _ABSENT or other is _ABSENT or not same_value(one, other):
                lines += _told(f"{place}[{shown(key)}]", one, other)
            if len(lines) > _TOLD:
                return [*lines[:_TOLD], f"  {place}: and more"]
        return lines
    said, came = ("nothing" if value is _ABSENT else _typed(value) for value in (expected, actual))
    return [f"  {place}: expected {said}, got {came}"]


def _typed(value: object) -> str:
    """The value with its type; of text that may look like another the code points as well."""
    text = shown(value)
    if isinstance(value, str) and not value.isascii():
        text = f"{text} = {_cut(ascii(value))}"
    return f"{text} ({type(value).__name__})"


def shown(value: object) -> str:
    """Return a value as a message shows it: a record or a query without what is at its default, not too long."""
    if isinstance(value, AIProgress | ProgressQuery):
        default = (
            AIProgress(model_name="", mse=math.nan) if isinstance(value, AIProgress) else ProgressQuery()
        )
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        given = (f"{name}={shown(one)}" for name, one in fields if one != getattr(default, name))
        return _cut(f"{type(value).__name__}({', '.join(given)})")
    if type(value) is list and value and isinstance(value[0], AIProgress):
        return _cut(f"[{', '.join(map(shown, value))}]")
    if isinstance(value, datetime):
        return (
            f"{value.isoformat()}{'' if isinstance(value.tzinfo, timezone | None) else f' {value.tzinfo!r}'}"
        )
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def check_same(done: str, wanted: AIProgress, got: object, *, stamps: bool = False) -> AIProgress:
    """Fail unless a record is the wanted one, types included.

    Args:
        done: what was done, for the message.
        wanted: as the caller gave it; its stored form is compared.
        got: what the storage returned.
        stamps: compare the stamps too; ``wanted`` is then what the storage returned earlier.
    """
    if not isinstance(wanted, AIProgress):
        pytest.fail(f"{done}: what was returned before is no record, but {wanted!r}", pytrace=False)
    plain = wanted if stamps else checked_progress(wanted)
    found = difference(plain, got, (*GIVEN_FIELDS, *STAMPS) if stamps else GIVEN_FIELDS)
    if found:
        pytest.fail(f"{done}: the record of model {wanted.model_name!r} differs\n{found}", pytrace=False)
    return cast(AIProgress, got)


@contextmanager
def doing(done: str) -> Iterator[None]:
    """Fail with what was done if the block raises what no contract test expects."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        pytest.fail(f"{done}: raised {type(error).__name__}: {error}", pytrace=False)


def found(storage: AIStorage, model_name: str, done: str) -> AIProgress:
    """Return the model's record; fail if there is none."""
    with doing(f"{done}, then get_progress({model_name!r})"):
        record = storage.get_progress(model_name)
    if record is None:
        pytest.fail(f"{done}: get_progress({model_name!r}) returned None, expected the record", pytrace=False)
    return record


def check_unchanged(
    storage: AIStorage, before: AIProgress, done: str, *, promise: str = "which must write nothing"
) -> None:
    """Fail unless the model's record is still what it was, stamps included.

    Args:
        storage: where.
        before: as the storage returned it.
        done: what was done, for the message.
        promise: why the record must be what it was.
    """
    done = f"{done}, {promise}"
    check_same(done, before, found(storage, before.model_name, done), stamps=True)


def moment(record: AIProgress, field: str) -> datetime:
    """Return created_at or updated_at of what a storage returned; fail if it is no datetime."""
    value = getattr(record, field)
    if not isinstance(value, datetime):
        pytest.fail(f"{field} of a stored record: expected a datetime, got {value!r}", pytrace=False)
    return value


def names_of(records: Iterable[AIProgress]) -> list[str]:
    """Return the names, in the records' order."""
    return [record.model_name for record in records]


def check_names(done: str, wanted: Sequence[str], got: Iterable[AIProgress]) -> None:
    """Fail unless these models came, each once and in this order."""
    with doing(done):
        names = names_of(got)
    if names != list(wanted):
        missing = [name for name in wanted if name not in names]
        doubled = sorted({name for name in names if names.count(name) > 1})
        surplus = [name for name in names if name not in wanted]
        faults = {"missing": missing, "twice": doubled, "unexpected": surplus}
        said = "; ".join(f"{what} {shown(which)}" for what, which in faults.items() if which)
        pytest.fail(f"{done}: {said or 'another order'}\n{_compared(list(wanted), names)}", pytrace=False)


def _compared(wanted: list[str], got: list[str]) -> str:
    """Both lists; of long ones what is around the first place where they differ."""
    place = next((i for i, (one, other) in enumerate(zip(wanted, got, strict=False)) if one != other), None)
    place = min(len(wanted), len(got)) if place is None else place
    if max(len(wanted), len(got)) <= _LISTED:
        return f"  expected {wanted}\n  got      {got}"
    around = slice(max(0, place - 2), place + 5)
    return (
        f"  of {len(wanted)} expected and {len(got)} that came, from number {around.start + 1} on:\n"
        f"  expected {wanted[around]}\n  got      {got[around]}"
    )


@contextmanager
def refused(error: type[E], done: str) -> Iterator[list[E]]:
    """Fail unless the block raises this error; the list holds it afterwards."""
    caught: list[E] = []
    try:
        yield caught
    except error as expected:
        caught.append(expected)
    except Exception as other:
        pytest.fail(f"{done}: expected {error.__name__}, got {type(other).__name__}: {other}", pytrace=False)
    if not caught:
        pytest.fail(f"{done}: expected {error.__name__}, but nothing was raised", pytrace=False)


class Writes:
    """What the thread of `writing` has done so far."""

    def __init__(self) -> None:
        self.count = 0

    def overlapped(self) -> Iterator[None]:
        """Go on until 20 rounds were overlapped by writes: a round in which nobody wrote shows nothing.

        On a storage that is quicker than threads take turns that may not come: half a second and 20 rounds are
        enough.
        """
        overlapped = rounds = 0
        enough = time.monotonic() + 0.5
        while overlapped < 20 and (rounds < 20 or time.monotonic() < enough):
            before = self.count
            yield
            rounds += 1
            overlapped += self.count > before


@contextmanager
def writing(write: Callable[[int], object]) -> Iterator[Writes]:
    """Let another thread write during the block, over and over; fail if it could not.

    Args:
        write: called with 1, 2, 3, …; has returned once before the block begins.
    """
    begun, ended = threading.Event(), threading.Event()
    writes = Writes()
    errors: list[Exception] = []

    def run() -> None:
        try:
            while not ended.is_set():
                write(writes.count + 1)
                writes.count += 1
                begun.set()
        except Exception as error:
            errors.append(error)
            begun.set()

    writer = threading.Thread(target=run, daemon=True)
    writer.start()
    begun.wait(_PATIENCE)
    try:
        yield writes
    finally:
        ended.set()
        writer.join(_PATIENCE)
    if errors or writer.is_alive():
        said = repr(errors[0]) if errors else f"nothing for {_PATIENCE:g} s"
        pytest.fail(f"another thread that wrote at the same time met {said}", pytrace=False)


def explore(check: Callable[..., None], *strategies: st.SearchStrategy[Any], share: float = 1.0) -> None:
    """Call a check with examples drawn from the strategies; the failure shows the least one that fails.

    The examples share the store of one test, which is why this is no ``@given`` on the test itself: a check
    leaves nothing behind that the next one minds. How many there are follows the effort of the run.

    Args:
        check: called with one value of each strategy.
        strategies: what to draw from.
        share: of the effort's number of examples.
    """
    effort, number = active()
    explored = settings(
        max_examples=max(5, round(effort.examples * share)),
        deadline=None,  # a server's time is not the check's
        derandomize=False,  # the seed says what is drawn
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )(given(*strategies)(check))
    seed(number)(explored)()
