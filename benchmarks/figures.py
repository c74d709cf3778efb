"""What a benchmark finds out: rows of figures, the goals set for them, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Column", "Goal", "Report", "Row"]


@dataclass(frozen=True, slots=True)
class Goal:
    """The most that a figure may be.

    Attributes:
        most: the limit itself still meets the goal.
        why: where the limit comes from.
    """

    most: float
    why: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures.

    Attributes:
        name: its heading, and the key of a row's figures and goals.
        unit: ``"ms"``, ``"×"``; what the figures are measured in.
        digits: behind the point.
    """

    name: str
    unit: str
    digits: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured, the figures, and the goals that some of them have.

    Attributes:
        labels: one for each of the report's `Report.labels`.
        figures: by the column's name; a column that does not apply is left out.
        goals: by the column's name.
    """

    labels: Sequence[str]
    figures: Mapping[str, float]
    goals: Mapping[str, Goal] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """The columns whose goal is not met. A figure that is missing misses its goal."""
        return [
            name
            for name, goal in self.goals.items()
            if not self.figures.get(name, float("inf")) <= goal.most  # NaN, too, meets nothing
        ]


@dataclass(slots=True, kw_only=True)
class Report:
    """One benchmark's result.

    Attributes:
        name: by which it is called.
        title: one line.
        labels: the headings of what was measured.
        columns: the headings of the figures.
        rows: what was measured.
        servers: which servers, versions and durability settings.
        method: how it was measured, in sentences.
        unmeasured: what could not be measured, and why.
        details: more figures, for the JSON only.
    """

    name: str
    title: str
    labels: Sequence[str]
    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    method: Sequence[str] = ()
    unmeasured: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """One line for each goal that is not met."""
        units = {column.name: column for column in self.columns}
        lines = []
        for row in self.rows:
            for name in row.missed:
                column = units[name]
                figure = row.figures.get(name)
                said = "not measured" if figure is None else f"{figure:.{column.digits}f} {column.unit}"
                most = f"{row.goals[name].most:g} {column.unit}"
                lines.append(f"{self.name}: {', '.join(row.labels)}: {name} {said}, goal ≤ {most}")
        return lines

    def document(self) -> dict[str, Any]:
        """Return everything as what JSON can say."""
        return {**asdict(self), "missed": self.missed}
