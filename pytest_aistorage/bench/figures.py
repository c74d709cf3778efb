"""What a benchmark finds out: rows of figures, the goals set for them, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Column", "Goal", "Report", "Row", "Shown"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit that a figure has to keep.

    Attributes:
        limit: the most that it may be; it still meets the goal itself.
        why: where the limit comes from.
        at_least: the limit is the least that the figure may be.
    """

    limit: float
    why: str
    at_least: bool = False

    def met_by(self, figure: float | None) -> bool:
        """Whether a figure keeps the limit. One that is missing, or no number, keeps none."""
        if figure is None:
            return False
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures, or of what was shown.

    Attributes:
        name: its heading, and the key of a row's figures and goals, or of what it shows.
        unit: ``"ms"``, ``"×"``; what the figures are measured in. Empty: the column holds what was shown.
        digits: behind the point.
        below: the column below whose figures this one's are shown where there is little room.
        short: what it is called there.
    """

    name: str
    unit: str
    digits: int = 3
    below: str = ""
    short: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What became of a claim.

    Attributes:
        good: True: it was tried and it held; False: it was seen to fail; None: neither.
        words: ``"proven"``, ``"loss shown"``, or why neither.
        parts: what was counted: ``"0 of 560 operations lost"``.
        promised: whether the storage, with these settings, promises it.
    """

    good: bool | None
    words: str
    parts: Sequence[str] = ()
    promised: bool = False

    @property
    def counts(self) -> str:
        """The parts in one line."""
        return ", ".join(self.parts)

    @property
    def broken(self) -> bool:
        """Whether a promise was seen to be broken."""
        return self.promised and self.good is False

    def __str__(self) -> str:
        sign = {True: "✓ ", False: "✗ ", None: ""}[self.good]
        return f"{sign}{self.words}{f': {self.counts}' if self.parts else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured, the figures, and the goals that some of them have.

    Attributes:
        labels: one for each of the report's `Report.labels`.
        figures: by the column's name; a column that does not apply is left out.
        goals: by the column's name.
        shown: by the column's name, of those that hold no figures.
    """

    labels: Sequence[str]
    figures: Mapping[str, float]
    goals: Mapping[str, Goal] = field(default_factory=dict)
    shown: Mapping[str, Shown] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """The columns whose goal is not met. A figure that is missing misses its goal."""
        return [name for name, goal in self.goals.items() if not goal.met_by(self.figures.get(name))]

    def text(self, column: Column) -> str:
        """Return what a column says of this row, without its goal; a dash where that is nothing."""
        if not column.unit:
            return str(self.shown.get(column.name, "–"))
        figure = self.figures.get(column.name)
        return "–" if figure is None else f"{figure:.{column.digits}f}"


@dataclass(slots=True, kw_only=True)
class Report:
    """One benchmark's result.

    Attributes:
        name: by which it is called.
        title: one line.
        labels: the headings of what was measured. The last one says more about the others.
        columns: the headings of the figures.
        rows: what was measured.
        servers: which servers, versions and durability settings.
        method: how it was measured, in sentences.
        notes: what could not be measured, or misses its goal, and why.
        details: more figures, for the JSON only.
    """

    name: str
    title: str
    labels: Sequence[str]
    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    method: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def main_columns(self) -> list[Column]:
        """The columns that have a place of their own also where there is little room."""
        return [column for column in self.columns if not column.below]

    def small_print(self, row: Row, column: Column) -> str:
        """Return what stands below a figure: its goal, or else what it is shown beside."""
        if (goal := row.goals.get(column.name)) is not None:
            return str(goal)
        for other in self.columns:
            if other.below == column.name and other.name in row.figures:
                return f"{other.short} {row.text(other)}"
        return ""

    @property
    def missed(self) -> list[str]:
        """One line for each goal that is not met."""
        units = {column.name: column for column in self.columns}
        lines = []
        for row in self.rows:
            for name in row.missed:
                column = units[name]
                said = f"{row.text(column)} {column.unit}" if name in row.figures else "not measured"
                goal = f"{row.goals[name]} {column.unit}"
                lines.append(f"{self.name}: {', '.join(row.labels)}: {name} {said}, goal {goal}")
        return lines

    def document(self) -> dict[str, Any]:
        """Return everything as what JSON can say."""
        return {**asdict(self), "missed": self.missed}
