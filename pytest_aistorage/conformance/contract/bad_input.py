"""Bad input is refused by name and value, before anything is written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from ...capabilities import Capability
from ...errors import InvalidProgressError
from ...progress import AIProgress
from ...storage import AIStorage, Change
from .checks import difference, names_of
from .clients import Clients, ContractBase

__all__ = ["BadInputContract"]

_GOOD = AIProgress(model_name="m", mse=0.5, accuracy=0.25, metadata={"kept": True})
_NAN, _INF = float("nan"), float("inf")
_NAIVE = datetime(2024, 5, 1, 12, 0)

_NAMES: list[Any] = [
    *(None, 1, b"m", ["m"], ""),
    *("a\0b", "\0", "a\ud800", "\udfff", "x" * 256, "😀" * 256),
]
_NUMBERS: list[Any] = [
    _NAN,
    _INF,
    -_INF,
    "0.5",
    True,
    False,
    1j,
    Decimal("0.5"),
    [0.5],
    10**400,
    datetime(2024, 5, 1, tzinfo=UTC),
]
_SAMPLES: list[Any] = [-1, 2**31, 2**63, 10**30, 1.0, 0.5, "1", True, _NAN, Decimal(1)]
_MOMENTS: list[Any] = [
    *(_NAIVE, "2024-05-01T12:00:00+00:00", 1714564800, _NAIVE.date(), True),
    datetime(999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1000, 1, 1, tzinfo=timezone(timedelta(hours=1))),  # in UTC it lies in the year 999
    datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1))),  # in UTC in the year 10000
]


def _nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for level in range(levels - 1):
        value = [value] if level % 2 else {"k": value}
    return {"k": value}


class _Plain:
    """An object of the application's own."""


# Metadata, and the innermost value that the error must name.
_METADATA: list[tuple[Any, Any]] = [
    *((bad, bad) for bad in (None, [], [("k", 1)], "{}", 1, True)),
    *(({"k": bad}, bad) for bad in (_NAN, _INF, -_INF, 2**63, -(2**63) - 1, 10**400)),
    *(({"k": bad}, bad) for bad in (b"bytes", 1j, Decimal("1.5"), datetime(2024, 5, 1, tzinfo=UTC))),
    *(({"k": bad}, bad) for bad in ("a\0b", "a\ud800", (1, 2), {1}, frozenset({1}), _Plain(), _Plain, len)),
    *(({bad: 1}, bad) for bad in (1, None, True, 1.5, b"k", ("a", "b"), "a\0", "\ud800")),
    ({"a": [1, {"b": [_NAN]}]}, _NAN),
    ({"a": {"b": {2: 1}}}, 2),
    ({"a": {None: 1}}, None),
    ({"a": [{True: 1}]}, True),
    *(({"k": [bad]}, bad) for bad in (2**63, -(2**63) - 1, (1,), b"bytes", "a\0", "\udc80")),
]


