"""``aistorage check``."""

from __future__ import annotations

import json

import pytest

from pytest_aistorage.races import History, Operation

FIRST = Operation(1, "save", "m", 0, 1_000_000, version=1, value="old")
NEW = Operation(2, "save", "m", 2_000_000, 3_000_000, version=2, value="new")
STALE = Operation(3, "get", "m", 4_000_000, 5_000_000, version=1, value="old")


@pytest.fixture
def check(aistorage, tmp_path):
    """Writes a history of these operations, and checks it."""

    def run(operations, *options):
        path = tmp_path / "race.jsonl"
        History(operations).dump(path)
        return aistorage("check", str(path), *options)

    return run


def test_linearizable_history_passes(check):
    """The verdict, how much was checked, and status 0."""
    done = check([FIRST, NEW])
    assert (done.returncode, done.stdout) == (0, "linearizable: 2 operations on 1 model\n")


def test_violation_is_drawn(check):
    """The anomaly's name, the fewest operations with what they were told, why, and status 1."""
    done = check([FIRST, NEW, STALE])
    assert done.returncode == 1
    assert 'NOT LINEARIZABLE  race.jsonl · model "m": stale read' in done.stdout
    assert "2 of 3 operations suffice (+1 context)" in done.stdout
    assert "save #2 new -> v2" in done.stdout
    assert "get #3 -> v1 old   <- was replaced" in done.stdout
    assert "Why: version 2 was there, and after that version 1." in done.stdout


def test_violation_as_json(check):
    """The same for programs."""
    found = json.loads(check([FIRST, NEW, STALE], "--json").stdout)
    assert found["verdict"] == "violation"
    assert found["violations"][0]["anomaly"] == "stale read"
    assert len(found["violations"][0]["operations"]) == 3


def test_page_is_written_beside_the_answer(check, tmp_path):
    """The answer and the status are the same; the text names the page, and JSON stays JSON."""
    page = tmp_path / "race.html"
    done = check([FIRST, NEW, STALE], "--html", str(page))
    assert done.returncode == 1
    assert f"Timeline: {page.as_uri()}" in done.stdout
    assert "was replaced" in page.read_text(encoding="utf-8")
    page.unlink()
    assert json.loads(check([FIRST], "--json", "--html", str(page)).stdout)["verdict"] == "linearizable"
    assert "Linearizable" in page.read_text(encoding="utf-8")


def test_page_that_can_not_be_written_is_said(check, tmp_path):
    """A directory that is not there: one line, and status 2."""
    done = check([FIRST], "--html", str(tmp_path / "away" / "race.html"))
    assert done.returncode == 2
    assert "the page can't be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_budget_that_runs_out_has_a_status_of_its_own(check):
    """UNKNOWN is 3: neither passed nor a violation."""
    done = check([Operation(n, "delete", "m", 0, 9) for n in range(3)], "--steps", "0")
    assert (done.returncode, "UNKNOWN" in done.stdout) == (3, True)


def test_bad_file_is_said(aistorage, tmp_path):
    """A file that is no history: the line and what is wrong with it, in one line, and status 2."""
    path = tmp_path / "bad.jsonl"
    path.write_text('{"history": 1}\n{"process": 0}\n')
    done = aistorage("check", str(path))
    assert done.returncode == 2
    assert "line 2: kind is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_check_is_no_pass(aistorage, tmp_path):
    """A file without operations: one line, and status 2."""
    path = tmp_path / "empty.jsonl"
    path.write_text('{"history": 1}\n')
    done = aistorage("check", str(path))
    assert (done.returncode, "no operation in it" in done.stderr) == (2, True)


def test_names_that_a_terminal_would_obey(check):
    """They are escaped: a history of others may hold anything."""
    name = "\x1b[2J\n\u202eLINEARIZABLE\ud800"
    done = check([Operation(1, "get", name, 0, 1, version=3, value="\x1b]0;\x07")])
    assert done.returncode == 1
    assert r'model "\x1b[2J\n\u202eLINEARIZABLE\ud800"' in done.stdout
    assert "\x07" not in done.stdout
