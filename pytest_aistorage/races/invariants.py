"""What must hold after a race, as a function of the application's tests says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["name_of", "violated"]


def violated(invariant: Callable[[Any], Any], storage: Any) -> str | None:
    """Say why an invariant does not hold; None: it does.

    Args:
        invariant: is given a storage; it raises AssertionError (or whatever it meets), or returns False or what is
            wrong in words.
        storage: what is left.
    """
    said = f"the invariant {name_of(invariant)} does not hold"
    try:
        held = invariant(storage)
    except BaseException as error:  # whatever it meets: on a state that is as it must be it meets nothing
        # Interrupts are not its own; pytest.fail is, and pytest.skip and pytest.exit are about the whole test.
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ in ("Skipped", "Exit"):
            raise
        about = str(error) or type(error).__name__
        is_plain = isinstance(error, AssertionError) or type(error).__name__ == "Failed"
        return f"{said}: {about if is_plain else f'{type(error).__name__}: {about}'}"
    if held is False:
        return said
    return f"{said}: {held}" if isinstance(held, str) else None


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name, of a partial call the inner one's."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__qualname__", inner))
