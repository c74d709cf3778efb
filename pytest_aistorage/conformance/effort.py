"""How hard the suite tries: what is drawn, raced and killed, at three levels."""

from __future__ import annotations

import dataclasses

__all__ = ["EFFORTS", "Effort", "active", "replayed", "set_active"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The budget of one run of the suite.

    Attributes:
        name: ``quick``, ``normal`` or ``thorough``.
        examples: how many examples Hypothesis draws for a check of one operation.
        sequences: how many sequences of operations are drawn against the specification.
        steps: how many operations a sequence has at most.
        interruptions: at how many places of one operation another client is let in, or the client is killed.
        operations: of one stress run at most, all clients together; so many that even in memory its time ends it.
        racing: seconds after which a stress run ends, however many operations are left.
        racers: clients of a stress run.
        kills: how many clients are killed at random while they write.
    """

    name: str
    examples: int
    sequences: int
    steps: int
    interruptions: int
    operations: int
    racing: float
    racers: int
    kills: int


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort(
            name="quick",
            examples=8,
            sequences=8,
            steps=20,
            interruptions=6,
            operations=8_000,
            racing=0.2,
            racers=4,
            kills=2,
        ),
        Effort(
            name="normal",
            examples=25,
            sequences=25,
            steps=30,
            interruptions=16,
            operations=12_000,
            racing=0.3,
            racers=6,
            kills=4,
        ),
        Effort(
            name="thorough",
            examples=200,
            sequences=200,
            steps=50,
            interruptions=200,
            operations=200_000,
            racing=10.0,
            racers=8,
            kills=25,
        ),
    )
}
"""By name."""


class _Active:
    """What the test that runs now has been given; one test runs at a time in a process."""

    effort = EFFORTS["normal"]
    seed = 0
    replayed: str | None = None


def set_active(effort: Effort, seed: int, replayed: str | None = None) -> None:
    """Set the effort and the seed of the test that begins, and the schedule that it is to run instead of all."""
    _Active.effort, _Active.seed, _Active.replayed = effort, seed, replayed


def active() -> tuple[Effort, int]:
    """Return the effort and the seed of the test that runs now."""
    return _Active.effort, _Active.seed


def replayed() -> str | None:
    """Return the name of the schedule that the test is to run instead of all; None: all."""
    return _Active.replayed
