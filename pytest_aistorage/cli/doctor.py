"""``aistorage doctor``: which servers can be had here, from where, and what to do about the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from ..servers.base import PROVIDERS, Offer, ServerSpec, redacted
from ._servers import SERVERS, provider_option, server_options, specs_of, url_option

__all__ = ["command"]


@click.command("doctor")
@click.argument("servers", nargs=-1, metavar="[SERVER]...")
@provider_option(PROVIDERS)
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    servers: tuple[str, ...],
    providers: tuple[str, ...],
    urls: dict[str, str],
    as_json: bool,
) -> None:
    """Say which servers can be had on this machine, and what to do about the rest.

    SERVER is postgres, redis or mysql, with a version after an @: postgres@17, redis@valkey-8,
    mysql@mariadb-11.8. Nothing is started. The exit status is 1 if one of them can't be had.
    """
    from ..servers.resolve import survey
    from ..servers.run_directory import RunDirectory

    specs = specs_of(servers or SERVERS)
    with RunDirectory() as directory:
        options = server_options(directory.path, specs, providers, urls)
        offers = {str(spec): survey(spec, options) for spec in specs}
    if as_json:
        click.echo(json.dumps(_document(offers), indent=2))
    else:
        _print(specs, offers)
    ctx.exit(0 if all(any(offer.available for offer in found) for found in offers.values()) else 1)


def _document(offers: dict[str, list[Offer]]) -> list[dict[str, object]]:
    return [
        {
            "server": name,
            "available": any(offer.available for offer in found),
            "offers": [
                {
                    "provider": offer.provider,
                    "available": offer.available,
                    "detail": redacted(offer.detail) if "://" in offer.detail else offer.detail,
                    "remedy": offer.remedy,
                }
                for offer in found
            ],
        }
        for name, found in offers.items()
    ]


def _print(specs: Sequence[ServerSpec], offers: dict[str, list[Offer]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)  # pip install 'name[extra]' is no markup
    table = Table(box=box.SIMPLE_HEAD, expand=False)
    table.add_column("server", no_wrap=True, style="bold")
    table.add_column("from", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what it is, or why not", overflow="fold")
    for name, found in offers.items():
        taken = next((offer for offer in found if offer.available), None)
        for number, offer in enumerate(found):
            said = Text(offer.detail)
            if offer.remedy:
                said.append(f"\n{offer.remedy}", style="yellow")
            mark = Text("used", style="green") if offer is taken else Text("yes" if offer.available else "no")
            table.add_row(Text(name if not number else ""), Text(offer.provider), mark, said)
        table.add_section()
    console.print(table)
    missing = [name for name, found in offers.items() if not any(offer.available for offer in found)]
    if not missing:
        remark = (
            "All of them can be had. “used” is where a test run takes each from; prove takes the quickest."
        )
        console.print(remark, soft_wrap=True)
        return
    for name in missing:
        console.print(f"No {name} can be had here. Any one of these gets it:", style="red", soft_wrap=True)
        for remedy in dict.fromkeys(offer.remedy for offer in offers[name] if offer.remedy):
            console.print(f"  {remedy}", soft_wrap=True)
        console.print(f"  --url {name}=URL of a server that is running already", soft_wrap=True)
