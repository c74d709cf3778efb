"""The dashboard and the alerts ask for what the application exports, in words that Grafana and Prometheus know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped]  # has no types of its own
from click.testing import CliRunner
from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from pytest_aistorage import open_storage
from pytest_aistorage.cli import main
from pytest_aistorage.health import HealthProbe
from pytest_aistorage.metrics import MetricsStorage, exposed
from pytest_aistorage.observing import OPERATIONS, STATUSES

FOLDER = files("pytest_aistorage") / "dashboards"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text("utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]

ADDED_BY_PROMETHEUS = {"job", "instance"}
VALUES = {"operation": set(OPERATIONS), "status": set(STATUSES)}


def queries() -> Iterator[tuple[str, str]]:
    """Every query, and whose it is; with what Grafana puts in for its own variables."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")
    for rule in RULES:
        yield rule["alert"], rule["expr"]


def nodes(node: Any) -> Iterator[Any]:
    """A query's expressions, itself included."""
    yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        if (inner := getattr(node, name, None)) is not None:
            yield from nodes(inner)
    for inner in getattr(node, "args", None) or ():
        yield from nodes(inner)


@pytest.fixture(scope="module")
def exported() -> Mapping[str, set[str]]:
    """What the application exports: the labels of every series, by its name."""
    registry = CollectorRegistry()
    with MetricsStorage(open_storage("memory://"), registry=registry) as storage:
        page, _ = exposed(HealthProbe(storage, timeout=60.0).check(), registry=registry)
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(("whose", "query"), [pytest.param(*one, id=one[0]) for one in queries()])
def test_query_asks_for_what_is_exported(whose: str, query: str, exported: Mapping[str, set[str]]) -> None:
    """Each series by its name, each label of it, and each value that a label is compared with."""
    labels: set[str] = set()
    groupings: set[str] = set()
    for node in nodes(promql.parse(query)):
        if isinstance(node, promql.VectorSelector):
            assert node.name is not None
            assert node.name in exported, f"{node.name} is not exported"
            known = exported[node.name] | ADDED_BY_PROMETHEUS
            labels |= known
            for matcher in node.matchers.matchers:
                assert matcher.name in known, f"{node.name} has no label {matcher.name}"
                if matcher.name in VALUES:
                    assert set(matcher.value.split("|")) <= VALUES[matcher.name]
        elif isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            groupings |= set(node.modifier.labels)
    assert labels, "it asks for nothing"
    assert groupings <= labels


def test_everything_exported_is_shown(exported: Mapping[str, set[str]]) -> None:
    """No metric of ours is on no panel, but for what a histogram's quantiles do without."""
    shown = {
        node.name
        for _, query in queries()
        for node in nodes(promql.parse(query))
        if isinstance(node, promql.VectorSelector)
    }
    parts = {f"ai_storage_operation_duration_seconds_{part}" for part in ("count", "sum")}
    assert {name for name in exported if name.startswith("ai_storage_")} - parts == shown


def test_legends_and_variables_are_known() -> None:
    """A legend's label is there after grouping; a variable that a query uses is one of the dashboard's."""
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= variables
            query = promql.parse(target["expr"].replace("$__rate_interval", "1m"))
            grouped = [
                set(node.modifier.labels)
                for node in nodes(query)
                if isinstance(node, promql.AggregateExpr) and node.modifier is not None
            ]
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert all(wanted <= labels for labels in grouped), panel["title"]


def test_grafana_knows_every_word() -> None:
    """Read and written by Grafana's own library, nothing is lost: it drops what it does not know."""
    plugins.register_default_plugins()
    known = json.loads(encoder.JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))

    def compare(ours: Any, theirs: Any, path: str) -> None:
        if isinstance(ours, dict):
            assert isinstance(theirs, dict), path
            assert not set(ours) - set(theirs), f"{path}: {set(ours) - set(theirs)}"
            for name, value in ours.items():
                compare(value, theirs[name], f"{path}/{name}")
        elif isinstance(ours, list):
            assert len(ours) == len(theirs), path
            for number, (mine, its) in enumerate(zip(ours, theirs, strict=True)):
                compare(mine, its, f"{path}/{number}")
        else:
            assert ours == theirs, path

    compare(DASHBOARD, known, "")


def test_panels_lie_side_by_side() -> None:
    """On a grid of 24 columns, none over another; each with an id of its own, and words that say what it shows."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        assert panel["title"]
        assert panel["description"].endswith(".")
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_alerts_say_what_to_do() -> None:
    """Each has a name of its own, how bad it is, and what it means; its text uses labels that are there."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        kept = [
            set(node.modifier.labels)
            for node in nodes(promql.parse(rule["expr"]))
            if isinstance(node, promql.AggregateExpr) and node.modifier is not None
        ]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert all(label in labels for labels in kept), rule["alert"]


@pytest.mark.parametrize(("arguments", "name"), [([], "grafana.json"), (["--alerts"], "alerts.yml")])
def test_command_prints_the_files(arguments: list[str], name: str) -> None:
    """As they are in the package, to be written to a file."""
    done = CliRunner().invoke(main, ["dashboard", *arguments])
    assert (done.exit_code, done.stdout) == (0, (FOLDER / name).read_text("utf-8"))
