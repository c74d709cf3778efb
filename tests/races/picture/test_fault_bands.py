"""Faults in a picture: what belongs together is one band."""

from __future__ import annotations

import pytest

from pytest_aistorage.races import Fault
from pytest_aistorage.races.picture.faults import Band, bands_of, bands_svg


@pytest.mark.parametrize(
    ("begin", "end"), [("kill", "restart"), ("pause", "resume"), ("partition", "heal"), ("stop", "start")]
)
def test_fault_lasts_until_it_is_undone(begin, end):
    """A kill lasts until the restart, a pause until the server goes on, a partition until it heals."""
    bands = bands_of([Fault(end, 9), Fault(begin, 2)])
    assert bands == [Band(f"{begin} of server, until {end}", 2, 9)]


def test_only_the_same_target_undoes_it():
    """What is done to another target, or what undoes something else, ends nothing."""
    faults = [
        Fault("kill", 1, "a"),
        Fault("restart", 2, "b"),
        Fault("heal", 3, "a"),
        Fault("restart", 4, "a"),
        Fault("reset", 5, "a"),
    ]
    assert bands_of(faults) == [
        Band("kill of a, until restart", 1, 4),
        Band("restart of b", 2, None),
        Band("heal of a", 3, None),
        Band("reset of a", 5, None),
    ]


def test_each_end_is_used_once():
    """Of two kills the first is ended by the first restart, the second by the second."""
    faults = [Fault("kill", 1), Fault("kill", 2), Fault("restart", 3), Fault("restart", 4)]
    assert [(band.begin, band.end) for band in bands_of(faults)] == [(1, 3), (2, 4)]


def test_words_take_as_many_lines_as_they_need():
    """Words that would run into each other stand below each other, and the room for them is told."""
    svg, room = bands_svg([("kill of server", 10, None), ("pause of server", 20, 30)], 800, 100)
    assert room == 30
    assert svg.count("<text") == 2
    assert svg.count('class="span"') == 1
    assert bands_svg([("kill", 10, None), ("pause", 500, None)], 800, 100)[1] == 15
    assert bands_svg([], 800, 100) == ("", 0)
