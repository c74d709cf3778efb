"""A report as one HTML page that needs nothing else: no network, no other file, and a script only to filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from ...races import picture
from ...races.picture.document import html_document
from .judging import (
    LEVELS,
    Verdict,
    counts,
    level_of,
    next_level,
    obstacles,
    standing_of,
    verdict_of,
)
from .plots import Axis, latency_svg
from .results import Backend, Latencies, Report, Status, TestResult
from .timeline import timeline_svg
from .wording import (
    SIGNS,
    STATUS_SIGNS,
    VERDICT_SIGNS,
    about,
    conditions_of,
    counted,
    description,
    reasons,
    unshown,
)

__all__ = ["report_to_html"]


def report_to_html(report: Report) -> str:
    """Return a report as HTML text that ends with a line feed. Everything in it that is not ours is escaped."""
    here, pictures = files(__package__), files(picture)
    styles = (pictures / "palette.css", here / "page.css", pictures / "timeline.css")
    style = "".join(one.read_text(encoding="utf-8") for one in styles)
    script = here.joinpath("page.js").read_text(encoding="utf-8")
    content = "\n".join(_sections(report))
    return html_document(
        "Conformance report",
        f"<main>\n{content}\n</main>",
        style=f"{style}{_shares(report)}",
        script=script,
    )


def _sections(report: Report) -> Iterator[str]:
    yield _header(report)
    if not report.backends:
        yield "<p>No contract test ran.</p>"
        return
    yield '<section class="cards" aria-label="Backends">'
    yield from map(_card, report.backends)
    yield "</section>"
    yield _section("Guarantees", _matrix(report))
    yield _section("Failures", "\n".join(_failures(report)) or "<p>No contract test failed.</p>")
    if rows := list(_unshown(report)):
        yield _section(
            "Neither passed nor failed",
            "<p>Nothing that is listed here counts as passed.</p>"
            + _table("reasons", ["backend", "status", "reason and tests"], rows),
        )
    if plots := "\n".join(_latencies(report)):
        yield _section("Latencies", plots)
    yield _section("Tests", _tests(report))


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>"


def _scrolling(label: str, content: str) -> str:
    """What scrolls by itself where the page is narrow; by the keyboard, too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'


def _table(kind: str, headings: Iterable[str], rows: Iterable[str]) -> str:
    return _grouped(kind, headings, [f"<tbody>{''.join(rows)}</tbody>"])


