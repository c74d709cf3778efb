"""The whole run: every operation is in the picture and in the data, or it is said that it isn't."""

from __future__ import annotations

import re
from itertools import accumulate
from xml.etree import ElementTree

import pytest

from pytest_aistorage.races import Fault, History, Operation, Violation
from pytest_aistorage.races.picture import overview
from pytest_aistorage.races.picture.overview import overview_of

RUN = History(
    [
        Operation(2, "save", "m", 2_000, 3_000, version=2, value="b"),
        Operation(1, "save", "m", 0, 1_000, version=1, value="a"),
        Operation(1, "get", "m", 4_000, 5_000, version=1, value="a"),
        Operation(3, "save", "n", 4_500, None, "unknown", value="c"),
        Operation(3, "get", "n", 8_000, 9_000, "failed", error="OSError"),
        Operation(2, "save", "n", 5_000, 6_000, "unknown", value="d"),
    ],
    [Fault("kill", 3_500), Fault("restart", 3_900)],
)

STALE = Violation(
    anomaly="stale read", model_name="m", operations=tuple(RUN.operations[:3]), offender=RUN.operations[2]
)


def paths(found):
    """The pieces of each kind in the picture, as their left edges and widths."""
    svg = ElementTree.fromstring(found.svg)
    return {
        one.get("class"): [
            (float(left), float(width))
            for left, width in re.findall(r"M([-\d.]+) [-\d.]+h([\d.]+)v", one.get("d"))
        ]
        for group in svg.iter("g")
        if group.get("class") == "drawn"
        for one in group
    }


def test_every_operation_is_drawn_by_what_came_of_it():
    """Changes, reads, failures, unknown ones and what never returned are told apart; a violation's are framed."""
    drawn = paths(overview_of(RUN, [STALE]))
    assert {kind: len(pieces) for kind, pieces in drawn.items()} == {
        "change": 2,
        "read": 1,
        "failed": 1,
        "unknown": 1,
        "pending": 1,
        "marked": 3,
        "flag": 0,
    }
    assert overview_of(RUN, [STALE]).svg.count("l-4 7z") == 3
    ((left, width),) = drawn["pending"]  # until its client's next call
    assert left + width == pytest.approx(drawn["failed"][0][0], abs=0.2)


def test_data_has_every_operation():
    """Its columns are in the order of the calls, each counted from the one before; a time that never ended is -1."""
    data = overview_of(RUN, [STALE]).data
    assert list(accumulate(data["called"])) == [0, 2_000, 4_000, 4_500, 5_000, 8_000]
    assert data["took"] == [1_000, 1_000, 1_000, -1, 1_000, 1_000]
    assert data["number"] == [2, 1, 3, 4, 6, 5]
    assert [data["processes"][lane] for lane in data["lane"]] == [1, 2, 1, 3, 2, 3]
    assert [data["models"][model] for model in data["model"]] == ["m", "m", "m", "n", "n", "n"]
    assert data["code"] == [0, 0, 4, 2, 2, 5]
    assert data["label"][0] == "save a -> v1"
    assert data["violations"] == [[1, 0, 2]]
    assert data["faults"] == [["kill of server, until restart", 3_500, 3_900]]
    assert (data["begin"], data["end"]) == (0, 9_000)


def test_what_touches_is_one_piece():
    """However many operations there are, a lane has no more pieces than pixels."""
    operations = [Operation(1, "save", "m", n, n + 1, version=n) for n in range(20_000)]
    found = overview_of(History(operations), [])
    assert len(paths(found)["change"]) < 1_000
    assert len(found.data["called"]) == 20_000
    assert found.left_out == ()
    assert found.whole is None


def test_violation_of_a_whole_history_marks_its_offender():
    """Where all operations of a model are needed to show it, to frame all of them would say nothing."""
    whole = Violation(
        anomaly="stale read",
        model_name="m",
        operations=STALE.operations,
        offender=STALE.offender,
        verified=False,
    )
    assert overview_of(RUN, [whole]).data["violations"] == [[2]]


def test_what_is_left_out_is_said(monkeypatch):
    """Of too many operations those around the first violation have details; of too many clients some have lanes."""
    operations = [Operation(n % 5, "save", f"m{n}", 10 * n, 10 * n + 5, version=1) for n in range(100)]
    late = Violation(anomaly="stale read", model_name="m80", operations=(operations[80],))
    monkeypatch.setattr(overview, "MOST", 10)
    found = overview_of(History(operations), [late])
    assert found.data["number"] == list(range(76, 86))
    assert found.data["violations"] == [[5]]
    assert (found.data["begin"], found.data["end"]) == (750, 845)
    assert found.left_out == (
        "The first picture has all 100 operations. The second one, to look around in, has 10 of them, around the "
        "first violation.",
    )
    assert found.whole is not None
    assert "100 operations of 5 clients in 0.001 ms" in found.whole
    assert "10 operations of 5 clients in 0.000 ms" in found.svg
    monkeypatch.setattr(overview, "_LANES", 2)
    found = overview_of(History(operations), [late])
    assert found.data["processes"] == [0, 1]
    assert found.left_out[0] == "Of 5 clients, 2 have a lane."


def test_lanes_are_kept_for_who_is_in_a_violation(monkeypatch):
    """A client without a lane is none that the reader looks for."""
    operations = [Operation(n, "save", "m", n, n + 1, version=n) for n in range(9)]
    monkeypatch.setattr(overview, "_LANES", 2)
    late = Violation(anomaly="stale read", model_name="m", operations=(operations[8],))
    assert overview_of(History(operations), [late]).data["processes"] == [0, 8]


def test_long_words_are_cut_where_there_are_too_many():
    """Names of 255 letters are kept whole as long as there is room; the details say what they were cut to."""
    names = [f"{n:06d}" + "模" * 249 for n in range(10_000)]
    found = overview_of(
        History(Operation(1, "get", name, n, n, version=0) for n, name in enumerate(names)), []
    )
    assert all(len(name) <= 120 for name in found.data["models"])
    assert len(set(found.data["models"])) == 10_000
    assert found.left_out == ("There is so much that names and words are cut to 120 letters.",)
    few = overview_of(History(Operation(1, "get", name, n, n) for n, name in enumerate(names[:50])), [])
    assert few.data["models"] == names[:50]


@pytest.mark.parametrize("clients", [1, 17, 41, 150])
def test_lanes_get_lower_as_there_are_more(clients):
    """All of them have a lane, and the picture stays lower than two screens."""
    history = History(Operation(n, "get", "m", 0, 1, version=0) for n in range(clients))
    svg = ElementTree.fromstring(overview_of(history, []).svg)
    assert len([one for one in svg.iter("rect") if one.get("class") == "lane"]) == clients
    assert float(svg.get("height")) < 1_300
