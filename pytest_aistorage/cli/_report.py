"""How a proof is shown: one table, what stands behind it, and the same as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ..errors import ServerUnavailableError
from ..races.proof import DEMONSTRATIONS, Evidence, Proof, Verdict
from ._display import document_unavailable, print_unavailable, print_verdict, table

__all__ = ["document", "print_report"]

_HEADINGS = {
    "lost update": "lost\nupdate",
    "torn read": "torn\nread",
    "crash half-way": "crash\nhalf-way",
    "stress": "stress,\nacked,\nkept",
    "container restart": "container\nrestart",
}


def print_report(
    console: Console,
    proofs: Sequence[Proof],
    unavailable: Mapping[str, ServerUnavailableError],
    elapsed: float,
    *,
    as_declared: bool,
) -> None:
    """Print the table, and what stands behind it.

    Args:
        console: where to.
        proofs: one a backend.
        unavailable: why the other backends could not be had.
        elapsed: seconds, of everything.
        as_declared: whether everything came out as declared.
    """
    shown = table("In how many cases was acknowledged data lost?")
    shown.add_column("backend", overflow="fold", min_width=16)
    for name in DEMONSTRATIONS:
        shown.add_column(_HEADINGS[name], justify="right", no_wrap=True)
    shown.add_column("shown", no_wrap=True)
    for proof in proofs:
        shown.add_row(
            _name(proof), *(_cell(proof.evidence.get(name)) for name in DEMONSTRATIONS), _verdict(proof)
        )
    console.print(shown)
    console.print()
    for line in _details(proofs):
        console.print(line, soft_wrap=True)
    print_unavailable(console, unavailable)
    if (claim := _claim(proofs)) is not None:
        console.print(claim, soft_wrap=True)
    said = "Everything came out as declared" if as_declared else "Not everything came out as declared"
    print_verdict(console, said, elapsed, good=as_declared)


def _name(proof: Proof) -> Text:
    text = Text(proof.name, style="bold")
    if proof.server != proof.name:
        text.append(f"\n{proof.server}", style="not bold")
    if proof.provider is not None:
        text.append(f"\n({proof.provider})", style="not bold dim")
    return text


def _cell(evidence: Evidence | None) -> Text:
    if evidence is None or evidence.verdict is Verdict.NOT_SHOWN:
        return Text("–", style="dim")
    style = "red" if evidence.lost else "green"
    if evidence.name == "stress":
        return Text(f"{evidence.of:,}\n{evidence.of - evidence.lost:,}", style=style)
    return Text(f"{evidence.lost} of {evidence.of}", style=style)


def _verdict(proof: Proof) -> Text:
    if proof.problem is not None:
        return Text("broke off", style="bold red")
    if not proof.as_declared:
        against = any(evidence.verdict is Verdict.CONTRADICTED for evidence in proof.evidence.values())
        return Text("not as\ndeclared" if against else "incon-\nclusive", style="bold red")
    if any(evidence.lost for evidence in proof.evidence.values()):
        return Text("loses,\nas declared", style="red")
    return Text("keeps all,\nas declared", style="green")


def _details(proofs: Sequence[Proof]) -> list[Text]:
    """A line for each loss, for what was not shown, and for what a container's restart left."""
    lines = []
    for proof in proofs:
        if proof.problem is not None:
            lines.append(Text(f"{proof.name}: {proof.problem}", style="red"))
        for evidence in proof.evidence.values():
            for said in _said(evidence):
                lines.append(Text.assemble((f"{proof.name}, {evidence.name}: ", "bold"), said))
    return lines


def _said(evidence: Evidence) -> list[str]:
    if evidence.verdict is Verdict.NOT_SHOWN:
        return [f"not shown, {evidence.what}"]
    if evidence.balances:
        if evidence.promised and evidence.verdict is Verdict.AS_DECLARED:
            return []
        return [f"{name}, {balance}" for name, balance in evidence.balances.items()]
    if evidence.example is not None:
        return [f"{evidence.what}: {evidence.example}"]
    return [evidence.what] if evidence.what else []


def _claim(proofs: Sequence[Proof]) -> Text | None:
    """What was shown of the guarantees that hold, worded as what it is."""
    kept = [e for p in proofs for e in p.evidence.values() if e.promised and e.verdict is Verdict.AS_DECLARED]
    schedules = sum(evidence.of for evidence in kept if evidence.unit == "schedules")
    seams = sum(evidence.of for evidence in kept if evidence.unit == "seams")
    if not schedules:
        return None
    killed = f", nor after SIGKILL at any of {seams} seams" if seams else ""
    return Text(
        f"Where nothing may be lost: no violation in all {schedules} schedules of 2 clients at this granularity "
        f"(read, write, commit){killed}."
    )


def document(
    proofs: Sequence[Proof],
    unavailable: Mapping[str, ServerUnavailableError],
    elapsed: float,
    *,
    as_declared: bool,
) -> dict[str, Any]:
    """Return the report as what JSON can say; the arguments are those of `print_report`."""
    return {
        "as_declared": as_declared,
        "elapsed": round(elapsed, 3),
        "backends": [
            {
                "name": proof.name,
                "server": proof.server,
                "provider": proof.provider,
                "as_declared": proof.as_declared,
                "problem": proof.problem,
                "elapsed": round(proof.elapsed, 3),
                "capabilities": sorted(capability.value for capability in proof.capabilities),
                "evidence": [_evidence(evidence) for evidence in proof.evidence.values()],
            }
            for proof in proofs
        ],
        "unavailable": document_unavailable(unavailable),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    found = {
        field.name: getattr(evidence, field.name)
        for field in dataclasses.fields(evidence)
        if field.name not in ("verdict", "balances")
    }
    found["verdict"] = evidence.verdict.value
    if evidence.balances:
        found["balances"] = {
            name: {**dataclasses.asdict(balance), "lost": balance.lost}
            for name, balance in evidence.balances.items()
        }
    return found
