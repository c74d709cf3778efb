"""The backend of a test: its parameter, and which test is being set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..capabilities import Capability
    from .state import State

__all__ = ["Choice", "active", "set_active"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The parameter of a test.

    Attributes:
        name: the backend's.
        state: of the run that the test belongs to.
        excluded: whether the test is to be deselected. It is generated all the same, so that it is counted.
        requires: capabilities that only the opened storage can tell of.
    """

    name: str
    state: State = field(compare=False, repr=False)
    excluded: bool = False
    requires: frozenset[Capability] = frozenset()


class _Active:
    """The choice of the test that is being set up.

    The fixtures could have it from `request`, which takes pytest longer to make than Redis to empty a database.
    """

    choice: Choice | None = None


active = _Active()


def set_active(choice: object) -> None:
    """Remember the choice of the test whose setup begins, and begin to empty its store.

    The server works on it while pytest prepares the fixtures.
    """
    if not isinstance(choice, Choice):
        active.choice = None
        return
    active.choice = choice
    run = choice.state.run
    if run is not None and (store := run.opened_store(choice.name)) is not None:
        store.begin()
