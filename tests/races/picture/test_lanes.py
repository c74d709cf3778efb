"""Lanes: everything has its place, and nothing lies outside of the picture or over something else."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from pytest_aistorage.races.picture.faults import Band
from pytest_aistorage.races.picture.lanes import PLOT, Bar, lanes_svg
from pytest_aistorage.races.picture.scale import Scale


def bar(number, begin, end, *, lane="P1", **given):
    """A bar with a label of its own."""
    return Bar(lane=lane, label=f"save -> v{number}", begin=begin, end=end, number=f"#{number}", **given)


def drawn(*bars, **options):
    """The picture, parsed."""
    return ElementTree.fromstring(lanes_svg(bars, said="it", **options))


def classed(svg, name):
    """The elements that have a class."""
    return [one for one in svg.iter() if name in one.get("class", "").split()]


CROWDED = {
    "one": [bar(1, 5, 5)],
    "overlapping": [bar(n, n, 100) for n in range(12)],
    "behind each other": [bar(n, 10 * n, 10 * n + 9) for n in range(40)],
    "far away": [bar(1, 0, 1), bar(2, 10**12, 10**12 + 1), bar(3, 10**12 + 2, None)],
    "never returned": [bar(n, n, None, lane=f"P{n}") for n in range(5)],
    "long labels": [
        Bar(lane="P1", label="模型 resnet " * 40, begin=n, end=n + 3, number=f"#{n}", mark="same version")
        for n in range(4)
    ],
}


@pytest.mark.parametrize("bars", CROWDED.values(), ids=CROWDED)
def test_nothing_overlaps_or_lies_outside(bars):
    """Bars of one lane, and the labels below them, leave each other room; all of them are inside the plot."""
    svg = drawn(*bars)
    boxes = []
    for group in classed(svg, "operation"):
        rect, text = group.find("rect"), group.find("text")
        left, width = float(rect.get("x")), float(rect.get("width"))
        assert 0 <= left < left + width <= PLOT + 0.1
        assert width >= 6
        boxes.append((left, left + width, rect.get("y")))
        words = "".join(text.itertext())
        begin = float(text.get("x"))
        wide = sum(2 if ord(letter) > 0x2E80 else 1 for letter in words) * 6.6
        assert begin + wide <= PLOT + 12
        boxes.append((begin, begin + wide, text.get("y")))
        assert float(text.get("y")) <= float(svg.get("height"))
    for number, (left, right, line) in enumerate(boxes):
        for other_left, other_right, other_line in boxes[:number]:
            assert line != other_line or right <= other_left or other_right <= left


def test_lanes_are_sorted_by_number():
    """P2 stands before P10; a name that is no number comes last."""
    svg = drawn(*(bar(n, n, n + 1, lane=name) for n, name in enumerate(["P10", "other", "P2"])))
    assert [one.text for one in classed(svg, "client")] == ["P2", "P10", "other"]
    assert len(classed(svg, "lane")) == 3


def test_bar_that_never_returned_is_open_to_the_edge():
    """It reaches to the plot's edge, where none that returned does; an unknown one that returned has a tail."""
    svg = drawn(bar(1, 0, 9), bar(2, 1, None), bar(3, 2, 8, kinds=("unknown",)), bar(4, 3, 8))
    ends = [float(one.get("x")) + float(one.get("width")) for one in classed(svg, "step")]
    assert [end == PLOT for end in ends] == [False, True, False, False]
    assert [one.get("class") for one in classed(svg, "step")].count("step open") == 1
    (tail,) = classed(svg, "tail")
    assert tail.get("d").endswith(f"H{PLOT:g}")


def test_links_go_from_the_writer_to_the_reader():
    """Each ends where its reader begins; beside each other, above, and below."""
    svg = drawn(
        bar(1, 0, 2, lane="P2"),
        bar(2, 3, 4, lane="P1", saw=(0,)),
        bar(3, 5, 6, lane="P3", saw=(0,)),
        bar(4, 7, 8, lane="P2", saw=(0,)),
        bar(5, 1, 8, lane="P4", saw=(0,)),
    )
    lefts = [float(one.get("data-l")) for one in classed(svg, "operation")]
    links = classed(svg, "link")
    assert [float(one.get("data-r")) for one in links] == lefts[1:]
    assert all(float(one.get("data-l")) <= float(one.get("data-r")) for one in links)
    assert ["H" in one.get("d") for one in links] == [False, False, True, False]


def test_mark_and_details_are_there():
    """The mark stands beside the label, and the details are what a pointer or a screen reader gets."""
    svg = drawn(bar(1, 0, 2, mark="same version", kinds=("offender",), details=("P1: save", "model m")))
    (one,) = classed(svg, "offender")
    assert one.find("title").text == "P1: save\nmodel m"
    assert "".join(one.find("text").itertext()) == "#1 save -> v1 ← same version"
    assert one.get("tabindex") == "0"
    assert svg.get("aria-label") == "it"


def test_axis_says_when():
    """The last moment always has its time; those before it as there is room."""
    svg = drawn(*(bar(n, n, n + 0.5) for n in range(100)), clock=lambda moment: f"{moment:.3f} ms")
    words = [one.find("text") for one in classed(svg, "tick")]
    assert "99.500 ms" in [one.text for one in words]
    assert 5 < len(words) < 20
    assert "short times are drawn longer" in "".join(svg.itertext())
    assert classed(drawn(bar(1, 0, 1)), "tick") == []


def test_faults_outside_of_the_picture_are_left_out():
    """Only what lies between the first moment and the last is drawn, and what reaches into that."""
    bands = [Band("before", 0, 5), Band("into", 5, 12), Band("in", 14, None), Band("after", 30, None)]
    svg = drawn(bar(1, 10, 20), bands=bands)
    assert [one.find("text").text for one in classed(svg, "fault")] == ["into", "in"]
    assert float(classed(svg, "fault")[0].get("data-l")) == 0.0


def test_no_bars_no_picture():
    """There is nothing to show."""
    assert lanes_svg([], said="nothing") == ""


def test_scale_keeps_order_and_gives_short_times_room():
    """Places rise with the moments, within the width; a gap of a billionth still has its share."""
    moments = [0, 1, 10**9, 2 * 10**9]
    scale = Scale(moments, 300)
    places = [scale.at(moment) for moment in moments]
    assert places == sorted(places)
    assert (places[0], round(places[-1], 6)) == (0.0, 300.0)
    assert places[1] >= 300 * 0.6 / 3
    assert places[1] < scale.at(5 * 10**8) < places[2]
    assert (scale.at(-5), scale.at(10**10)) == (0.0, places[-1])
    true = Scale(moments, 300, to_scale=True)
    assert [round(true.at(moment)) for moment in moments] == [0, 0, 150, 300]
    assert Scale([7], 300).at(7) == 0.0
