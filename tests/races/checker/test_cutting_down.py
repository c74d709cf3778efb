"""Where only a search decides: what is shown violates because the whole does, and is small in a long history, too."""

from __future__ import annotations

from random import Random

from histories import history, is_linearizable, spoilt, without_versions

from pytest_aistorage.races import History, Operation, check_linearizable


def _op(process, kind, called, returned=None, outcome="ok", **fields):
    return Operation(process, kind, "m", called, returned, outcome, **fields)


def _told(operations):
    return {
        repr(one.value) for one in operations if one.kind in ("save", "update") and one.outcome != "failed"
    }


def test_no_writer_is_left_out_of_what_was_seen():
    """A counterexample of the search has the writers of what was read in it, and violates by itself."""
    random = Random(11)
    searched = 0
    for number in range(4000):
        kinds = ("save", "update", "update", "delete", "get", "get")
        operations = spoilt(random, history(random, kinds, ("a",)))
        if number % 2:
            operations = without_versions(operations)
        check = check_linearizable(History(operations))
        if not check.tiers["search"] or check.violation is None:
            continue
        searched += 1
        shown = check.violation.operations
        assert not is_linearizable(list(shown)), shown
        seen = {
            repr(value)
            for one in shown
            for value in (one.value if one.kind == "get" else one.consumed,)
            if value is not None
        }
        assert seen & _told(operations) <= _told(shown), shown
    assert searched > 20


def test_versions_are_not_passed_over_in_what_is_shown():
    """A change is no violation for the mere absence, in what is shown, of those before it."""
    operations = [
        _op(1, "save", 0, 1, version=1, value="a"),
        _op(3, "save", 2, None, "unknown", value="b"),
        _op(4, "update", 3, None, "unknown", base=1, value="c", consumed="a"),
        _op(1, "delete", 4, 5, version=3),
        _op(2, "get", 6, 7, version=3, value="b"),
    ]
    violation = check_linearizable(History(operations)).violation
    assert {one.version for one in violation.operations} >= {1, 3}


def test_a_long_history_has_a_small_counterexample():
    """The last operations before the order got stuck are enough, in a history of thousands."""
    operations = []
    for number in range(0, 6000, 3):
        operations += [
            _op(1, "save", 10 * number, 10 * number + 5, value=number),
            _op(2, "get", 10 * number + 10, 10 * number + 15, value=number),
            _op(3, "delete", 10 * number + 20, 10 * number + 25),
        ]
    operations[4000] = operations[4000]._replace(value="nobody's")
    violation = check_linearizable(History(operations)).violation
    assert (violation.anomaly, violation.operations) == ("phantom read", (operations[4000],))
    operations[4000] = operations[4000]._replace(value=operations[3999].value - 3)
    violation = check_linearizable(History(operations)).violation
    assert violation.anomaly == "stale read"
    assert len(violation.operations) <= 6


def test_a_change_that_does_not_say_what_it_wrote_explains_any_value():
    """Where a search has to decide, too."""
    operations = [
        _op(1, "save", 0, 1, version=1),
        _op(2, "get", 2, 3, version=1, value="a"),
        _op(3, "save", 4, None, "unknown", base=0),
        _op(3, "delete", 5, None, "unknown"),
        _op(1, "save", 6, 7, version=3),
    ]
    check = check_linearizable(History(operations))
    assert check.tiers["search"] == 1
    assert check


def test_versions_that_only_some_were_told_are_held_to():
    """One save of version 1 is not read as version 2, though its value is that of the read."""
    operations = [_op(1, "save", 0, 1, base=0, value="a"), _op(2, "get", 2, 3, version=2, value="a")]
    assert not check_linearizable(History(operations))
    assert check_linearizable(History([operations[0], operations[1]._replace(version=1)]))
