"""JSON, Markdown, HTML and the terminal: the same report, and nothing in it can break out."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from page_reader import Page
from sample_report import HOSTILE, backend, full, report, result, violation

from pytest_aistorage.conformance.report import Latencies, Status, Step, report_from_json, report_to_json
from pytest_aistorage.conformance.report.as_html import report_to_html
from pytest_aistorage.conformance.report.as_markdown import report_to_markdown
from pytest_aistorage.conformance.report.as_text import report_to_text
from pytest_aistorage.conformance.report.judging import Standing
from pytest_aistorage.conformance.report.plots import Axis, latency_svg
from pytest_aistorage.conformance.report.timeline import timeline_svg
from pytest_aistorage.conformance.report.writing import FORMS, write

PINNED = Path(__file__).with_name("report.json")


def test_json_is_pinned() -> None:
    """The document is as it was published: keys, order and all. Another form needs another `SCHEMA`."""
    assert report_to_json(report()) == PINNED.read_text(encoding="utf-8")


def test_json_comes_back() -> None:
    """What was written is read as it was."""
    for one in (report(), report(full()), report(backend(declared=None))):
        assert report_from_json(report_to_json(one)) == one


def test_what_follows_is_judged_anew() -> None:
    """A verdict that somebody edits into the file is not believed."""
    document = json.loads(report_to_json(report()))
    document["backends"][0]["verdict"] = "passed"
    again = json.loads(report_to_json(report_from_json(json.dumps(document))))
    assert again["backends"][0]["verdict"] == "failed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "other"}',
        '{"schema": "pytest-aistorage/conformance-report/1"}',
        json.dumps({**json.loads(PINNED.read_text(encoding="utf-8")), "backends": [1]}),
    ],
)
def test_other_json_is_refused(text) -> None:
    """A text that is no report raises ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 -- json's own, or ours
        report_from_json(text)


def test_terminal_shows_everything_in_80_columns() -> None:
    """Guarantees, counts, verdict and level; without an escape sequence where there is no colour."""
    text = report_to_text(report(full(), *report().backends, full(), full(), full()), width=80)
    assert max(len(line.rstrip()) for line in text.splitlines()[:-12]) <= 80
    assert "\x1b" not in text
    for line in (
        r"spec 1\.0, effort normal, seed 7, pytest-aistorage 0\.1\.0",
        r"linearizable +✓ kept +✗ broken +✓ kept.*",
        r"tests +passed +failed +skipped +inconcl\. +deviates +n/a",
        r"postgres@17 +2 +1 +1 +1 +1 +1",
        r"✓ sample: passed, level 4 \(complete\)",
        r"✗ postgres@17 \(PostgreSQL 17\.2, embedded\): failed, level 0 \(none\)",
        r"  level 1 \(core\) needs core \(not shown\)",
    ):
        assert re.search(rf"^{line} *$", text, re.MULTILINE), line


def test_terminal_wraps_backends_into_tables() -> None:
    """Backends that do not fit beside each other come below each other, each once."""
    text = report_to_text(report(*(full() for _ in range(9))), width=60)
    rows = [line for line in text.splitlines() if line.startswith("linearizable")]
    assert len(rows) > 1
    assert sum(row.count("kept") for row in rows) == 9


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_terminal_counts_by_names_of_any_length(width: int) -> None:
    """A name is never broken; numbers stand under their headings, on the next line where the name leaves no room."""
    names = [
        "postgres@17",
        "mycompany.storages:factory",
        "a_backend_of_somebody_with_a_name_of_45_letters",
        "m",
    ]
    backends = [dataclasses.replace(report().backends[0], name=name) for name in names]
    lines = report_to_text(report(*backends), width=width).splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("tests"))
    table = lines[start : lines.index("", start)]
    heading, rows = table[0], table[2:]
    if width > 60:
        assert max(map(len, table)) <= width
    ends = [found.end() for found in re.finditer(r"\S+", heading)][1:]
    for name in names:
        (at,) = (number for number, row in enumerate(rows) if row.split()[0] == name)
        row = rows[at] if rows[at] != name else rows[at + 1]
        numbers = [row[:end].rsplit(maxsplit=1)[-1] for end in ends]
        assert numbers == ["2", "1", "1", "1", "1", "1"]


