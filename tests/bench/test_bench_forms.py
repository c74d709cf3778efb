"""A run as text for a terminal, as a page, and as a drawing."""

from __future__ import annotations

import io
import itertools
import re
from xml.etree import ElementTree

from page_reader import Page
from rich.console import Console
from sample_reports import outcome

from pytest_aistorage.bench.as_html import page_of
from pytest_aistorage.bench.as_text import details_of, table_of
from pytest_aistorage.bench.figures import Report
from pytest_aistorage.bench.growth_plot import growth_svg

SVG = "{http://www.w3.org/2000/svg}"


def printed(report: Report) -> str:
    """The table on a terminal of 80 columns."""
    file = io.StringIO()
    Console(width=80, file=file).print(table_of(report))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_table_on_a_terminal() -> None:
    """Figures with their goals, or what they are beside, below; nothing is cut off; counts in lines of their own."""
    table, growth = outcome().reports
    text = printed(table)
    assert "…" not in text
    assert re.search(r"redis, appendfsync everysec +0\.400 +✓ proven +✗ loss shown", text)
    assert re.search(r"append-only file, fsync each +≤ 0\.3", text)
    assert re.search(r"guide +\n.*10\.0", text)
    assert [line.plain for line in details_of(table)] == [
        "file: persistent: 7 of 9 by SIGKILL",
        "redis, appendfsync everysec: concurrent-safe: 0 of 5 lost; persistent: 1 of 2 by power loss",
    ]
    text = printed(growth)
    assert re.search(r"file +get +1\.100 +10\.100 +–", text)
    assert text.count("postgres") == 1  # a group is named once


def test_page() -> None:
    """Well-formed and self-contained; what was broken and how busy it was stands at the top; names are escaped."""
    page = Page(page_of(outcome()))
    page.check_self_contained()
    assert "</td><script>alert(1)</script> & \ufffd" in page.text
    assert page.source.count("<script>") == 1
    header = page.text[: page.text.index("The guide's table")]
    assert "though promised" in header
    assert "The machine had other work (load 7.5)" in header
    assert len(page.tags("span", class_="good")) == 1
    assert len(page.tags("span", class_="bad")) == 2
    (missed,) = page.tags("td", class_="missed")
    assert missed["class"] == "figure missed"
    assert "no mysql server: none" in page.text
    assert len(page.tags("svg")) == 1
    assert "prefers-color-scheme: dark" in page.source


def test_plot_has_a_line_for_each_backend_and_ends_where_it_was_not_measured() -> None:
    """Three panels; a mark for each figure; the file has two, the others three; no label covers another."""
    growth = outcome().reports[1]
    root = ElementTree.fromstring(growth_svg(growth, alone=True))
    panels = [one for one in root if one.tag == f"{SVG}g"]
    assert [panel[0].text for panel in panels] == ["get", "save", "listing"]
    for panel in panels:
        lines = [one for one in panel if "line" in one.get("class", "").split()]
        assert [len(line.findall(f"{SVG}g")) for line in lines] == [3, 3, 2]
        names = [one for one in panel if "name" in one.get("class", "").split()]
        assert {one.text for one in names} == {"postgres", "redis", "file"}
        places = sorted(float(one.attrib["y"]) for one in names)
        assert all(below - above >= 12 for above, below in itertools.pairwise(places))
    assert root.find(f"{SVG}style") is not None
    assert "<style>" not in growth_svg(
        growth
    )  # a page has a style sheet of its own, and a policy against others
