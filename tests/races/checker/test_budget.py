"""The budget of a search is one of time, too, however many outcomes are unknown."""

from __future__ import annotations

from time import perf_counter

from pytest_aistorage.races import History, Operation, Verdict, check_linearizable


def _op(kind, called, returned, **fields):
    return Operation(9, kind, "m", called, returned, **fields)


def _unknown(number, **fields):
    return Operation(number, "save", "m", number, None, "unknown", **fields)


def test_many_unknown_outcomes_end_in_time():
    """A thousand writes may each have taken effect anywhere: the answer is that nobody knows, and it comes soon."""
    operations = [_unknown(number, value=number) for number in range(1000)]
    operations += [_op("get", 2000 + 10 * n, 2005 + 10 * n, value=n) for n in range(0, 600, 7)]
    operations += [
        _op("delete", 9000, 9001),
        _op("get", 9002, 9003, version=0),
        _op("get", 9004, 9005, value=0),
    ]
    operations += [_op("get", 9006, 9007, value=7), _op("get", 9008, 9009, value=0)]
    started = perf_counter()
    assert check_linearizable(History(operations)).verdict is Verdict.UNKNOWN
    assert perf_counter() - started < 30


def test_writes_that_would_do_the_same_are_one():
    """Of forty equal writes of unknown outcome it does not matter which: what nobody wrote is told at once."""
    operations = [_unknown(number, value=number % 2) for number in range(40)]
    operations += [
        _op("delete", 100, 101),
        _op("get", 102, 103, value=0),
        _op("get", 104, 105, value="nobody's"),
    ]
    check = check_linearizable(History(operations), steps=100_000)
    assert check.violation.anomaly == "phantom read"


def test_the_first_of_those_that_would_do_the_same_may_be_used_up():
    """Each of them counts once."""
    operations = [_unknown(number, value="a") for number in range(2)]
    for n in range(2):
        operations += [
            _op("get", 100 + 10 * n, 101 + 10 * n, value="a"),
            _op("delete", 102 + 10 * n, 103 + 10 * n),
        ]
    assert check_linearizable(History(operations))
    operations += [_op("get", 200, 201, value="a")]
    assert not check_linearizable(History(operations))
