"""The checker, against trying out every order, on thousands of small random histories."""

from __future__ import annotations

import os
from random import Random

import pytest
from histories import history, is_linearizable, spoilt, without_versions

from pytest_aistorage.races import History, Operation, check_linearizable
from pytest_aistorage.races.checker import Verdict

COUNT = int(os.environ.get("AISTORAGE_HISTORIES", "3000"))
"""Of each kind; a hundred thousand and more where the checker is being changed."""

MODEL = ("save", "save", "update", "delete", "get", "get", "get")
MODELS = ("save", "save", "delete", "get", "load", "load", "save_many")


def _histories(kinds, models, seed):
    random = Random(seed)
    for _ in range(COUNT):
        operations = history(random, kinds, models)
        yield spoilt(random, operations) if random.random() < 0.7 else operations


def _shown(operations: list[Operation]) -> str:
    return "\n".join(str(operation) for operation in sorted(operations, key=lambda one: one.called))


def test_good_histories_are_good():
    """The brute force finds an order for what was simulated: the two agree on what is meant."""
    random = Random(1)
    for _ in range(COUNT // 3):
        operations = history(random, MODEL, ("a",))
        assert is_linearizable(operations), _shown(operations)


@pytest.mark.parametrize("seed", range(2))
def test_versioned_histories(seed):
    """With versions, mutations, conflicts, deletes and unknown outcomes of one model: the same verdict each time."""
    violations = 0
    for operations in _histories(MODEL, ("a",), seed):
        wanted = is_linearizable(operations)
        found = check_linearizable(History(operations))
        assert found.verdict is (Verdict.LINEARIZABLE if wanted else Verdict.VIOLATION), _shown(operations)
        violations += not wanted
    assert COUNT / 20 < violations < COUNT / 2  # both kinds are there


@pytest.mark.parametrize("kinds", [("save", "update", "get", "get"), MODEL], ids=["no deletes", "deletes"])
def test_histories_without_versions(kinds):
    """With values only, by zones or by the search: the same verdict each time."""
    for operations in map(without_versions, _histories(kinds, ("a",), 5)):
        wanted = is_linearizable(operations)
        found = check_linearizable(History(operations))
        assert found.verdict is (Verdict.LINEARIZABLE if wanted else Verdict.VIOLATION), _shown(operations)


@pytest.mark.parametrize("seed", range(2))
def test_histories_of_several_models(seed):
    """With listings and batches: never a violation where there is none, and all but a few of those that are."""
    missed = violations = 0
    for operations in _histories(MODELS, ("a", "b", "c"), seed):
        wanted = is_linearizable(operations)
        found = check_linearizable(History(operations))
        assert bool(found) or not wanted, _shown(operations)
        violations += not wanted
        missed += bool(found) and not wanted
    assert missed <= max(1, violations // 1000)


def test_counterexamples_are_small_and_violations():
    """What is shown is a violation by itself, of six operations at most; or else everything, where all is needed."""
    shown = verified = small = unexplained = 0
    for operations in _histories(MODEL, ("a",), 9):
        for violation in check_linearizable(History(operations)).violations:
            shown += 1
            if not violation.verified:
                unexplained += "nobody" not in violation.why  # to show that, it takes all there are
                continue
            verified += 1
            small += len(violation.operations) <= 6
            if violation.base == 0:
                assert not is_linearizable(list(violation.operations)), violation
    assert small >= 0.99 * verified
    assert verified >= 0.7 * shown
    assert unexplained <= 0.02 * shown
