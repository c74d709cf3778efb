"""The ledger: what was acknowledged against what was kept."""

from __future__ import annotations

from pytest_aistorage.races import Attempt, balance


def attempt(model="m", outcome="ok", version=None, error=None):
    """One attempt, of which nothing but the outcome matters."""
    what = {"client": 0, "operation": "save", "called": 0, "returned": 1}
    return Attempt(model_name=model, outcome=outcome, version=version, error=error, **what)


def test_everything_kept():
    """As many changes as acknowledgements: nothing is lost."""
    found = balance([attempt(version=1), attempt(version=2)], {"m": 2})
    assert (found.attempted, found.acknowledged, found.kept, found.lost, found.duplicates) == (2, 2, 2, 0, 0)
    assert str(found) == "2 of 2 acknowledged, 2 kept, 0 lost"


def test_a_version_that_was_given_twice():
    """Two acknowledgements of one version, one change: one is lost."""
    found = balance([attempt(version=1), attempt(version=1)], {"m": 1})
    assert (found.kept, found.lost, found.duplicates) == (1, 1, 1)
    assert str(found) == "2 of 2 acknowledged, 1 kept, 1 lost, 1 versions acknowledged more than once"


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
