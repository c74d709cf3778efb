"""The names of schedules."""

from __future__ import annotations

import pytest

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.races import Schedule, Step


def test_a_name_is_read_and_written():
    """What is read from a name is written as the same name."""
    schedule = Schedule.parse("P1:read, P12:waits,P1:half-way")
    assert list(schedule) == [Step(0, "read"), Step(11, "waits"), Step(0, "half-way")]
    assert str(schedule) == "P1:read,P12:waits,P1:half-way"
    assert len(schedule) == 3


@pytest.mark.parametrize(
    "text", ["", "P1", "P0:read", "P1:", "read", "P1:read,,P2:read", "p1:read", "P1:Read"]
)
def test_what_is_no_schedule_is_refused(text):
    """The error names the step that can't be read."""
    with pytest.raises(ConfigurationError, match="is no step such as P1:read"):
        Schedule.parse(text)
