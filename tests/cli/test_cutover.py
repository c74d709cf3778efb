"""``aistorage cutover``: the four steps as a user takes them, and how each ends."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pytest_aistorage import AIProgress, FileStorage, open_storage
from pytest_aistorage.cli import main


@pytest.fixture
def file(tmp_path):
    """The application's file, with three models."""
    path = tmp_path / "training metrics.json"
    with FileStorage(path) as storage:
        storage.save_many(AIProgress(model_name=f"m{n}", mse=n) for n in range(3))
    return path


@pytest.fixture
def cutover(file, tmp_path):
    """Runs one step; the address comes from the environment."""

    def run(step, *arguments):
        url = f"sqlite:///{tmp_path / 'training.db'}"
        done = CliRunner().invoke(
            main, ["cutover", step, str(file), *map(str, arguments)], env={"DATABASE_URL": url}
        )
        return done.exit_code, done.output

    run.url = f"sqlite:///{tmp_path / 'training.db'}"
    return run


def test_the_four_steps(cutover, file):
    """Each says what is the case now, and what is next; the last one prints what removes the file, and doesn't."""
    assert cutover("status") == (0, "not begun; 0 models without a copy of their last change\n")
    assert cutover("dual-write") == (
        0,
        "Both are written, the file is read; 3 records are in the new storage. Next: verify.\n",
    )
    assert cutover("verify") == (
        0,
        "3 equal, 0 different, 0 missing in the new storage, 0 only there. Next: switch.\n",
    )
    assert cutover("switch") == (0, "The new storage is read; both are written. Next: retire.\n")
    status, said = cutover("retire")
    assert status == 0
    assert said.endswith(f"\n  rm -- '{file}'\n")
    assert cutover("status") == (0, "retired; 0 models without a copy of their last change\n")
    assert file.exists()


def test_differences(cutover, file, tmp_path):
    """Status 1, each is told and written down, and --repair takes the file's."""
    cutover("dual-write")
    with open_storage(cutover.url) as new:
        new.save_progress(AIProgress(model_name="m1", mse=5))
    report = tmp_path / "report.json"
    status, said = cutover("verify", "--report", report)
    assert (status, said.splitlines()[0]) == (1, "'m1': mse 1.0 there, 5.0 stored")
    assert json.loads(report.read_text()) == {
        "findings": [
            {
                "kind": "different",
                "model_name": "m1",
                "place": None,
                "values": {"mse": {"old": 1.0, "new": 5.0}},
            }
        ],
        "summary": {"file": str(file), "equal": 2, "different": 1, "missing": 0, "extra": 0},
    }
    assert cutover("switch")[0] == 2
    assert cutover("verify", "--repair")[0] == 0
    assert cutover("switch")[0] == 0


def test_a_new_storage_that_is_somebody_else_s(cutover):
    """Status 1, nothing is changed."""
    with open_storage(cutover.url) as new:
        new.save_progress(AIProgress(model_name="theirs", mse=5))
    status, said = cutover("dual-write")
    assert status == 1
    assert "'theirs': only in the new storage\nNothing was changed" in said
    assert cutover("status")[1].startswith("not begun")


def test_a_file_that_has_more(cutover, file):
    """Is not retired, unless that is accepted."""
    for step in ("dual-write", "verify", "switch"):
        cutover(step)
    with FileStorage(file) as old:
        old.save_progress(AIProgress(model_name="late", mse=5))
    status, said = cutover("retire")
    assert (status, said.splitlines()[0]) == (1, "'late': missing in the new storage")
    assert cutover("retire", "--accept-differences")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["switch", "{file}", "sqlite:///{file}.db"], 2, "the cutover is at 'not begun': dual-write is next"),
        (["dual-write", "{file}.gone", "sqlite:///{file}.db"], 2, "neither this file nor a cutover"),
        (["dual-write", "{file}", "file:///x.json"], 2, "nothing to cut over to"),
        (["dual-write", "{file}", "redis://:hunter2@127.0.0.1:1/0"], 3, "127.0.0.1:1"),
        (["forward"], 2, "No such command"),
    ],
)
def test_what_can_t_go_on(file, arguments, status, said):
    """A status of its own, a line that says why, and no secret."""
    done = CliRunner().invoke(main, ["cutover", *(argument.format(file=file) for argument in arguments)])
    assert (done.exit_code, said in done.output) == (status, True), done.output
    assert "hunter2" not in done.output
