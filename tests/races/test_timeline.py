"""What a failure shows: the operations as text, with their numbers, marks, and how much of it there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_aistorage.races import Balance, Fault, History, Operation, Part, Violation, check_linearizable
from pytest_aistorage.races.timeline import describe, timeline_of
from pytest_aistorage.races.wording import label_of, numbers_of

LOST = [
    Operation(1, "save", "resnet", 1_400_000, 2_070_000, version=9, base=8, value="a"),
    Operation(2, "get", "resnet", 0, 1_000, version=0),
    Operation(3, "save", "resnet", 1_300_000, 1_500_000, version=8, base=7, value="b"),
    Operation(3, "save", "resnet", 1_600_000, 1_900_000, version=9, base=8, value="c"),
]
"""One version acknowledged twice, and seven changes by somebody else before."""

BEFORE = [
    Operation(4, "save", "resnet", 2_000 * number, 2_000 * number + 1_000, version=number)
    for number in range(1, 8)
]


def told(operations, *faults, **options):
    """What is said of a history."""
    history = History(operations, faults)
    return describe(check_linearizable(history), history, **options)


def test_lost_update_is_shown_whole():
    """The heading, the size, lanes with numbers, the mark, why, the whole run, and how to see it again."""
    command = "pytest --ai-storage-replay=P1:read,P3:read,P3:write,P1:write   (6 schedules, 4 fail)"
    assert told([*LOST, *BEFORE], name="file", replay=command, page=Path("/tmp/race.html")) == (
        """\
NOT LINEARIZABLE  file · model "resnet": lost update, version 9 acknowledged twice
2 of 11 operations suffice (+1 context), 0.77 ms of a 2.07 ms run
  P1            ├──────────────────────────────────────────┤
                save if v8 #1 a -> v9
  P3    ├───────────────┤                  ├───────┤
        save if v7 #3 b -> v8              save if v8 #4 c -> v9   <- same version
Why: both started from v8; no order of the two gives v9 to both.
Whole run: 11 operations on 1 model, 1 version acknowledged more than once, at least 1 acknowledged save lost.
Replay: pytest --ai-storage-replay=P1:read,P3:read,P3:write,P1:write   (6 schedules, 4 fail)
Timeline: file:///tmp/race.html"""
    )


def test_common_base_may_be_nothing():
    """Two first saves that both got version 1 started from nothing, which is no version."""
    both = [Operation(n, "save", "m", n, 9 + n, version=1, base=0) for n in range(2)]
    assert "Why: both started from nothing; no order of the two gives v1 to both." in told(both)


def test_losses_are_those_of_the_balance():
    """Where it is known what was kept, that is said instead of the least that follows from the versions."""
    kept = Balance(attempted=9, acknowledged=9, kept=2, duplicates=1, unknown=0, unreadable="torn")
    text = told([*LOST, *BEFORE], balance=kept)
    assert "more than once, 7 acknowledged saves lost, what is stored can't be read." in text


def test_whole_run_counts_versions_and_the_unknown():
    """A version acknowledged three times is one version and two lost changes; deletes make them changes."""
    operations = [Operation(n, "delete", "m", 10 * n, 10 * n + 5, version=5, base=4) for n in range(1, 4)] + [
        Operation(4, "save", "m", 0, None, "unknown", value="x")
    ]
    text = told(operations)
    assert "version 5 acknowledged 3 times" in text
    assert (
        "1 version acknowledged more than once, at least 2 acknowledged changes lost, 1 of unknown outc"
        in text
    )


def test_faults_are_said():
    """What was done to the storage meanwhile stands below the reason."""
    lost = [
        Operation(1, "save", "m", 0, 1, version=1, value="old"),
        Operation(2, "save", "m", 2, 3, version=2, value="new"),
        Operation(3, "get", "m", 10, 11, version=1, value="old"),
    ]
    assert "\nMeanwhile: kill of server.\n" in told(lost, Fault("kill", 6))


def test_linearizable_and_unknown_are_one_line():
    """They have no counterexample; the models that are open are named."""
    assert told(BEFORE) == "linearizable: 7 operations on 1 model"
    history = History([Operation(n, "delete", "m", 0, 9) for n in range(3)])
    text = describe(check_linearizable(history, steps=0), history)
    assert text == "UNKNOWN  the budget ran out on 'm' (3 operations on 1 model)"


