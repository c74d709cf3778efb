"""The command itself: help, version, schema, and what is imported for them."""

from __future__ import annotations

import importlib
import sqlite3
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from pytest_aistorage import cli
from pytest_aistorage.backends._schema import FLAVOURS, create_statements
from pytest_aistorage.cli import main


@pytest.mark.parametrize("dialect", FLAVOURS)
def test_schema(dialect):
    """The statements of the database backend, word for word."""
    done = CliRunner().invoke(main, ["schema", "--dialect", dialect])
    assert (done.exit_code, done.output) == (0, create_statements(dialect))


def test_the_schema_of_sqlite_can_be_executed():
    """What is printed is SQL."""
    done = CliRunner().invoke(main, ["schema", "--dialect", "sqlite"])
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(done.output)
        assert connection.execute("SELECT count(*) FROM ai_progress").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(
    "arguments", [["schema"], ["schema", "--dialect", "oracle"], ["compare"], ["--loud"]]
)
def test_usage_errors(arguments):
    """Status 2."""
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_version():
    """One line."""
    done = CliRunner().invoke(main, ["--version"])
    assert done.exit_code == 0
    assert done.output.startswith("aistorage ")


def test_help_lists_the_commands():
    """Each with its own first line."""
    done = CliRunner().invoke(main, ["--help"])
    for name, line in cli._COMMANDS.items():
        command = importlib.import_module(f"pytest_aistorage.cli.{name}").command
        assert isinstance(command, click.Command)
        assert (command.name, command.help.splitlines()[0]) == (name, line)
        assert name in done.output


def test_help_imports_no_backend():
    """It comes at once."""
    code = (
        "import sys\nfrom pytest_aistorage.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "print([m for m in ('sqlalchemy', 'rich', 'pytest', 'psycopg', 'redis', 'docker') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
