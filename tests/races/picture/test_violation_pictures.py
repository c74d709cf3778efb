"""The picture of a counterexample, its table, and the one in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from page_reader import Page

from pytest_aistorage.races import Fault, History, Operation, Verdict, check_linearizable
from pytest_aistorage.races.picture.counterexample import (
    kinds_of,
    table_of,
    violation_image,
    violation_svg,
)

DOCS = Path(__file__).parents[3] / "docs"

LOST = History(
    [
        Operation(1, "save", "m", 1_400_000, 2_070_000, version=9, base=8, value="a"),
        Operation(3, "save", "m", 1_300_000, 1_500_000, version=8, base=7, value="b"),
        Operation(3, "save", "m", 1_600_000, 1_900_000, version=9, base=8, value="c"),
        *(Operation(4, "save", "m", 2_000 * n, 2_000 * n + 1_000, version=n) for n in range(1, 8)),
    ],
    [Fault("pause", 1_700_000)],
)


def found_in(history):
    """The first violation."""
    violation = check_linearizable(history).violation
    assert violation is not None
    return violation


def groups(svg, name):
    """The groups that have a class."""
    return [one for one in ElementTree.fromstring(svg).iter("g") if name in one.get("class", "").split()]


def test_picture_shows_what_the_text_does():
    """Each operation with its number, its label and its details; the offender is marked, the base drawn apart."""
    svg = violation_svg(found_in(LOST), LOST)
    labels = ["".join(one.find("text").itertext()) for one in groups(svg, "operation")]
    assert labels == [
        "#2 save if v7 b -> v8",
        "#1 save if v8 a -> v9",
        "#3 save if v8 c -> v9 ← same version",
    ]
    assert len(groups(svg, "offender")) == len(groups(svg, "context")) == 1
    details = groups(svg, "offender")[0].find("title").text.split("\n")
    assert details == [
        "P3: save if v8 #3 c -> v9",
        "model m",
        "called at 1.598 ms, took 0.300 ms",
        "outcome ok",
    ]
    assert svg.count('class="link"') == 2
    assert [one.find("text").text for one in groups(svg, "fault")] == ["pause of server"]
    assert "both started from v8" in ElementTree.fromstring(svg).get("aria-label")


def test_legend_is_of_what_is_drawn():
    """It names no kind of operation that is not in the picture, and lines only where there is one."""
    assert kinds_of(found_in(LOST)) == {"change", "offender", "context", "link"}
    two = History([Operation(n, "save", "m", 0, 9, version=1) for n in range(2)])
    assert kinds_of(found_in(two)) == {"change", "offender"}


def test_table_says_the_same():
    """A row for each operation in the order of their calls, with what it saw, and what is wrong with it."""
    page = Page(table_of(found_in(LOST), LOST))
    assert len(page.tags("tr")) == 4
    assert len(page.tags("tr", class_="offender")) == 1
    for words in (
        "#2P3save if v7 b -> v81.298 ms1.498 msok",
        "ok#2← same version",
        "where the others started",
    ):
        assert words in page.text


def test_outcomes_are_told_apart():
    """An unknown operation that never returned has an open bar, one that did a tail; failed ones look different."""
    history = History(
        [
            Operation(1, "save", "m", 0, None, "unknown", value="a"),
            Operation(2, "save", "m", 1, 2, "unknown", value="b", error="OutcomeUnknownError"),
            Operation(3, "delete", "m", 3, 4, "failed", base=7, actual=1),
            Operation(4, "get", "m", 5, 6, version=0, source="cache"),
            Operation(4, "delete", "m", 7, 8, version=5),
            Operation(5, "delete", "m", 9, 10, version=5),
        ]
    )
    violation = found_in(history)
    object.__setattr__(violation, "operations", tuple(history.operations))
    svg = violation_svg(violation, history)
    kinds = [one.get("class") for one in groups(svg, "operation")]
    assert kinds[:4] == [
        "operation change unknown",
        "operation change unknown",
        "operation change failed",
        "operation read",
    ]
    assert svg.count("step open") == svg.count('class="tail"') == 1
    assert "answered from cache" in svg
    assert "outcome unknown: OutcomeUnknownError" in svg
    assert "never returned" in svg


def test_long_counterexample_is_cut_around_its_offender():
    """A violation that takes a model's whole history is drawn as far as it can be read."""
    operations = [Operation(n % 2, "save", "m", 10 * n, 10 * n + 15, version=n) for n in range(1, 400)]
    history = History([*operations, Operation(7, "save", "m", 4_100, 4_101, version=410)])
    violation = found_in(history)
    svg = violation_svg(violation, history)
    assert len(groups(svg, "operation")) == 60
    assert len(groups(svg, "offender")) == 1
    assert Page(table_of(violation, history)).text.count("P") == 60


def test_picture_as_a_file_needs_nothing_else():
    """It has its own style, light and dark, and asks nobody for anything."""
    text = violation_image(found_in(LOST), LOST)
    svg = ElementTree.fromstring(text)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://|@import|url\(|href", text.replace("http://www.w3.org/2000/svg", ""))
    (inner,) = (one for one in svg if one.tag.endswith("svg"))
    assert float(svg.get("width")) == float(inner.get("width")) + 24
    assert float(svg.get("height")) == float(inner.get("height")) + 24


def test_picture_in_the_documentation_is_that_of_its_history(tmp_path):
    """docs/histories.md shows a history, and docs/race.svg is what this version draws of it."""
    page = (DOCS / "histories.md").read_text(encoding="utf-8")
    block = re.search(r'^```text title="race.jsonl"\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    assert block is not None
    path = tmp_path / "race.jsonl"
    path.write_text(block[1], encoding="utf-8")
    history = History.load(path)
    check = check_linearizable(history)
    assert check.verdict is Verdict.VIOLATION
    drawn = violation_image(found_in(history), history)
    if drawn != (DOCS / "race.svg").read_text(encoding="utf-8"):
        new = tmp_path / "race.svg"
        new.write_text(drawn, encoding="utf-8")
        pytest.fail(f"docs/race.svg is out of date; look at {new}, and copy it there if it is right")
    assert "(race.svg)" in page
