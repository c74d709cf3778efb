"""The page of a checked history: well-formed, self-contained, unbreakable, and small enough to be opened."""

from __future__ import annotations

import re

import pytest
from page_reader import Page

from pytest_aistorage.races import Balance, Fault, History, Operation, Part, check_linearizable
from pytest_aistorage.races.page import page_of, write_page

HOSTILE = "</script><img src=x onerror=alert(1)>'\" <!-- ]]> & \x00 \u202e\ud800"
SHOWN = "</script><img src=x onerror=alert(1)>'\" <!-- ]]> &"
"""What of it can be shown; what can't is replaced."""


def stale(model="m", old="old", new="new", at=0, **given):
    """The least history with a stale read."""
    return [
        Operation(1, "save", model, at, at + 1_000, version=1, value=old),
        Operation(2, "save", model, at + 2_000, at + 3_000, version=2, value=new),
        Operation(3, "get", model, at + 4_000, at + 5_000, version=1, value=old, **given),
    ]


def page(operations, faults=(), **options):
    """The page of a history, read."""
    history = History(operations, faults)
    return Page(page_of(check_linearizable(history), history, **options))


def test_page_says_what_there_is():
    """Verdict, facts, each violation with why, the whole run, and the text of the failure with its replay."""
    kept = Balance(attempted=9, acknowledged=8, kept=3, duplicates=0, unknown=0)
    found = page(
        [*stale(), *stale("n", at=9_000), Operation(4, "save", "o", 7_000, 8_000, version=1)],
        [Fault("pause", 3_500)],
        name="redis",
        replay="pytest --ai-storage-replay=P1:read",
        balance=kept,
    )
    text = " ".join(found.text.split())
    for words in (
        "Not linearizable · redis",
        "2 × stale read; 7 operations on 3 models, 5 acknowledged saves lost.",
        "Why: version 2 was there, and after that version 1. Meanwhile: pause of server.",
        "model n; 2 of 7 operations suffice (+1 context)",
        "8 of 9 acknowledged, 3 kept, 5 lost",
        "1 × pause",
        "The whole run",
        'NOT LINEARIZABLE redis · model "m": stale read',
        "Replay: pytest --ai-storage-replay=P1:read",
    ):
        assert words in text
    assert len(found.tags("figure", class_="counterexample")) == 2
    assert len(found.tags("table")) == 2
    assert len(found.tags("g", class_="offender")) >= 2
    assert len(found.data["called"]) == 7
    assert found.data["violations"] == [[0, 1, 2], [4, 5, 6]]


def test_linearizable_history_has_a_page():
    """It says so, and shows the run."""
    found = page([Operation(1, "save", "m", 0, 1, version=1)])
    assert "Linearizable" in found.text
    assert "There is an order of all 1 operations on 1 model" in found.text
    assert len(found.tags("figure")) == 1
    assert found.tags("figure", class_="run")


def test_unknown_names_what_is_open():
    """Out of budget is neither green nor red; the models that are open are named."""
    history = History([Operation(n, "delete", "m", 0, 9) for n in range(3)])
    found = Page(page_of(check_linearizable(history, steps=0), history))
    assert "The budget of the search ran out on m: this is no pass." in found.text
    assert found.tags("span", class_="unknown")


def test_empty_history_has_a_page():
    """There is nothing to draw."""
    found = page([])
    assert "Linearizable" in found.text
    assert found.tags("figure") == []
    assert found.data is None


def test_page_is_self_contained():
    """It asks no host for anything, and its policy allows no script and no style but its own two."""
    found = page(stale(), [Fault("kill", 3_500)])
    found.check_self_contained()
    assert not found.tags("form")


