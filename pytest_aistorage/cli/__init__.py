"""The command ``aistorage``: one module a command, imported when it is called."""

from __future__ import annotations

from importlib import import_module

import click

__all__ = ["main"]

# Module and first line of help by command: listing the commands imports none of them.
_COMMANDS = {
    "bench": "Measure what a save and a get cost on each storage, and prove what each keeps.",
    "check": "Say whether a recorded history is linearizable, and what is wrong with it.",
    "conformance": "Run the conformance suite on a storage.",
    "dashboard": "Print what Grafana needs to show a storage, or the alerts for Prometheus.",
    "cutover": "Move a running application from its JSON file to another storage.",
    "doctor": "Say which servers can be had on this machine, and what to do about the rest.",
    "durability": "Measure what a crash and a loss of power take of what was acknowledged.",
    "migrate": "Save the records of a JSON file in a storage.",
    "prove": "Show that the JSON file loses data, and that the other backends don't.",
    "schema": "Print the SQL that creates the tables, or upgrade those of a database.",
    "serve": "Tell of a storage's health by HTTP, and serve metrics to Prometheus.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("pytest-aistorage")
    except PackageNotFoundError:  # run from a checkout that is not installed
        number = "(not installed)"
    click.echo(f"aistorage {number}")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Storage for AI training progress that does not lose data, and the proof."""
