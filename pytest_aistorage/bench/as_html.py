"""Reports as one HTML page that needs nothing else: no network, no other file, no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby

from ..races import picture
from ..races.picture.document import html_document
from ..races.picture.escaping import escaped
from .figures import Column, Report, Row, Shown
from .growth_plot import growth_css, growth_svg
from .outcome import Outcome

__all__ = ["page_of"]

_TITLE = "What storage costs, and what it keeps"


def page_of(outcome: Outcome) -> str:
    """Return a run as HTML text that ends with a line feed. Everything in it that is not ours is escaped.

    Args:
        outcome: of the run.
    """
    here, pictures = files(__package__), files(picture)
    style = "".join(one.read_text(encoding="utf-8") for one in (pictures / "palette.css", here / "page.css"))
    content = "\n".join([_header(outcome), *map(_section, outcome.reports)])
    return html_document(_TITLE, f"<main>\n{content}\n</main>", style=f"{style}{growth_css()}", script="\n")


def _header(outcome: Outcome) -> str:
    before, after = outcome.before, outcome.after
    facts = {
        "pytest-aistorage": outcome.version,
        "Python": before.python,
        "machine": f"{before.system}, {before.cpus} processors",
        "measured": before.measured,
    }
    if before.load is not None and after.load is not None:
        facts["load before and after"] = f"{before.load:g} / {after.load:g}"
    facts["effort"] = "quick" if outcome.quick else "full"
    listed = "".join(f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts.items())
    warned = [f'<p class="broken">{escaped(line)}</p>' for line in outcome.broken]
    if (busy := before.busy(after)) is not None:
        warned.append(f'<p class="warning">{escaped(busy[:1].upper() + busy[1:])}.</p>')
    return (
        f"<header>\n<h1>{_TITLE}</h1>\n"
        '<p class="lead">Measured on this machine, each figure beside what it is compared with. What is called '
        f"proven was tried in this run.</p>\n<dl>{listed}</dl>\n{''.join(warned)}</header>"
    )


def _section(report: Report) -> str:
    parts = [f"<h2>{escaped(report.title)}</h2>"]
    if report.name == "growth" and report.rows:
        parts.append(
            f"<figure>{growth_svg(report)}<figcaption>Median of one call. Both axes are logarithmic: a level line is "
            "a storage that does not care how many models there are.</figcaption></figure>"
        )
        parts.append(f"<details><summary>The same as a table</summary>{_table(report)}</details>")
    elif report.rows:
        parts.append(_table(report))
    parts += _list(report.notes, "notes")
    parts += [f"<p>{escaped(sentence)}</p>" for sentence in report.method]
    if report.servers:
        listed = "".join(_list(report.servers, "servers"))
        parts.append(
            f"<details><summary>Servers and their settings, as they report them</summary>{listed}</details>"
        )
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _list(lines: Sequence[str], kind: str) -> Iterator[str]:
    if lines:
        yield f'<ul class="{kind}">{"".join(f"<li>{escaped(line)}</li>" for line in lines)}</ul>'


def _table(report: Report) -> str:
    heads = [f'<th scope="col">{escaped(label)}</th>' for label in report.labels]
    heads += [_heading(column) for column in report.main_columns]
    groups = (list(rows) for _, rows in groupby(report.rows, key=lambda row: row.labels[0]))
    bodies = "".join(f"<tbody>{''.join(_rows(rows, report))}</tbody>" for rows in groups)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(report.title)}">'
        f"<table><thead><tr>{''.join(heads)}</tr></thead>{bodies}</table></div>"
    )


def _heading(column: Column) -> str:
    if not column.unit:
        return f'<th scope="col">{escaped(column.name)}</th>'
    unit = f'<span class="unit">{escaped(column.unit)}</span>'
    return f'<th scope="col" class="figure">{escaped(column.name)} {unit}</th>'


def _rows(rows: Sequence[Row], report: Report) -> Iterator[str]:
    for number, row in enumerate(rows):
        first = f'<th scope="rowgroup" rowspan="{len(rows)}">{escaped(row.labels[0])}</th>'
        labels = "".join(f'<th scope="row">{escaped(label)}</th>' for label in row.labels[1:])
        cells = "".join(_cell(report, row, column) for column in report.main_columns)
        yield f"<tr>{'' if number else first}{labels}{cells}</tr>"


def _cell(report: Report, row: Row, column: Column) -> str:
    if not column.unit:
        return f"<td>{_shown(row.shown.get(column.name))}</td>"
    goal, below = row.goals.get(column.name), report.small_print(row, column)
    why = f' title="{escaped(goal.why)}"' if goal is not None else ""
    said = (
        f'<span class="goal"{why}>{"goal " if goal is not None else ""}{escaped(below)}</span>'
        if below
        else ""
    )
    met = "" if goal is None else " missed" if column.name in row.missed else " met"
    return f'<td class="figure{met}"><b>{row.text(column)}</b>{said}</td>'


def _shown(shown: Shown | None) -> str:
    if shown is None:
        return "–"
    kind, sign = {True: ("good", "✓ "), False: ("bad", "✗ "), None: ("open", "")}[shown.good]
    counts = "".join(f'<span class="counts">{escaped(part)}</span>' for part in shown.parts)
    return f'<span class="chip {kind}">{sign}{escaped(shown.words)}</span>{counts}'