def _grouped(kind: str, headings: Iterable[str], bodies: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    return _scrolling(kind, f'<table class="{kind}"><thead><tr>{head}</tr></thead>{"".join(bodies)}</table>')


def _group(title: str, columns: int, rows: Iterable[str]) -> str:
    """A part of a table with a heading of its own."""
    head = f'<tr class="group"><th scope="rowgroup" colspan="{columns}">{escape(title)}</th></tr>'
    return f"<tbody>{head}{''.join(rows)}</tbody>"


def _chip(kind: str, sign: str, word: str) -> str:
    """A word with its sign, which is not read out."""
    return f'<span class="{kind} {_slug(word)}"><span aria-hidden="true">{sign}</span> {word}</span>'


def _slug(text: str) -> str:
    return text.replace(" ", "-")


def _status(status: Status) -> str:
    return _chip("status", STATUS_SIGNS[status], status)


def _header(report: Report) -> str:
    verdicts = [verdict_of(backend) for backend in report.backends]
    said = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)
    number = len(verdicts)
    facts = {
        "specification": report.spec,
        "effort": report.effort,
        "seed": str(report.seed),
        "pytest-aistorage": report.package,
        "Python": report.python,
        "platform": report.platform,
        "created": report.created,
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return (
        "<header>\n<h1>Conformance report</h1>\n"
        f'<p class="lead">{number} backend{"" if number == 1 else "s"}: {said or "nothing ran"}.</p>\n'
        f"<dl>{listed}</dl>\n</header>"
    )


def _card(backend: Backend) -> str:
    verdict, level, above = verdict_of(backend), level_of(backend), next_level(backend)
    steps = "".join(
        f'<span class="{"reached" if step.number <= level.number else ""}"></span>' for step in LEVELS[1:]
    )
    missing = ""
    if above is not None:
        listed = "".join(
            f"<li>{escape(name)} <i>{standing}</i></li>"
            for standing, names in obstacles(backend).items()
            for name in names
        )
        missing = f'<div class="missing">Level {above.number}, {above.name}, needs<ul>{listed}</ul></div>'
    if note := unshown(backend):
        missing += f'<div class="missing">{escape(note.capitalize())}</div>'
    found = {status: number for status, number in counts(backend).items() if number}
    bar = "".join(f'<span class="{_slug(status)} share-{number}"></span>' for status, number in found.items())
    legend = "".join(
        f'<li><span class="key {_slug(status)}" aria-hidden="true"></span><b>{number}</b> {status}</li>'
        for status, number in found.items()
    )
    what = description(backend) or (backend.type if backend.type != backend.name else "")
    return f"""<article class="card">
<h2>{escape(backend.name)} {_chip("badge", VERDICT_SIGNS[verdict], verdict)}</h2>
<p class="what">{escape(what or "")}&nbsp;</p>
<p class="level"><b>Level {level.number}</b> {level.name}</p>
<div class="ladder" role="img" aria-label="level {level.number} of {LEVELS[-1].number}">{steps}</div>
<div class="bar" aria-hidden="true">{bar}</div>
<ul class="legend">{legend}</ul>
{missing}
</article>"""


def _shares(report: Report) -> str:
    """The style of the parts of the cards' bars, as wide as tests are many: the page has no style attributes."""
    numbers = {number for backend in report.backends for number in counts(backend).values() if number}
    return "".join(f".share-{number} {{ flex-grow: {number}; }}\n" for number in sorted(numbers))


def _matrix(report: Report) -> str:
    groups = []
    for level in LEVELS[1:]:
        rows = []
        for name in level.guarantees:
            cells = "".join(_cell(backend, name) for backend in report.backends)
            rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
        groups.append(_group(f"Level {level.number}, {level.name}", len(report.backends) + 1, rows))
    return (
        "<p>A guarantee is kept if every test that requires it and applies has passed; the figures say how many of "
        "them did. Of what is not declared, the tests try to show the loss.</p>"
    ) + _grouped("matrix", ["guarantee", *(backend.name for backend in report.backends)], groups)


def _cell(backend: Backend, guarantee: str) -> str:
    standing = standing_of(backend, guarantee)
    number = counted(backend, guarantee)
    figures = f' <span class="count">{number}</span>' if number else ""
    return f"<td>{_chip('standing', SIGNS[standing], standing)}{figures}</td>"


def _failures(report: Report) -> Iterator[str]:
    for backend in report.backends:
        for test in backend.tests:
            if test.status is Status.FAILED:
                yield _failure(backend, test)


def _failure(backend: Backend, test: TestResult) -> str:
    figure = ""
    if (violation := test.violation) is not None:
        replay = ""
        if violation.schedule is not None:
            replay = f'<p class="schedule">Schedule <code>{escape(violation.schedule)}</code></p>'
        figure = (
            f"<figure>{_scrolling('timeline', timeline_svg(violation))}"
            f"<figcaption><b>{escape(violation.anomaly)}.</b> {escape(violation.why)}{replay}</figcaption></figure>"
        )
    return f"""<article class="failure">
<h3><span aria-hidden="true">✗</span> {escape(test.name)} <span class="on">on {escape(backend.name)}</span></h3>
<p class="about">{escape(about(test))}</p>
{figure}
<pre>{escape(test.message)}</pre>
</article>"""


def _unshown(report: Report) -> Iterator[str]:
    for backend in report.backends:
        for status, reason, names in reasons(backend):
            tests = " ".join(f"<code>{escape(name)}</code>" for name in names)
            listed = (
                tests
                if len(names) <= 3
                else f"<details><summary>{len(names)} tests</summary>{tests}</details>"
            )
            yield (
                f'<tr><th scope="row">{escape(backend.name)}</th><td>{_status(status)}</td>'
                f'<td>{escape(reason)}<div class="names">{listed}</div></td></tr>'
            )


def _latencies(report: Report) -> Iterator[str]:
    found: dict[str, list[tuple[str, Latencies]]] = {}
    for backend in report.backends:
        for test in backend.tests:
            for operation, one in test.latencies.items():
                found.setdefault(operation, []).append((backend.name, one))
    if not found:
        return
    axis = Axis.over(one for rows in found.values() for _, one in rows)
    yield (
        "<p>One client, one operation after the other, on a store of ten models. A dot is one measurement; "
        '<span class="mark-p50">the solid line is p50</span>, <span class="mark-p99">the dashed one p99</span>. '
        "They are of this machine in this run: nothing is judged by them.</p>"
    )
    for operation, rows in sorted(found.items(), reverse=True):
        yield (
            f"<figure><figcaption><b>{escape(operation)}</b></figcaption>"
            f"{_scrolling(f'latencies of {escape(operation)}', latency_svg(operation, rows, axis))}</figure>"
        )


def _tests(report: Report) -> str:
    by_name: dict[str, list[TestResult | None]] = {}
    for place, backend in enumerate(report.backends):
        for test in backend.tests:
            by_name.setdefault(test.name, [None] * len(report.backends))[place] = test
    by_area: dict[str, list[str]] = {}
    for tests in by_name.values():
        known = [test for test in tests if test is not None]
        by_area.setdefault(known[0].area, []).append(_across(known, tests))
    names = [backend.name for backend in report.backends]
    groups = (_group(area, len(names) + 1, rows) for area, rows in by_area.items())
    return _filter(report) + _grouped("tests", ["test", *names], groups)


def _across(known: Sequence[TestResult], tests: Iterable[TestResult | None]) -> str:
    """One test's row, with a cell a backend, empty where another specification did not have it."""
    statuses = " ".join(dict.fromkeys(_slug(test.status) for test in known))
    cells = "".join("<td></td>" if test is None else f"<td>{_status(test.status)}</td>" for test in tests)
    conditions = "".join(f'<span class="condition">{escape(name)}</span>' for name in conditions_of(known[0]))
    # A name is one word, and the table would be as wide as it.
    name = escape(known[0].name).replace("_", "_<wbr>")
    return f'<tr data-status="{statuses}"><th scope="row">{name}{conditions}</th>{cells}</tr>'


def _filter(report: Report) -> str:
    """What the script needs; hidden where there is none."""
    found = {test.status for backend in report.backends for test in backend.tests}
    buttons = "".join(
        f'<button type="button" aria-pressed="false" data-status="{_slug(status)}">'
        f'<span aria-hidden="true">{STATUS_SIGNS[status]}</span> {status}</button>'
        for status in Status
        if status in found
    )
    return (
        f'<form class="filter" hidden><span role="group" aria-label="status">{buttons}</span>'
        '<label>name <input type="search" autocomplete="off"></label><output></output></form>'
    )
