"""``aistorage migrate``: what it prints, what it writes down, how it ends."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pytest_aistorage import AIProgress, open_storage
from pytest_aistorage.cli import main


@pytest.fixture
def file(tmp_path):
    """A file of 30 models."""
    path = tmp_path / "training_metrics.json"
    path.write_text(json.dumps({f"model-{n:02}": {"mse": n, "epochs": n} for n in range(30)}))
    return path


@pytest.fixture
def url(tmp_path):
    """An empty storage."""
    return f"sqlite:///{tmp_path / 'training.db'}"


def migrate(*arguments, **environment):
    """Runs the command."""
    return CliRunner().invoke(main, ["migrate", *map(str, arguments)], env=environment)


def test_all_is_saved(file, url):
    """Status 0; the address may come from the environment, where no list of processes shows its password."""
    done = migrate(file, "--verify", DATABASE_URL=url)
    assert (done.exit_code, done.output) == (
        0,
        "30 records: 30 saved, 0 there already, 30 compared and equal.\n",
    )
    again = migrate(file, url, "--json")
    assert again.exit_code == 0
    assert json.loads(again.output)["equal"] == 30


def test_a_report_in_the_place_of_the_file(file, url, tmp_path):
    """Refused before anything is read: the records would be gone."""
    before = file.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(file)
    for report in (file, link):
        done = migrate(file, url, "--report", report)
        assert (done.exit_code, "is the file itself" in done.output) == (2, True)
    done = CliRunner().invoke(main, ["cutover", "verify", str(file), url, "--report", str(file)])
    assert (done.exit_code, "is the file itself" in done.output) == (2, True)
    assert file.read_bytes() == before


def test_differences_are_told_and_kept(file, url, tmp_path):
    """Status 1; 20 lines on the terminal, all of them in the report, which is written at the end."""
    with open_storage(url) as storage:
        storage.save_many(AIProgress(model_name=f"model-{n:02}", mse=-1) for n in range(25))
    report = tmp_path / "report.json"
    done = migrate(file, url, "--report", report)
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert (
        lines[0]
        == "record 1: 'model-00': mse 0.0 there, -1.0 stored; metadata.epochs 0 there, nothing stored"
    )
    assert lines[20:] == [
        "… and 5 more; the report has them all.",
        "30 records: 5 saved, 0 there already, 25 differ from what is stored, and were left.",
    ]
    document = json.loads(report.read_text())
    assert len(document["findings"]) == 25
    assert document["findings"][1] == {
        "kind": "different",
        "model_name": "model-01",
        "place": "record 2",
        "values": {"mse": {"old": 1.0, "new": -1.0}, "metadata.epochs": {"old": 1, "new": None}},
    }
    assert document["summary"]["different"] == 25
    assert [path.name for path in tmp_path.glob("report*")] == ["report.json"]


def test_a_dry_run(file, url):
    """Says what would be saved."""
    done = migrate(file, url, "--dry-run")
    assert (done.exit_code, done.output) == (0, "30 records: 30 would be saved, 0 there already.\n")
    with open_storage(url) as storage:
        assert storage.load_progress() == []


def test_a_broken_file(file, url, tmp_path):
    """Status 1 and nothing is written; with --skip-invalid the rest is saved, and the status is 1 all the same."""
    file.write_text('{"modelName": "a", "mse": 1}\n{"modelName": "b", "ms\n{"modelName": "a", "mse": 2}\n')
    report = tmp_path / "report.json"
    done = migrate(file, url, "--report", report)
    assert done.exit_code == 1
    assert done.output.endswith(
        "Nothing was written: 3 of 3 records can't be taken. Mend the file, or leave these out with --skip-invalid.\n"
    )
    assert [found["kind"] for found in json.loads(report.read_text())["findings"]] == ["damaged", "duplicate"]
    done = migrate(file, url, "--skip-invalid", "--duplicates", "last")
    assert done.exit_code == 1
    assert done.output.endswith("3 records: 1 saved, 0 there already, 1 left out, 1 superseded.\n")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["{file}"], 2, "Missing argument 'URL'"),
        (["nowhere.json", "memory://"], 2, "does not exist"),
        (["{file}", "nosuch://user:hunter2@host/db"], 2, "no backend knows the scheme nosuch://"),
        (["{file}", "redis://:hunter2@127.0.0.1:1/0"], 3, "run the same command again"),
        (["{file}", "memory://", "--report", "/nowhere/report.json"], 1, "/nowhere/report.json"),
    ],
)
def test_what_can_t_go_on(file, arguments, status, said):
    """A status of its own, one line that says why, and no secret."""
    done = migrate(*(argument.format(file=file) for argument in arguments), DATABASE_URL=None)
    assert (done.exit_code, said in done.output) == (status, True), done.output
    assert "hunter2" not in done.output


def test_a_run_that_fails_leaves_no_half_of_a_report(file, tmp_path):
    """What was there before stays."""
    report = tmp_path / "report.json"
    report.write_text("before")
    assert migrate(file, "redis://127.0.0.1:1/0", "--report", report).exit_code == 3
    assert [(path.name, path.read_text()) for path in tmp_path.glob("report*")] == [("report.json", "before")]