@pytest.mark.parametrize("number", [2, 3, 9, 20])
def test_no_label_runs_into_another(number):
    """However many operations there are, each label is whole, and no line is wider than a terminal of 120."""
    operations = [
        Operation(n % 3 + 1, "get", "m", 10 * n, 10 * n + 15, version=n, value=f"what was read as {n}")
        for n in range(number)
    ]
    violation = Violation(anomaly="stale read", model_name="m", operations=operations, offender=operations[1])
    lines = timeline_of(violation, numbers_of(History(operations)))
    assert max(map(len, lines)) <= 120
    words = re.findall(r"get #\d+ -> .*?(?=  |$)", "\n".join(lines), re.MULTILINE)
    assert sorted(words) == sorted(label_of(one, n) for n, one in enumerate(operations, 1))
    assert sum("<- was replaced" in line for line in lines) == 1


def test_long_counterexample_shows_what_leads_to_the_offender():
    """Where there are too many operations to show, the offending one and those before it are; the rest is counted."""
    operations = [Operation(n % 2, "save", "m", 10 * n, 10 * n + 15, version=n) for n in range(1, 60)]
    operations.append(Operation(7, "save", "m", 700, 701, version=70))
    history = History(operations)
    check = check_linearizable(history)
    assert check.violation is not None
    assert not check.violation.verified
    text = describe(check, history)
    assert "save #60 -> v70   <- once too often" in text
    assert "save #59 -> v59" in text
    assert "save #1 -> v1" not in text
    assert "  … and 40 more" in text


@pytest.mark.parametrize(
    ("operation", "label"),
    [
        (Operation(1, "get", "m", 0, 1, version=0), "get #7 -> nothing"),
        (Operation(1, "get", "m", 0, 1, value="x"), "get #7 -> x"),
        (Operation(1, "get", "m", 0, 1), "get #7 -> nothing"),
        (Operation(1, "get", "m", 0, 1, version=3, value={"mse": 0.5}), "get #7 -> v3"),
        (Operation(1, "save", "m", 0, 1, version=1, base=0), "save if absent #7 -> v1"),
        (Operation(1, "save", "m", 0, 1, value={"mse": 0.5, "n": 1}), "save #7 mse=0.5 n=1 -> ok"),
        (Operation(1, "update", "m", 0, 1, value="b", consumed="a"), "update from a #7 b -> ok"),
        (Operation(1, "update", "m", 0, 1, version=4, base=3), "update from v3 #7 -> v4"),
        (Operation(1, "delete", "m", 0, None, "unknown"), "delete #7 -> ?"),
        (Operation(1, "delete", "m", 0, 1, version=0), "delete #7 -> nothing"),
        (Operation(1, "save", "m", 0, 1, "failed", base=3, actual=5), "save if v3 #7 -> conflict: v5"),
        (Operation(1, "save", "m", 0, 1, "failed", base=3, actual=0), "save if v3 #7 -> conflict: nothing"),
        (Operation(1, "save", "m", 0, 1, "failed", error="OSError"), "save #7 -> OSError"),
        (Operation(1, "save", "m", 0, 1, value="a\nb" * 20), "save #7 a ba ba ba ba ba ba ba … -> ok"),
        (Operation(1, "load", "", 0, 1), "load #7 -> nothing"),
        (Operation(1, "load", "", 0, 1, parts=(Part("m", 1), Part("n"))), "load #7 -> m v1, n"),
        (Operation(1, "load", "", 0, 1, parts=(Part("m", 1),) * 5), "load #7 -> 5 records"),
        (Operation(1, "load", "", 0, 1, "failed", error="OSError"), "load #7 -> OSError"),
        (Operation(1, "save_many", "", 0, None, "unknown", parts=(Part("m"),)), "save_many #7 -> ?"),
    ],
)
def test_operation_in_a_few_words(operation, label):
    """What was asked, on which condition, and what was told; in one line, whatever the value is."""
    assert label_of(operation, 7) == label
