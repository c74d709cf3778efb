"""The application's side of a cutover: what others do to the file meanwhile, and where the new storage is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    CutoverStepError,
    FileStorage,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from pytest_aistorage.migration import Cutover, CutoverStorage, Step, cutover_storage
from pytest_aistorage.migration.cutover_storage import identity

M0 = AIProgress(model_name="m0", mse=5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The application's file, with three models."""
    path = tmp_path / "training_metrics.json"
    with FileStorage(path) as storage:
        storage.save_many(AIProgress(model_name=f"m{n}", mse=n) for n in range(3))
    return path


@pytest.fixture
def to(tmp_path: Path) -> str:
    """The new storage's URL."""
    return f"sqlite:///{tmp_path / 'training.db'}"


def theirs(file: Path) -> None:
    """Write the file around the cutover."""
    with FileStorage(file) as storage:
        storage.save_progress(AIProgress(model_name="theirs", mse=1))


def first(act: Callable[[], object], hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook before whose first call something happens."""
    acts = [act]

    def acting(*arguments: Any) -> Any:
        if acts:
            acts.pop()()
        return hook(*arguments)

    return acting


def test_somebody_writes_the_file_while_a_copy_is_made(
    file: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file was like when this client had written it is noted, not what it was like after the copy."""
    with CutoverStorage(file, to) as app, Cutover(file, to) as cutover:
        cutover.dual_write()
        cutover.verify()
        monkeypatch.setattr(app._new, "_save", first(lambda: theirs(file), app._new._save))
        app.save_progress(M0)
        with pytest.raises(CutoverStepError, match="by another way"):
            cutover.switch()
        cutover.verify(repair=True)
        cutover.switch()
        assert app.get_progress("theirs") is not None


def test_making_up_for_copies_hides_nobody(file: Path, to: str) -> None:
    """The step that begins with what is pending still sees that somebody else has written the file."""
    with CutoverStorage(file, to) as app, Cutover(file, to) as cutover:
        cutover.dual_write()
        cutover.verify()
        app._rests_until = float("inf")
        app.save_progress(M0)
        theirs(file)
        with pytest.raises(CutoverStepError, match="by another way"):
            cutover.switch()


def test_somebody_writes_the_file_within_a_write(
    file: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between this client's look at the file and its own file in its place: nothing is written over his."""
    with CutoverStorage(file, to) as app, Cutover(file, to) as cutover:
        cutover.dual_write()
        cutover.verify()
        monkeypatch.setattr(app._file, "_read", first(lambda: theirs(file), app._file._read))
        with pytest.raises(StorageUnavailableError, match="somebody else writes it; nothing was written"):
            app.save_progress(M0)
        assert app.get_progress("theirs") is not None
        assert list(file.parent.glob(".training*")) == []
        with pytest.raises(CutoverStepError):
            cutover.switch()


@pytest.mark.parametrize("step", [Step.DUAL_WRITE, Step.VERIFIED])
def test_somebody_removes_the_file(file: Path, to: str, step: Step) -> None:
    """No new one is begun, for --repair would make the new storage as empty; put back, it goes on."""
    with CutoverStorage(file, to) as app, Cutover(file, to) as cutover:
        cutover.dual_write()
        if step is Step.VERIFIED:
            cutover.verify()
        aside = file.rename(file.with_name("aside"))
        for act in (lambda: app.save_progress(M0), app.load_progress, lambda: cutover.verify(repair=True)):
            with pytest.raises(
                StorageUnavailableError, match=f"removed it, and the cutover is at '{step.value}'"
            ):
                act()
        assert not file.exists()
        aside.rename(file)
        assert len(app.load_progress()) == len(app._new.load_progress()) == 3


def test_a_directory_that_cant_be_synchronized(file: Path, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is in place by then: nobody is told that nothing was written."""

    def fails(_: object) -> None:
        raise OSError(5, "Input/output error")

    with CutoverStorage(file, to) as app:
        monkeypatch.setattr(cutover_storage, "_synchronize", fails)
        with pytest.raises(OutcomeUnknownError, match="Input/output error, when it had been put into place"):
            app.save_progress(M0)
        assert app.get_progress("m0").mse == 5  # type: ignore[union-attr]  # it is there


def test_a_storage_that_each_process_has_for_itself(file: Path) -> None:
    """What the steps would copy to, the application would not find."""
    with pytest.raises(
        ConfigurationError, match="memory is nothing to cut over to: each process has its own"
    ):
        CutoverStorage(file, "memory://name")


def test_a_relative_path_in_another_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file by the same URL is not taken for the one that was verified."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with Cutover(file, "sqlite:///new.db") as cutover:
        cutover.dual_write()
    with CutoverStorage(file, f"sqlite:///{tmp_path}/one/new.db") as app:
        assert app.step is Step.DUAL_WRITE
    monkeypatch.chdir(tmp_path / "other")
    with (
        CutoverStorage(file, "sqlite:///new.db") as app,
        pytest.raises(ConfigurationError, match=r"goes to sqlite:///.*one/new\.db, not to .*other/new\.db"),
    ):
        app.get_progress("m0")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("redis://me:hunter2@host/0?prefix=a:&timeout=1", "redis://host/0?timeout=2&prefix=a:", True),
        ("redis://host/0?prefix=a:", "redis://host/0?prefix=b:", False),
        ("unix:///redis.sock?db=1", "unix:///redis.sock?db=2", False),
        ("postgresql:///db?host=/run/a&password=hunter2", "postgresql:///db?host=/run/a", True),
        ("postgresql:///db?host=/run/a", "postgresql:///db?host=/run/b", False),
        ("mysql:///db?unix_socket=/a", "mysql:///db?unix_socket=/b", False),
    ],
)
def test_which_storage_a_url_leads_to(one: str, other: str, same: bool) -> None:
    """Whatever says where the records are, and nothing that says who asks for them."""
    assert (identity(one) == identity(other)) is same
    assert "hunter2" not in identity(one)


def test_a_comparison_that_is_killed_hides_nobody(
    file: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wrote the file since it was verified has taken that step back, though the file was looked at again."""
    with Cutover(file, to) as cutover:
        cutover.dual_write()
        cutover.verify()
        theirs(file)
        with monkeypatch.context() as patched:
            patched.setattr(cutover, "_compare", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                cutover.verify()
        with pytest.raises(CutoverStepError):
            cutover.switch()


@pytest.mark.parametrize("step", ["dual_write", "verify", "switch", "retire"])
def test_one_step_at_a_time(file: Path, to: str, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A comparison that ended behind a switch would take reads back to the file."""
    with Cutover(file, to) as slow, Cutover(file, to) as quick, CutoverStorage(file, to) as app:
        slow.dual_write()
        slow.verify()
        compare = slow._compare

        def meanwhile(*arguments: Any, **named: Any) -> Any:
            with pytest.raises(StorageUnavailableError, match="another step is being taken"):
                getattr(quick, step)()
            app.save_progress(M0)
            return compare(*arguments, **named)

        monkeypatch.setattr(slow, "_compare", meanwhile)
        assert slow.verify()
        quick.switch()
        assert quick.status().step is Step.SWITCHED


def test_verified_with_a_copy_missing(file: Path, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is not taken, and nobody is told that it was."""
    with Cutover(file, to) as cutover:
        cutover.dual_write()
        repair_all, repaired = cutover._repair_all, []

        def repairing(wanted: str) -> None:
            repair_all(wanted)
            repaired.append(wanted)
            if len(repaired) == 2:  # the application writes, and the new storage is away
                with cutover._journal.locked():
                    cutover._journal.note(["m0"])

        monkeypatch.setattr(cutover, "_repair_all", repairing)
        with pytest.raises(StorageUnavailableError, match="verify: 1 models have no copy yet"):
            cutover.verify()
        assert cutover.status().step is Step.DUAL_WRITE
