"""The ledger: what was acknowledged against what was kept."""

from __future__ import annotations

import pytest

from pytest_aistorage.races import Operation, Part, balance


def attempt(model="m", outcome="ok", version=None, error=None, kind="save", parts=()):
    """One operation, of which nothing but the outcome matters."""
    return Operation(
        process=0,
        kind=kind,
        model_name=model,
        called=0,
        returned=1,
        outcome=outcome,
        version=version,
        error=error,
        parts=parts,
    )


def test_everything_kept():
    """As many changes as acknowledgements: nothing is lost."""
    found = balance([attempt(version=1), attempt(version=2)], {"m": 2})
    assert (found.attempted, found.acknowledged, found.kept, found.lost, found.duplicates) == (2, 2, 2, 0, 0)
    assert str(found) == "2 of 2 acknowledged, 2 kept, 0 lost"


def test_a_version_that_was_given_twice():
    """Two acknowledgements of one version, one change: one is lost."""
    found = balance([attempt(version=1), attempt(version=1)], {"m": 1})
    assert (found.kept, found.lost, found.duplicates) == (1, 1, 1)
    assert str(found) == "2 of 2 acknowledged, 1 kept, 1 lost, 1 version acknowledged more than once"


def test_models_are_counted_apart():
    """What one model has too many does not make up for what another lost."""
    found = balance([attempt("a", version=1), attempt("b", version=1)], {"a": 2})
    assert (found.kept, found.lost) == (1, 1)


def test_failed_and_unknown_are_no_acknowledgements():
    """They are counted by their error, and can't be lost."""
    attempts = [
        attempt(outcome="failed", error="CorruptStorageError"),
        attempt(outcome="unknown", error="OutcomeUnknownError"),
        attempt(version=1),
    ]
    found = balance(attempts, {"m": 2})
    assert (found.attempted, found.acknowledged, found.kept, found.unknown) == (3, 1, 1, 1)
    assert found.errors == {"CorruptStorageError": 1, "OutcomeUnknownError": 1}


def test_what_can_not_be_read_is_not_kept():
    """Everything acknowledged is lost."""
    found = balance([attempt(version=1)], {}, "torn")
    assert (found.kept, found.lost, found.unreadable) == (0, 1, "torn")
    assert str(found).endswith("what is stored can't be read")


def test_reads_and_deletes_of_nothing_are_no_changes():
    """What had nothing to change was not acknowledged, and reads are not counted."""
    found = balance([attempt(kind="get", version=1), attempt(kind="delete", version=0)], {"m": None})
    assert (found.attempted, found.acknowledged, found.kept) == (1, 0, 0)


def test_each_record_of_a_batch_counts():
    """Of a batch that was acknowledged one record's change was kept, and the other's not."""
    parts = (Part("a", 1), Part("b", 1))
    found = balance([attempt("", kind="save_many", parts=parts)], {"a": 1, "b": None})
    assert (found.attempted, found.acknowledged, found.kept, found.lost) == (2, 2, 1, 1)


@pytest.mark.parametrize(
    ("newest", "kept"),
    [
        (attempt(kind="delete", version=2), 2),  # it explains that nothing is there
        (attempt(kind="delete", outcome="unknown"), 1),  # it may explain it
        (attempt(version=2), 0),
    ],
)
def test_absent_models_are_kept_if_a_delete_explains_it(newest, kept):
    """A model that is not there was deleted as the newest change, or is lost."""
    assert balance([attempt(version=1), newest], {"m": None}).kept == kept
