"""Failpoints: no-ops until they are armed."""

from __future__ import annotations

import pytest

from pytest_aistorage._failpoints import NAMES, armed, reach


def test_unarmed_failpoint_does_nothing() -> None:
    """A name that nobody armed is passed by."""
    for name in NAMES:
        reach(name)


def test_armed_failpoint_calls_its_action() -> None:
    """What is armed is called with the name, and only for the names that were given."""
    reached: list[str] = []
    with armed(reached.append, ("before_write",)):
        for name in NAMES:
            reach(name)
    assert reached == ["before_write"]


def test_arming_ends_with_its_block() -> None:
    """Afterwards all is as before, also if the block raised, and for nested blocks."""
    outer: list[str] = []
    inner: list[str] = []
    with armed(outer.append):
        with pytest.raises(LookupError):
            _reached_and_raised(inner)
        reach("after_read")
    reach("after_read")
    assert (outer, inner) == (["after_read"], ["after_read"])


def test_action_may_end_the_operation() -> None:
    """What the action raises comes out at the failpoint."""

    def crash(name: str) -> None:
        raise SystemExit(name)

    with armed(crash), pytest.raises(SystemExit, match="before_commit"):
        reach("before_commit")


def _reached_and_raised(reached: list[str]) -> None:
    with armed(reached.append, ("after_read",)):
        reach("after_read")
        raise LookupError