def test_page_cannot_be_broken(tmp_path):
    """Whatever a history or a caller says is text: names, values, errors, sources, faults, and the storage's name."""
    operations = [
        *stale(HOSTILE, old=HOSTILE, new={HOSTILE: HOSTILE}, source=HOSTILE),
        Operation(4, "get", "other", 5_000, 6_000, "failed", error=HOSTILE),
        Operation(5, "load", "", 7_000, 8_000, parts=(Part(HOSTILE, 2, HOSTILE),)),
    ]
    history = History(operations, [Fault(HOSTILE, 3_500, HOSTILE)])
    path = tmp_path / "race.html"
    write_page(path, check_linearizable(history), history, name=HOSTILE, replay=HOSTILE)
    found = Page(path.read_text(encoding="utf-8"))
    assert len(found.tags("script")) == 2
    assert found.tags("img") == []
    assert found.text.count(SHOWN) >= 8
    assert "\x00" not in found.text
    assert found.data["models"][0].startswith(SHOWN)
    assert "alert" not in str([attributes for tag, attributes in found.found if tag == "script"])


def test_everything_can_be_reached_without_a_pointer():
    """Each bar can be focused and says what it is; the pictures have words; buttons have names; tables have heads."""
    found = page(stale())
    assert len(found.tags("g", class_="operation")) > 3  # those of the legend, too
    for bar in (one for one in found.tags("g", class_="operation") if "data-l" in one):
        assert bar["tabindex"] == "0"
    for svg in found.tags("svg", class_="timeline"):
        assert svg.get("aria-label") or svg.get("aria-hidden") == "true"
    for button in found.tags("button"):
        assert button.get("aria-label") or button.get("id") == "theme" or "data-violation" in button
    assert all(head.get("scope") in ("col", "row") for head in found.tags("th"))
    assert found.tags("html")[0]["lang"] == "en"


def test_script_has_what_it_looks_for():
    """Every class, id and attribute that the scripts ask for by name is in the page."""
    history = History(stale())
    text = page_of(check_linearizable(history), history)
    markup, script = text.split('<script>"use strict"')
    for name in set(re.findall(r'querySelector(?:All)?\("(?:svg|g|figure)\.([a-z-]+)"', script)):
        assert re.search(rf'class="[^"]*\b{name}\b', markup), name
    for name in set(re.findall(r'getElementById\("(\w+)"', script)):
        assert f'id="{name}"' in markup, name
    acts = set(re.findall(r'data-act="(\w+)"', markup))
    assert acts == {"in", "out", "left", "right", "all"}
    assert set(re.findall(r"data\.([a-z]+)", script)) <= set(Page(text).data)


def test_many_violations_are_not_all_drawn():
    """Twenty are; the others are counted, and marked in the run."""
    operations = [
        one._replace(process=3 * n + one.process) for n in range(25) for one in stale(f"model-{n:02}")
    ]
    found = page(operations)
    assert len(found.tags("figure", class_="counterexample")) == 20
    assert "5 more models have a violation" in found.text
    assert len(found.data["violations"]) == 25


def test_page_is_written_whole(tmp_path):
    """What was there is replaced; a directory that is gone is an error and leaves nothing behind."""
    path = tmp_path / "race.html"
    path.write_text("old")
    history = History(stale())
    check = check_linearizable(history)
    write_page(path, check, history)
    assert path.read_text(encoding="utf-8") == page_of(check, history)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="away"):
        write_page(tmp_path / "away" / "race.html", check, history)


def test_large_history_stays_below_ten_megabytes():
    """100 000 operations of 30 clients, with values in three-byte letters: all are in it, each with its label."""
    operations = [
        Operation(
            process=n % 30,
            kind="save",
            model_name=f"模型-{n % 10}",
            called=10_000 * n,
            returned=10_000 * n + 250_000,
            version=n // 10 + 1,
            value=f"値{n}" * 8,
        )
        for n in range(100_000)
    ]
    history = History(operations)
    text = page_of(check_linearizable(history), history)
    assert len(text.encode()) < 10_000_000
    found = Page(text)
    assert len(found.data["called"]) == len(found.data["label"]) == 100_000
    assert "are cut to" in found.text
