"""The hierarchy of errors: typed fields, and how each message renders."""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_aistorage import errors
from pytest_aistorage.errors import (
    AIStorageError,
    InvalidProgressError,
    ServerUnavailableError,
    VersionConflictError,
)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_storage_error(name: str) -> None:
    """`except AIStorageError` catches them all, and none is a KeyError or the like."""
    assert issubclass(getattr(errors, name), AIStorageError)
    assert getattr(errors, name).__mro__[-3:] == (Exception, BaseException, object)


def test_invalid_progress_names_field_path_and_value() -> None:
    """The message leads from the field to the innermost value."""
    error = InvalidProgressError("metadata", {1, 2}, "must be plain", ("layers", 0))
    assert str(error) == "metadata['layers'][0]: must be plain, got {1, 2}"
    assert (error.field, error.value, error.reason, error.path) == (
        "metadata",
        {1, 2},
        "must be plain",
        ("layers", 0),
    )


def test_long_value_is_cut() -> None:
    """A value of a megabyte does not fill the log."""
    assert len(str(InvalidProgressError("metadata", "x" * 1_000_000, "must be short"))) < 150


def test_value_that_has_no_repr_is_named_by_its_type() -> None:
    """Neither a repr that raises nor endless nesting hides the error at hand."""

    class Mute:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert str(InvalidProgressError("f", Mute(), "bad")).endswith("got <Mute>")
    assert "<list" in str(InvalidProgressError("f", deep, "bad"))


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        (3, 4, "model 'm': expected version 3, found version 4"),
        (0, 4, "model 'm': expected no record, found version 4"),
        (3, 0, "model 'm': expected version 3, found no record"),
    ],
)
def test_conflict_says_what_was_expected_and_found(expected: int, actual: int, said: str) -> None:
    """Version 0 reads as "no record"."""
    assert str(VersionConflictError("m", expected, actual)) == said


def test_server_unavailable_gives_reasons_and_remedy() -> None:
    """Each provider's reason is there, and what to do about it."""
    error = ServerUnavailableError(
        "postgres@17", ["container: no Docker", "process: no binaries"], "Install it."
    )
    assert str(error) == "no postgres@17 server: container: no Docker; process: no binaries. Install it."


@pytest.mark.parametrize(
    "error",
    [
        InvalidProgressError("mse", "x", "must be a float", ("a",)),
        VersionConflictError("m", 1, 2),
        ServerUnavailableError("redis", ["a: b"], "c"),
        errors.StorageUnavailableError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error: AIStorageError) -> None:
    """Pickled and copied errors keep their fields: pytest-xdist and multiprocessing send them."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_a_value_that_can_not_be_pickled_is_told_instead() -> None:
    """An error comes out of a worker process whatever value it names."""
    error = pickle.loads(pickle.dumps(InvalidProgressError("metadata", lambda: 0, "must be JSON", ("k",))))
    assert (error.field, error.reason) == ("metadata", "must be JSON")
    assert "lambda" in error.value
