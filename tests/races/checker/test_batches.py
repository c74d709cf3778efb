"""Batches by the thousand, and batches whose models have them in different orders."""

from __future__ import annotations

from time import perf_counter

from pytest_aistorage.races import History, Operation, Part, check_linearizable

MODELS = ("a", "b", "c")


def _batch(process, called, returned, **versions):
    parts = tuple(Part(name, version, f"{process}{name}") for name, version in versions.items())
    return Operation(process, "save_many", "", called, returned, parts=parts)


def test_batches_in_a_circle():
    """Each pair has one model in common, and each came before the next."""
    circle = [_batch(1, 0, 9, a=1, b=2), _batch(2, 1, 9, b=1, c=2), _batch(3, 2, 9, c=1, a=2)]
    violation = check_linearizable(History(circle)).violation
    assert (violation.anomaly, violation.verified) == ("torn batch", True)
    assert list(violation.operations) == circle
    assert check_linearizable(History(circle), atomic_batch=False)


def test_a_torn_batch_between_others():
    """It is found among batches of the same models, and of others."""
    batches = [_batch(1, 10 * n, 10 * n + 9, a=n, b=n, c=n) for n in range(1, 6)]
    others = [_batch(2, 10 * n, 10 * n + 9, b=n, c=n) for n in range(6, 9)]
    listing = Operation(3, "load", "", 0, 99, parts=(Part("a", 4), Part("b", 3), Part("c", 3)))
    violation = check_linearizable(History([*batches, *others, listing])).violation
    assert violation.anomaly == "torn batch"
    assert batches[3] in violation.operations
    assert listing in violation.operations


def test_thousands_of_batches_and_listings():
    """What it takes grows with their number, and not with its square: that would be a minute here."""
    operations = []
    for number in range(1, 6001):
        called = 10 * number
        operations.append(_batch(1, called, called + 5, **dict.fromkeys(MODELS, number)))
        seen = tuple(Part(name, number, f"1{name}") for name in MODELS)
        operations.append(Operation(2, "load", "", called + 6, called + 9, parts=seen))
    started = perf_counter()
    assert check_linearizable(History(operations))
    assert perf_counter() - started < 20


FIRST = _batch(1, 0, 5, a=1, b=1)
LOST = Operation(
    2, "save_many", "", 10, None, "unknown", parts=(Part("a", None, "new"), Part("b", None, "too"))
)
"""Its client was killed."""


def _get(name, called, version, value):
    return Operation(3, "get", name, called, called + 1, version=version, value=value)


def test_half_a_batch_of_a_killed_client():
    """A listing, or reads one after another, see a part of it and not the other: it is torn, whoever was killed."""
    half = Operation(3, "load", "", 20, 21, parts=(Part("a", 2, "new"), Part("b", 1, "1b")))
    reads = [_get("a", 20, 2, "new"), _get("b", 30, 1, "1b")]
    for seen in ([half], reads):
        history = History([FIRST, LOST, *seen])
        assert check_linearizable(history).violation.anomaly == "torn batch"
        assert check_linearizable(history, atomic_batch=False)
    assert check_linearizable(History([FIRST, LOST, *reversed([one._replace(called=20) for one in reads])]))


def test_what_may_have_come_after_a_batch_of_a_killed_client():
    """All of it, none of it, and a part that a later change or an unknown delete has hidden, are as good as any."""
    gets = [_get("a", 20, 2, "new"), _get("b", 30, 2, "too")]
    later = Operation(4, "save", "b", 22, 23, version=3, value="later")
    unsure = Operation(5, "delete", "b", 22, None, "unknown")
    assert check_linearizable(History([FIRST, LOST, *gets]))
    assert check_linearizable(History([FIRST, LOST, _get("a", 20, 1, "1a"), _get("b", 30, 1, "1b")]))
    assert check_linearizable(History([FIRST, LOST, gets[0], later, _get("b", 30, 3, "later")]))
    assert check_linearizable(History([FIRST, LOST, gets[0], unsure, _get("b", 30, 0, None)]))
