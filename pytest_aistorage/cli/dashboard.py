"""``aistorage dashboard``: what Grafana and Prometheus need to show and to watch a storage."""

from __future__ import annotations

from importlib.resources import files

import click

__all__ = ["command"]


@click.command("dashboard")
@click.option("--alerts", is_flag=True, help="Print the alerts for Prometheus instead.")
def command(alerts: bool) -> None:
    """Print what Grafana needs to show a storage, or the alerts for Prometheus.

    A dashboard to import, as JSON; or a file of rules, as YAML.
    """
    name = "alerts.yml" if alerts else "grafana.json"
    text = (files("pytest_aistorage") / "dashboards" / name).read_text("utf-8")
    click.echo(text, nl=False)
