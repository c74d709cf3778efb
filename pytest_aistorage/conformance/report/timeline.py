"""A violation as a picture: a lane a client, a bar an operation, from its call to its return."""

from __future__ import annotations

from ...races.picture.lanes import Bar, lanes_svg
from .results import Step, Violation

__all__ = ["timeline_svg"]


def timeline_svg(violation: Violation) -> str:
    """Return an SVG element that shows the steps of a violation; empty where there are none."""
    ordered = sorted(violation.steps, key=lambda step: (step.start, step.client))
    clients = {step.client for step in ordered}
    return lanes_svg(
        [_bar(step, number) for number, step in enumerate(ordered, 1)],
        said=f"{violation.anomaly}: {len(ordered)} operations of {len(clients)} clients",
    )


def _bar(step: Step, number: int) -> Bar:
    until = "never returned" if step.end is None else f"returned at {step.end:g}"
    return Bar(
        lane=step.client,
        label=step.label,
        begin=step.start,
        end=step.end,
        number=str(number),
        details=(f"{step.client}: {step.label}; called at {step.start:g}, {until}",),
    )
