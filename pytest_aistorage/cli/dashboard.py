"""``aistorage dashboard``: what Grafana and Prometheus need to show and to watch a storage."""

from __future__ import annotations

from importlib.resources import files

import click

__all__ = ["command"]


@click.command("dashboard")
@click.option("--alerts", is_flag=True, help="Print the alerts for Prometheus instead.")
def command(alerts: bool) -> None:
    """Print the dashboard for Grafana, as JSON to import; or the alerts for Prometheus, as a file of rules."""
    name = "alerts.yml" if alerts else "grafana.json"
    text = (files("pytest_aistorage") / "dashboards" / name).read_text("utf-8")
    click.echo(text, nl=False)