class BadInputContract(ContractBase):
    """Every rule of the record, broken: `InvalidProgressError` names field and value, and nothing is written."""

    area = "bad input"

    def _check(self, storage: AIStorage, field: str, values: list[tuple[Any, Any]]) -> None:
        """Try each of the values in that field by every way to save; report all that went wrong."""
        before = storage.save_progress(_GOOD)
        wrong: list[str] = []
        for given, named in values:
            record = dataclasses.replace(_GOOD, mse=0.75, accuracy=0.5)
            bad = dataclasses.replace(record, **{field: given})
            other = dataclasses.replace(_GOOD, model_name="other")
            ways: dict[str, Callable[[], Any]] = {
                "save_progress": functools.partial(storage.save_progress, bad),
                "save_progress(expected_version=1)": functools.partial(
                    storage.save_progress, bad, expected_version=1
                ),
                "save_many": functools.partial(storage.save_many, [other, bad]),
                "update_progress": functools.partial(storage.update_progress, "m", _always(bad)),
            }
            for way, save in ways.items():
                wrong += self._wrong(f"{way} with {field}={_brief(given)}", save, field, named)
        kept = storage.get_progress("m")
        if changed := difference(before, kept):
            wrong.append(f"what was stored before has changed:\n{changed}")
        names = names_of(storage.load_progress())
        if names != ["m"]:
            wrong.append(f"models are stored that must not be: {names}")
        for name, version in (("m", 2), ("other", 1)):
            got = storage.save_progress(dataclasses.replace(_GOOD, model_name=name)).version
            if got != version:
                wrong.append(f"the next save of {name!r} took version {got} instead of {version}")
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)

    @staticmethod
    def _wrong(done: str, action: Callable[[], Any], field: str, value: Any) -> list[str]:
        """Say what is wrong with how an action refuses a value; empty: nothing."""
        try:
            action()
        except InvalidProgressError as error:
            if error.field != field:
                return [f"{done}: the error names the field {error.field!r} instead of {field!r}"]
            if not _same_value(error.value, value):
                return [f"{done}: the error names the value {_brief(error.value)} instead of {_brief(value)}"]
            if field not in str(error):
                return [f"{done}: the message does not say {field!r}: {error}"]
            return []
        except Exception as error:
            return [f"{done}: raised {type(error).__name__} instead of InvalidProgressError: {_brief(error)}"]
        return [f"{done}: was not refused"]

    def test_bad_model_name_is_refused(self, storage: AIStorage) -> None:
        """Names of another type, empty, of 256 characters, with NUL or a lone surrogate are refused."""
        self._check(storage, "model_name", [(value, value) for value in _NAMES])

    def test_bad_mse_is_refused(self, storage: AIStorage) -> None:
        """NaN, infinity, None, bool, text and ints beyond the floats are no mse."""
        self._check(storage, "mse", [(value, value) for value in [*_NUMBERS, None]])

    def test_bad_accuracy_is_refused(self, storage: AIStorage) -> None:
        """NaN, infinity, bool, text and ints beyond the floats are no accuracy."""
        self._check(storage, "accuracy", [(value, value) for value in _NUMBERS])

    def test_bad_cross_validation_score_is_refused(self, storage: AIStorage) -> None:
        """NaN, infinity, bool, text and ints beyond the floats are no score."""
        self._check(storage, "cross_validation_score", [(value, value) for value in _NUMBERS])

    def test_bad_training_samples_are_refused(self, storage: AIStorage) -> None:
        """Negative counts, those above 2**31 - 1, floats, bools and text are refused."""
        self._check(storage, "training_samples", [(value, value) for value in _SAMPLES])

    def test_bad_training_start_is_refused(self, storage: AIStorage) -> None:
        """Naive datetimes, those outside of the years 1000 to 9999, texts and dates are refused."""
        self._check(storage, "training_start", [(value, value) for value in _MOMENTS])

    def test_bad_training_end_is_refused(self, storage: AIStorage) -> None:
        """Naive datetimes, those outside of the years 1000 to 9999, texts and dates are refused."""
        self._check(storage, "training_end", [(value, value) for value in _MOMENTS])

    def test_bad_metadata_is_refused(self, storage: AIStorage) -> None:
        """Metadata that JSON or a backend can't keep is refused, and the error names the innermost value."""
        self._check(storage, "metadata", _METADATA)

    def test_metadata_nested_too_deep_is_refused(self, storage: AIStorage) -> None:
        """Metadata of 33, 10 000 or endless levels is refused, without a RecursionError."""
        endless: dict[str, Any] = {}
        endless["k"] = endless
        self._check(storage, "metadata", [(value, _ANY) for value in (_nested(33), _nested(10_000), endless)])

    def test_what_is_no_record_is_refused(self, storage: AIStorage) -> None:
        """save_progress of anything but a record raises InvalidProgressError."""
        given: list[Any] = [None, {"model_name": "m", "mse": 0.5}, "m", AIProgress]
        wrong: list[str] = []
        for value in given:
            wrong += self._wrong(
                f"save_progress({_brief(value)})",
                functools.partial(storage.save_progress, value),
                "progress",
                value,
            )
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)
        assert storage.load_progress() == [], "a save that was refused wrote something"

    def test_bad_expected_version_is_refused(self, storage: AIStorage) -> None:
        """expected_version must be None or an int from 0 up, for saves and deletes alike."""
        before = storage.save_progress(_GOOD)
        given: list[Any] = [-1, 1.0, "1", True, 2**63]
        wrong: list[str] = []
        for value in given:
            wrong += self._wrong(
                f"save_progress(expected_version={value!r})",
                functools.partial(storage.save_progress, _GOOD, expected_version=value),
                "expected_version",
                value,
            )
            wrong += self._wrong(
                f"delete_progress(expected_version={value!r})",
                functools.partial(storage.delete_progress, "m", expected_version=value),
                "expected_version",
                value,
            )
        if wrong or (changed := difference(before, storage.get_progress("m"))):
            pytest.fail("\n".join(wrong) or f"what was stored has changed:\n{changed}", pytrace=False)

    def test_bad_name_is_refused_by_every_operation(self, storage: AIStorage, clients: Clients) -> None:
        """get, delete, update and, where there is expiry, expire_now refuse a bad name as save does."""
        storage.save_progress(_GOOD)
        wrong: list[str] = []
        for name in _NAMES:
            actions: dict[str, Callable[[], Any]] = {
                "get_progress": functools.partial(storage.get_progress, name),
                "delete_progress": functools.partial(storage.delete_progress, name),
                "update_progress": functools.partial(storage.update_progress, name, _always(_GOOD)),
            }
            if Capability.EXPIRY in clients.capabilities:
                actions["expire_now"] = functools.partial(storage.expire_now, name)
            for way, action in actions.items():
                wrong += self._wrong(f"{way}({_brief(name)})", action, "model_name", name)
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)

    def test_change_must_be_callable(self, storage: AIStorage) -> None:
        """update_progress of something that can't be called raises InvalidProgressError."""
        before = storage.save_progress(_GOOD)
        given: list[Any] = [None, _GOOD]
        wrong = [
            line
            for value in given
            for line in self._wrong(
                f"update_progress('m', {_brief(value)})",
                functools.partial(storage.update_progress, "m", value),
                "change",
                value,
            )
        ]
        if wrong or (changed := difference(before, storage.get_progress("m"))):
            pytest.fail("\n".join(wrong) or f"what was stored has changed:\n{changed}", pytrace=False)


_ANY = object()


def _always(result: AIProgress) -> Change:
    """A change that returns this."""
    return lambda _: result


def _same_value(got: object, wanted: object) -> bool:
    return wanted is _ANY or got is wanted or (type(got) is type(wanted) and got == wanted)


def _brief(value: object) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"<{type(value).__name__}, nested too deep to show>"
    return text if len(text) <= 60 else f"{text[:59]}…"
