"""A checked history as one HTML page that needs nothing else: no network, no other file.

It has the verdict, for each violation the timeline of its counterexample with the same as a table, the whole run to
look around in, and the text of the failure. Without scripts, and printed, all but the looking around is there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from .checker.result import Check, Verdict, Violation
from .history import History
from .ledger import Balance
from .picture.counterexample import kinds_of, table_of, violation_svg
from .picture.document import html_document
from .picture.escaping import escaped, json_in_html
from .picture.overview import Overview, overview_of
from .timeline import describe, size_of
from .wording import detail_of, duration, extent_of, losses_of, meanwhile_of, numbers_of, span_of

__all__ = ["page_of", "write_page", "write_whole"]

_MOST = 20  # violations that are drawn
_SCRIPTS = ("zoom.js", "lanes.js", "overview.js", "page.js")
_STYLES = ("palette.css", "page.css", "timeline.css")

_TITLES = {
    Verdict.LINEARIZABLE: "Linearizable",
    Verdict.VIOLATION: "Not linearizable",
    Verdict.UNKNOWN: "Unknown",
}

_LEGEND = {
    "change": "a change, from call to return",
    "read": "a read",
    "failed": "failed: it had no effect",
    "unknown": "unknown: it may have had one, at any time after its call",
    "offender": "at odds with the others",
    "context": "where the others started from",
}

_KEY = 'x="2" y="2" width="18" height="8" rx="2"'


def write_page(
    path: Path,
    check: Check,
    history: History,
    *,
    name: str = "",
    replay: str | None = None,
    balance: Balance | None = None,
) -> None:
    """Write what a check came to as a page for a browser; whole, or what was there stays.

    Args:
        path: of the page.
        check: the result.
        history: what was checked.
        name: of the storage.
        replay: what has to be called to see it again.
        balance: what was acknowledged and what was kept, if that is known.

    Raises:
        OSError: it could not be written.
    """
    write_whole(path, page_of(check, history, name=name, replay=replay, balance=balance))


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole, or leave what was there.

    Raises:
        OSError: it could not be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def page_of(
    check: Check,
    history: History,
    *,
    name: str = "",
    replay: str | None = None,
    balance: Balance | None = None,
) -> str:
    """Return the page that `write_page` writes. Everything in it that a history or a caller says is escaped."""
    numbers = numbers_of(history)
    overview = overview_of(history, check.violations) if len(history) else None
    style = "\n".join(map(_resource, _STYLES))
    script = f'"use strict";\n(() => {{\n{"".join(map(_resource, _SCRIPTS))}}})();\n'
    parts = [_header(check, history, name, replay, balance)]
    shown = check.violations[:_MOST]
    parts += [_violation(one, place, history, numbers) for place, one in enumerate(shown)]
    if len(check.violations) > len(shown):
        more = len(check.violations) - len(shown)
        parts.append(
            f'<p class="note">{more} more models have a violation: they are marked in the run below.</p>'
        )
    if overview is not None:
        parts.append(_run(overview))
    text = describe(check, history, name=name, replay=replay, balance=balance)
    parts.append(
        "<section><details><summary>The same as text</summary>"
        f'<pre tabindex="0">{_lines(text)}</pre></details></section>'
    )
    title = f"{_TITLES[check.verdict]}{f': {name}' if name else ''}"
    content = "\n".join(parts)
    data = json_in_html(None if overview is None else overview.data)
    body = f"""<main>
