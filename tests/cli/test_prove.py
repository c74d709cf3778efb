"""``aistorage prove``: the table, the exit status, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_aistorage.cli import main, prove

LOCAL = ("--backend", "file", "--backend", "memory", "--backend", "sqlite", "--quick")


def processes_of(place):
    """The processes that have a directory of ours in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={place}".encode() in environment.split(b"\0"):
            found.append(entry.name)
    return found


def eventually(condition, what):
    """Wait, at most 30 s, for what another process brings about."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_the_table(aistorage):
    """The file loses 5 of 5, the others nothing; plain text within 80 columns; status 0; nothing left."""
    done = aistorage("prove", *LOCAL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    table = done.stdout[: done.stdout.index("\n\n")].splitlines()
    assert max(map(len, table)) <= 80
    assert "…" not in "".join(table)
    rows = {line.split()[0]: line for line in table if line.strip()}
    assert rows["file"].count("5 of 5") == 3
    assert "loses" in rows["file"]
    for name in ("memory", "sqlite"):
        assert re.search(r"0 of 1[02] +0 of (6|10)", rows[name])
        assert "280" in rows[name]
        assert "keeps all" in rows[name]
    assert "no violation in all" in done.stdout
    assert "Everything came out as declared" in done.stdout
    assert list(aistorage.place.iterdir()) == []
    assert processes_of(aistorage.place) == []


def test_json(aistorage):
    """The same as data, and nothing else on standard output."""
    done = aistorage("prove", *LOCAL, "--runs", "2", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["as_declared"], found["unavailable"]) == (0, True, [])
    assert [backend["name"] for backend in found["backends"]] == ["file", "memory", "sqlite"]
    file = {evidence["name"]: evidence for evidence in found["backends"][0]["evidence"]}
    assert (file["lost update"]["lost"], file["lost update"]["of"]) == (2, 2)
    assert file["stress"]["balances"]["same model"]["lost"] >= 0
    assert file["stress"]["lost"] > 0
    assert found["backends"][2]["server"].startswith("SQLite ")


def test_a_file_of_one_s_own(aistorage, tmp_path):
    """Its records are among those that a crash takes; the file itself stays as it is."""
    path = tmp_path / "training_metrics.json"
    path.write_text(json.dumps({f"model-{n}": {"mse": 0.5, "trainingSamples": n} for n in range(4)}))
    before = path.read_bytes()
    done = aistorage("prove", "--backend", "file", "--quick", "--runs", "1", "--file", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "crash half-way: CorruptStorageError: all 7 acknowledged records are gone" in done.stdout
    assert path.read_bytes() == before


def test_a_file_that_can_not_be_read(aistorage, tmp_path):
    """What is wrong with it is said before anything is proven."""
    path = tmp_path / "training_metrics.json"
    path.write_text('{"resnet": {"mse": "low"}}')
    done = aistorage("prove", "--backend", "file", "--file", str(path))
    assert done.returncode == 2
    assert "--file" in done.stderr
    assert "resnet" in done.stderr
    assert "mse" in done.stderr


def test_a_server_that_can_not_be_had(aistorage):
    """Named, it makes the status 1; the reason and the remedy are printed."""
    done = aistorage(
        "prove", "--backend", "memory", "--backend", "postgres@7", "--servers", "process", "--quick"
    )
    assert done.returncode == 1
    assert re.search(
        r"^postgres@7 could not be had here: process: .+\.\n  Remedy: .+$", done.stdout, re.MULTILINE
    )
    assert "keeps all" in done.stdout
    assert "Not everything came out as declared" in done.stdout


def test_no_password_is_printed(aistorage):
    """Neither by a URL that can't be reached nor by one that can't be read."""
    url = "postgres=postgresql://user:s3cr3t-word@127.0.0.1:1/postgres"
    done = aistorage("prove", "--backend", "postgres", "--url", url, "--servers", "url", "--quick")
    assert done.returncode == 1
    assert "could not be had" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr
    done = aistorage("prove", "--url", "postgresql://user:s3cr3t-word@127.0.0.1/postgres")
    assert done.returncode == 2
    assert "s3cr3t" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "oracle"], "no backend is called 'oracle'; known are file, memory, sqlite, postgres"),
        (["--backend", "postgres@x"], "is no version"),
        (["--servers", "cloud"], "no provider 'cloud'"),
        (["--runs", "0"], "0 is not in the range"),
        (["--url", "postgres"], "give NAME=URL"),
        (["--url", "oracle=oracle://h/d"], "no kind of server is called 'oracle'"),
        (["surplus"], "unexpected extra argument"),
    ],
)
def test_usage_errors(arguments, said):
    """Status 2, and what is wrong."""
    done = CliRunner().invoke(main, ["prove", *arguments])
    assert done.exit_code == 2
    assert said in done.output


def test_what_contradicts_its_declaration_is_told(monkeypatch):
    """Status 1, and the row says so."""
    from pytest_aistorage.backends.memory import MemoryStorage

    declared = MemoryStorage.__init__

    def modest(self, *arguments, **options):
        declared(self, *arguments, **options)
        self.capabilities = frozenset()

    monkeypatch.setattr(MemoryStorage, "__init__", modest)
    done = CliRunner().invoke(main, ["prove", "--backend", "memory", "--quick"])
    assert done.exit_code == 1
    assert "not as" in done.output
    assert "Not everything came out as declared" in done.output


def test_ctrl_c_leaves_nothing_behind(aistorage):
    """Interrupted in the middle: no process, no directory, and a status that is not 0."""
    process = subprocess.Popen(
        aistorage.command("prove", "--operations", "50000", "--backend", "sqlite", "--backend", "redis"),
        env=aistorage.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell that put these tests into the background lets its children ignore it, and they theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    eventually(lambda: list(aistorage.place.glob("*/sqlite/*.db-wal")), "the proof does not begin")
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of the group
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1, said
    assert "Traceback" not in said
    eventually(lambda: not processes_of(aistorage.place), "processes are left")
    assert [path for path in aistorage.place.iterdir() if path.name.startswith("aistorage")] == []


def test_a_terminal_gets_a_progress_bar(aistorage):
    """The bar names the backend and the demonstration, on standard error only."""
    import pty

    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        aistorage.command("prove", "--backend", "sqlite", "--quick"),
        env=aistorage.env(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the last descriptor of the terminal is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert b"sqlite: " in seen
    assert b"\x1b" not in said


def test_the_command_is_what_the_group_lists():
    """The help of the command and the line in the group's list agree."""
    assert prove.command.help.startswith("Show that the JSON file loses data")
