"""``aistorage bench``: the tables, the files that it writes, and its exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from page_reader import Page

from pytest_aistorage.bench import proving
from pytest_aistorage.bench.figures import Shown
from pytest_aistorage.cli import bench, main

LOCAL = ("--quick", "--budget", "0", "--backend", "memory", "--backend", "sqlite")


def test_a_run_without_a_server(aistorage, tmp_path):
    """Tables within 80 columns, progress aside, every figure in the JSON, a page and a plot; nothing is left."""
    done = aistorage(
        *("bench", *LOCAL, "--only", "table", "--only", "growth"),
        *(
            "--json",
            tmp_path / "found.json",
            "--html",
            tmp_path / "found.html",
            "--plot",
            tmp_path / "found.svg",
        ),
        COLUMNS="60",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "growth: sqlite: listing" in done.stderr
    assert re.search(r"database, sqlite .* ✓ proven +✓ proven", done.stdout)
    assert re.search(r"memory .* ✓ proven +✗ loss shown", done.stdout)
    assert "Nothing was lost that is promised to be kept" in done.stdout
    assert max(map(len, done.stdout.partition("\nmemory: ")[0].splitlines())) <= 80
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    table, growth = found["reports"]
    assert [row["labels"][1] for row in table["rows"]] == ["memory", "sqlite"]
    assert all(row["figures"]["write p50"] > 0 for row in table["rows"])
    assert {tuple(row["labels"]) for row in growth["rows"]} == {
        (backend, operation) for backend in ("memory", "sqlite") for operation in ("get", "save", "listing")
    }
    assert all(row["figures"]["1 000 models"] > 0 for row in growth["rows"])
    Page((tmp_path / "found.html").read_text("utf-8")).check_self_contained()
    assert (tmp_path / "found.svg").read_text("utf-8").startswith("<svg ")
    assert list(aistorage.place.iterdir()) == []


def test_servers_of_others(aistorage, postgres_server, redis_server):
    """Both ratios of the hybrid, and raw drivers, on servers that are used as they are; no password is printed."""
    urls = {"postgres": postgres_server.create_database(), "redis": redis_server.create_database()}
    given = [part for name, url in urls.items() for part in ("--url", f"{name}={url}")]
    named = [part for name in ("postgres", "redis", "hybrid") for part in ("--backend", name)]
    done = aistorage(
        "bench", "--quick", "--budget", "0", "--only", "hybrid", "--only", "operations", *named, *given
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^read +plain redis +\d", done.stdout, re.MULTILINE)
    assert re.search(r"^write-through +plain postgres +\d", done.stdout, re.MULTILINE)
    assert re.search(r"^redis +get +small +\d\S+ +\d", done.stdout, re.MULTILINE)
    for url in urls.values():
        password = re.search(r":([^:@/]+)@", url)
        assert password is None or password[1] not in done.stdout + done.stderr


def test_named_and_not_to_be_had(aistorage):
    """The reason, and status 1."""
    done = aistorage(
        *("bench", *LOCAL, "--backend", "postgres", "--only", "operations"),
        *("--url", "postgres=postgresql://user:s3cr3t-word@127.0.0.1:1/postgres"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no postgres server: url: " in done.stdout
    assert "Not measured, though named: postgres" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr


def test_without_any_driver(aistorage):
    """What needs none is measured, and each of the others has its line with what would bring it."""
    without = (
        "import sys; sys.modules.update(dict.fromkeys(('redis', 'psycopg', 'pymysql', 'mlflow', 'optuna')));"
    )
    run = f"{without} from pytest_aistorage.cli import main; main(prog_name='aistorage')"
    arguments = (
        "bench",
        "--quick",
        "--budget",
        "0",
        "--only",
        "table",
        "--only",
        "operations",
        "--only",
        "peers",
    )
    left = [
        part for name in ("postgres", "redis", "mysql", "hybrid", "memory") for part in ("--backend", name)
    ]
    done = subprocess.run(
        [sys.executable, "-c", run, *arguments, *left], capture_output=True, text=True, env=aistorage.env()
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^memory +get +small +\d", done.stdout, re.MULTILINE)
    for name, extra in (("postgres", "postgres"), ("redis", "redis"), ("mysql", "mysql")):
        assert re.search(rf"^no {name} server: .*pytest-aistorage\[{extra}\]", done.stdout, re.MULTILINE)
    assert "Not measured, though named: postgres, redis, mysql, hybrid" in done.stdout
    assert "pip install 'pytest-aistorage[bench]'" in done.stdout


def test_a_broken_promise_is_a_failure(monkeypatch):
    """Status 1, and the line says whose."""
    lost = Shown(good=False, words="loss shown", parts=["1 of 2 lost"], promised=True)
    monkeypatch.setattr(proving.Prover, "concurrent", lambda *_: lost)
    done = CliRunner().invoke(main, ["bench", *LOCAL[:3], "--backend", "memory", "--only", "table"])
    assert done.exit_code == 1
    assert (
        "memory, memory, process memory: concurrent-safe: loss shown, though promised: 1 of 2 lost"
        in done.output
    )
    assert "A storage lost what it promises to keep" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "oracle"], "no backend is called 'oracle'; known are postgres, redis, hybrid, sqlite"),
        (["--only", "speed"], "'speed' is not one of"),
        (["--budget", "-1"], "-1.0 is not in the range"),
        (["--servers", "cloud"], "no provider 'cloud'"),
        (["--url", "postgres@17=postgresql://h/d"], "no version goes here: postgres@17"),
        (["--only", "table", "--plot", "x.svg"], "--plot shows the growth, which --only leaves out"),
    ],
)
def test_usage_errors(arguments, said):
    """Status 2, and what is wrong."""
    done = CliRunner().invoke(main, ["bench", *arguments])
    assert done.exit_code == 2
    assert said in done.output


def test_a_file_that_can_not_be_written(tmp_path):
    """Status 1 and its name; the tables are printed all the same."""
    place = tmp_path / "missing" / "found.json"
    done = CliRunner().invoke(
        main, ["bench", *LOCAL[:3], "--backend", "memory", "--only", "operations", "--json", str(place)]
    )
    assert done.exit_code == 1
    assert "beside the raw driver" in done.output
    assert f"{place}: No such file or directory" in done.output


def test_the_command_is_what_the_group_lists():
    """The help of the command and the line in the group's list agree."""
    assert bench.command.help.startswith("Measure what a save and a get cost")
