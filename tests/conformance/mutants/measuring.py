"""Faults that show only after many operations."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

from pytest_aistorage import AIProgress

from .delegating import Delegating, turns_red

# More than any other test reads in a row from one client.
_MANY = 64


@turns_red("latencies_are_measured")
class TiresOfReading(Delegating):
    """After many reads a client takes the last answer for good."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._reads = 0
        self._last: dict[str, AIProgress | None] = {}

    def get_progress(self, model_name: str) -> AIProgress | None:
        self._reads += 1
        if self._reads <= _MANY or model_name not in self._last:
            self._last[model_name] = super().get_progress(model_name)
        return self._last[model_name]