def test_terminal_may_be_coloured() -> None:
    """With colours it says the same words."""
    coloured = report_to_text(report(), colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == report_to_text(report())


def test_markdown_cannot_be_broken() -> None:
    """No markup of a message takes effect: it is in a block, or escaped."""
    hostile = f"{HOSTILE}\n```\n# no heading\n| no | row |"
    bad = backend(
        result("test_a", Status.FAILED, message=hostile, violation=violation(anomaly="`````", why=hostile)),
        result("test_b", Status.DEVIATION, message=hostile),
        name="a|b<i>",
    )
    text = report_to_markdown(report(bad))
    outside = re.sub(r"^(`{3,})text\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "no heading" in outside
    assert not re.search(r"(?<!\\)<|(?<!\\)`x|^# no heading", outside, re.MULTILINE)
    rows = [line for line in outside.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3, 8, 5}


def test_markdown_says_what_there_is() -> None:
    """Verdict, matrix, failure with its history, reasons and latencies."""
    text = report_to_markdown(report())
    for line in (
        "- ✗ **postgres@17** (PostgreSQL 17.2, embedded): **failed**, level 0 (none)",
        "| linearizable | ✗ broken (0 of 1) |",
        "### `test_lost` on postgres@17",
        "schedule: P1:read,P3:write",
        "  P2   0.5 to never returned  delete -> ?",
        "| postgres@17 | skipped | no server | `test_late` |",
        "| save | postgres@17 | 3 | 500 µs | 2 ms |",
    ):
        assert line in text.splitlines()


def test_page_is_self_contained() -> None:
    """It is well-formed, asks no host for anything, and its policy allows no script and no style but its own."""
    page = Page(report_to_html(report()))
    page.check_self_contained()
    assert len(page.tags("script")) == 1


def test_parts_of_a_bar_are_as_wide_as_tests_are_many() -> None:
    """Each number of tests has its style in the page's style sheet: a style attribute would not take effect."""
    text = report_to_html(report(full(), *report().backends))
    shares = set(re.findall(r"share-(\d+)\"", text))
    assert {"1", "2"} <= shares
    for number in shares:
        assert f".share-{number} {{ flex-grow: {number}; }}" in text


def test_page_cannot_be_broken() -> None:
    """Whatever a storage, a backend's name or a history says is text."""
    bad = backend(
        result(
            f"test{HOSTILE}",
            Status.FAILED,
            message=HOSTILE,
            area=HOSTILE,
            violation=violation(
                anomaly=HOSTILE,
                why=HOSTILE,
                schedule=HOSTILE,
                steps=(Step(client=HOSTILE, label=HOSTILE, start=0.0, end=1.0),),
            ),
            latencies={HOSTILE: Latencies(count=1, p50=1.0, p99=1.0, samples=(1.0,))},
        ),
        result("test_two", Status.DEVIATION, message=HOSTILE),
        name=HOSTILE,
        type=HOSTILE,
        server=HOSTILE,
        provider=HOSTILE,
    )
    page = Page(report_to_html(report(bad)))
    assert [tag for tag, _ in page.found].count("script") == 1
    assert page.text.count('<script>alert("1")</script>') >= 10


def test_page_says_what_there_is() -> None:
    """Header, verdict, guarantees, failure with timeline, reasons, latencies, and every test with its status."""
    page = Page(report_to_html(report()))
    text = " ".join(page.text.split())
    for words in (
        "1 backend: 1 failed.",
        "PostgreSQL 17.2, embedded",
        "Level 0 none",
        "✗ broken 0 of 1",
        "lost update. both are v9",
        "Schedule P1:read,P3:write",
        "counted lazily",
        "500 µs",
        "✓ passed",
    ):
        assert words in text
    rows = [given["data-status"] for tag, given in page.found if tag == "tr" and "data-status" in given]
    assert sorted(rows) == sorted([*(status.replace(" ", "-") for status in Status), "passed"])


def test_page_styles_every_standing_and_status() -> None:
    """No status and no standing is without a style of its own."""
    text = report_to_html(report())
    for kind, names in (("standing", Standing), ("status", Status), ("key", Status)):
        for name in names:
            assert f".{kind}.{name.replace(' ', '-')}" in text


@pytest.mark.parametrize("form", list(FORMS))
def test_empty_report_has_every_form(form) -> None:
    """A run without a backend is no error."""
    empty = report()
    empty = type(empty)(**{**{f: getattr(empty, f) for f in empty.__dataclass_fields__}, "backends": ()})
    assert FORMS[form](empty)


def test_timeline_shows_each_operation() -> None:
    """A lane a client, a bar an operation; one that never returned reaches to the end."""
    svg = ElementTree.fromstring(timeline_svg(violation()))
    bars = [one for one in svg.iter("rect") if "step" in one.attrib["class"]]
    assert len([one for one in svg.iter("rect") if one.attrib["class"] == "lane"]) == 3
    assert [one.attrib["class"] for one in bars].count("step open") == 1
    ends = {float(one.attrib["x"]) + float(one.attrib["width"]) for one in bars}
    (never,) = (one for one in bars if "open" in one.attrib["class"])
    assert float(never.attrib["x"]) + float(never.attrib["width"]) == max(ends)
    assert svg.attrib["aria-label"] == "lost update: 3 operations of 3 clients"


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Step(client="P1", label="at once", start=1.0, end=1.0),),
        tuple(Step(client="P1", label=f"overlapping {i}", start=float(i), end=9.0) for i in range(8)),
        tuple(Step(client=f"P{i}", label="long " * 60, start=1e-9 * i, end=None) for i in range(3)),
    ],
)
def test_timeline_has_room_for_everything(steps) -> None:
    """Bars of one lane never overlap, nor do labels that fit the picture; nothing lies outside of it."""
    text = timeline_svg(violation(steps=steps))
    if not steps:
        assert text == ""
        return
    svg = ElementTree.fromstring(text)
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    bars = [one.attrib for one in svg.iter("rect") if "step" in one.attrib["class"]]
    boxes = [(float(b["x"]), float(b["x"]) + float(b["width"]), float(b["y"])) for b in bars]
    assert len(boxes) == len(steps)
    for left, right, top in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top <= height
    for number, (left, right, top) in enumerate(boxes):
        for other_left, other_right, other_top in boxes[:number]:
            assert top != other_top or right <= other_left or other_right <= left
    labels = [(one.attrib["x"], one.attrib["y"]) for one in svg.iter("text") if one.get("class") == "label"]
    assert len(set(labels)) == len(steps)


def test_plot_has_a_dot_a_sample() -> None:
    """On one logarithmic axis; a latency of zero is at its left end."""
    one = Latencies(count=9, p50=0.5, p99=20.0, samples=(0.0, 0.5, 20.0))
    axis = Axis.over([one])
    assert (axis.low, axis.high) == (-1, 2)
    assert axis.at(0.0) == axis.at(0.1) < axis.at(0.5) < axis.at(100.0)
    svg = ElementTree.fromstring(latency_svg("save", [("memory", one)], axis))
    assert len(list(svg.iter("circle"))) == 3
    assert svg.attrib["aria-label"] == "save: memory p50 500 µs, p99 20 ms"


def test_report_is_written_whole(tmp_path) -> None:
    """What was there is replaced; a directory that is gone is an error and leaves nothing behind."""
    path = tmp_path / "report.json"
    path.write_text("old")
    write(report(), path)
    assert report_from_json(path.read_text(encoding="utf-8")) == report()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="away"):
        write(report(), tmp_path / "away" / "report.json")