<button type="button" id="theme" hidden>light or dark</button>
{content}
</main>
<div id="tip" hidden></div>
<script type="application/json" id="data">{data}</script>"""
    return html_document(title, body, style=style, script=script)


def _resource(name: str) -> str:
    return files(f"{__package__}.picture").joinpath(name).read_text(encoding="utf-8")


def _lines(text: str) -> str:
    return "\n".join(map(escaped, text.split("\n")))


def _header(check: Check, history: History, name: str, replay: str | None, balance: Balance | None) -> str:
    if check.verdict is Verdict.LINEARIZABLE:
        said = f"There is an order of all {extent_of(check)} that explains what every client was told."
    elif check.violation is None:
        undecided = ", ".join(check.undecided[:5]) + (", …" if len(check.undecided) > 5 else "")
        said = f"The budget of the search ran out on {undecided}: this is no pass."
    else:
        found = Counter(violation.anomaly for violation in check.violations)
        said = ", ".join(f"{number} × {anomaly}" for anomaly, number in found.most_common())
        said = f"{said}; {', '.join([extent_of(check), *losses_of(history, balance)])}."
    facts = "".join(
        f"<div><dt>{name_}</dt><dd>{content}</dd></div>"
        for name_, content in _facts(check, history, replay, balance)
    )
    where = f" · {escaped(name)}" if name else ""
    return (
        f'<header>\n<h1><span class="{check.verdict.value}">{_TITLES[check.verdict]}</span>{where}</h1>\n'
        f'<p class="lead">{escaped(said)}</p>\n<dl>{facts}</dl>\n</header>'
    )


def _facts(
    check: Check, history: History, replay: str | None, balance: Balance | None
) -> Iterator[tuple[str, str]]:
    outcomes = Counter(operation.outcome for operation in history.operations)
    yield "operations", str(check.operations)
    yield "clients", str(len({operation.process for operation in history.operations}))
    yield "models", str(check.models)
    if len(history):
        begin, end = span_of(history.operations)
        yield "ran for", duration(end - begin)
    yield "outcomes", ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common()) or "none"
    if history.faults:
        faults = Counter(fault.kind for fault in history.faults)
        yield "faults", escaped(", ".join(f"{number} × {kind}" for kind, number in faults.most_common()))
    decided = [f"{number} by {tier}" for tier, number in check.tiers.items() if number]
    if decided:
        yield "models decided", ", ".join(decided)
    if balance is not None:
        yield "ledger", escaped(str(balance))
    if replay is not None:
        yield "to see it again", f"<code>{escaped(replay)}</code>"


def _violation(violation: Violation, place: int, history: History, numbers: Mapping[int, int]) -> str:
    detail = detail_of(violation, history)
    heading = f"{violation.anomaly}{f', {detail}' if detail else ''}"
    said = meanwhile_of(violation)
    meanwhile = f"<br>{escaped(said)}" if said else ""
    return f"""<section class="violation">
<h2>{escaped(heading[:1].upper() + heading[1:])}</h2>
<p class="size">model <b>{escaped(violation.model_name)}</b>; {escaped(size_of(violation, history))}</p>
<figure class="counterexample">
{_tools("timeline", f'<button type="button" data-violation="{place}" hidden>show in the whole run</button>')}
<div class="scroll">{violation_svg(violation, history, numbers)}</div>
{_legend(kinds_of(violation))}
<figcaption><b>Why:</b> {escaped(violation.why)}.{meanwhile}</figcaption>
</figure>
<details><summary>The operations as a table</summary>{table_of(violation, history, numbers)}</details>
</section>"""


def _run(overview: Overview) -> str:
    left_out = "".join(f'<p class="note">{escaped(sentence)}</p>' for sentence in overview.left_out)
    if overview.whole is not None:
        left_out += f'<figure><div class="scroll high">{overview.whole}</div></figure>'
    search = '<label>model <input type="search" autocomplete="off" size="12"></label>'
    return f"""<section>
<h2>The whole run</h2>
{left_out}<figure class="run">
{_tools("run", search)}
<div class="scroll high">{overview.svg}</div>
{_run_legend()}
<p class="note">What is closer together than a pixel is drawn as one piece.</p>
<div class="chosen-one" role="status" aria-live="polite" hidden>Click at an operation, or choose one by the keyboard:
N and P go to the next and the one before, ↑ and ↓ to another client, Enter zooms to it.</div>
</figure>
</section>"""


def _tools(what: str, more: str) -> str:
    """The buttons, which only a script can make work."""
    buttons = "".join(
        f'<button type="button" data-act="{act}" aria-label="{said}" title="{said}">{sign}</button>'
        for act, sign, said in (
            ("in", "+", "zoom in"),
            ("out", "−", "zoom out"),
            ("left", "←", "move to the left"),
            ("right", "→", "move to the right"),
            ("all", "all", "show everything"),
        )
    )
    return (
        f'<div class="tools" role="group" aria-label="{what}" hidden>{buttons}{more}'
        '<span class="hint">wheel: zoom; drag: choose a part, then move it</span><output></output></div>'
    )


def _legend(kinds: Collection[str]) -> str:
    """What the shapes of a counterexample mean. They differ in more than colour."""
    items = [
        _entry("lanes", f'<g class="operation {kind}"><rect class="step" {_KEY}/></g>', words)
        for kind, words in _LEGEND.items()
        if kind in kinds
    ]
    if "link" in kinds:
        arrow = '<path class="link" d="M2 6H20m-5 -4l5 4l-5 4"/>'
        items.append(_entry("lanes", arrow, "saw, or started from, what was written"))
    return f'<ul class="legend">{"".join(items)}</ul>'


def _run_legend() -> str:
    words = {kind: _LEGEND[kind] for kind in ("change", "read", "failed", "unknown")}
    words["pending"] = "never returned"
    words["marked"] = "belongs to a violation"
    items = (_entry("overview", f'<rect class="{kind}" {_KEY}/>', said) for kind, said in words.items())
    return f'<ul class="legend">{"".join(items)}</ul>'


def _entry(kind: str, shape: str, words: str) -> str:
    return (
        f'<li><svg class="timeline {kind}" viewBox="0 0 22 12" aria-hidden="true">{shape}</svg>{words}</li>'
    )
