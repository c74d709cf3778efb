"""Long histories in which servers failed: writes of unknown outcome must not use up the search's budget."""

from __future__ import annotations

from random import Random

import pytest

from pytest_aistorage.races import History, Operation, Verdict, check_linearizable


def churn(seed: int, number: int, unknown: float) -> list[Operation]:
    """What 8 clients are told who save, delete and get one model; half of the lost answers took effect."""
    random = Random(seed)
    now, version, value = 100, 0, None
    free = [0] * 8
    operations = []
    for tag in range(number):
        process = min(random.sample(range(8), 2), key=free.__getitem__)
        now = max(now, free[process]) + random.randint(1, 5)
        called, returned = max(free[process], now - random.randint(1, 30)), now + random.randint(1, 30)
        free[process] = returned + 1
        kind = random.choice(("save", "save", "delete", "get", "get"))
        if kind == "get" or (kind == "delete" and value is None):
            told, read = (0, None) if value is None else (version, value)
            operations.append(Operation(process, kind, "m", called, returned, version=told, value=read))
            continue
        written = None if kind == "delete" else tag
        lost = random.random() < unknown
        if not lost or random.random() < 0.5:
            version, value = version + 1, written
        operations.append(
            Operation(
                process,
                kind,
                "m",
                called,
                returned,
                "unknown" if lost else "ok",
                version=None if lost else version,
                value=written,
            )
        )
    return operations


@pytest.mark.parametrize("seed", range(5))
def test_lost_answers_of_a_long_run_are_decided(seed):
    """Thousands of operations, among them dozens of saves and deletes of unknown outcome: an order is found."""
    operations = churn(seed, 4000, 0.01)
    assert sum(one.outcome == "unknown" and one.kind == "delete" for one in operations) > 3
    found = check_linearizable(History(operations))
    assert found.tiers["search"] == 1
    assert found.verdict is Verdict.LINEARIZABLE


@pytest.mark.parametrize("seed", range(5))
def test_one_wrong_answer_among_them_is_found(seed):
    """One read that finds nothing long after it was surely there: no order explains that, and the budget lasts."""
    operations = churn(seed, 2000, 0.01)
    reads = [number for number, one in enumerate(operations) if one.kind == "get" and one.version]
    wrong = reads[len(reads) // 2]
    # Nobody else does anything for a while, so that the record was there all the time.
    later = [
        one._replace(called=one.called + 10_000, returned=one.returned + 10_000)
        for one in operations[wrong + 1 :]
    ]
    quiet = max(one.returned for one in operations[: wrong + 1]) + 1
    before = operations[: wrong + 1]
    state = next(one for one in reversed(before) if one.outcome == "ok" and one.kind in ("save", "delete"))
    told = 0 if state.kind == "save" else state.version
    offender = Operation(9, "get", "m", quiet, quiet + 1, version=told, value=None if told == 0 else -1)
    found = check_linearizable(History([*before, offender, *later]))
    assert found.verdict is Verdict.VIOLATION
