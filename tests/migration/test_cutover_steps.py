"""A cutover: four steps, in their order, while the application runs and follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    ConfigurationError,
    CorruptStorageError,
    CutoverStepError,
    FileStorage,
    ProductionAIStorage,
    StorageUnavailableError,
    get_ai_storage,
    get_storage_config,
    open_storage,
)
from pytest_aistorage.migration import Cutover, Difference, Step, dual_write
from pytest_aistorage.migration.importing import import_batch

KILLS = int(os.environ.get("MIGRATION_KILLS", "8"))
"""How many cutovers are killed; ``nox -s migration`` kills 50."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The application's file: m0 with version 4, and m1 to m4."""
    path = tmp_path / "training_metrics.json"
    with FileStorage(path) as storage:
        storage.save_many(AIProgress(model_name=f"m{n}", mse=n) for n in range(5))
        for _ in range(3):
            storage.save_progress(AIProgress(model_name="m0", mse=0))
    return path


@pytest.fixture
def to(tmp_path: Path) -> str:
    """The new storage's URL."""
    return f"sqlite:///{tmp_path / 'training.db'}"


def values(storage: AIStorage) -> dict[str, float]:
    """What is stored, by model."""
    return {record.model_name: record.mse for record in storage.load_progress()}


def opened(file: Path, to: str) -> AIStorage:
    """The application's storage."""
    return open_storage(f"cutover://{file}", to=to)


@pytest.mark.ai_storage("postgres", "redis", "sqlite")
def test_the_application_follows_each_step(file: Path, ai_storage: AIStorage, ai_storage_url: str) -> None:
    """One client, opened once; what it is told to write is read at every step, and lies where the step says."""
    with (
        opened(file, ai_storage_url) as app,
        Cutover(file, ai_storage_url) as cutover,
        FileStorage(file) as old,
    ):
        assert app.save_progress(AIProgress(model_name="m0", mse=10)).version == 5
        assert values(ai_storage) == {}

        assert cutover.dual_write().equal == 5
        assert app.save_progress(AIProgress(model_name="m0", mse=20)).version == 6
        app.delete_progress("m1")
        assert values(app) == values(old) == values(ai_storage) == {"m0": 20, "m2": 2, "m3": 3, "m4": 4}

        assert cutover.verify()
        app.save_progress(AIProgress(model_name="m0", mse=30))
        assert cutover.status().step is Step.VERIFIED

        cutover.switch()
        found = app.get_progress("m0")
        assert found == ai_storage.get_progress("m0")
        app.save_progress(AIProgress(model_name="m0", mse=40))
        app.delete_progress("m2")
        assert values(app) == values(old) == values(ai_storage) == {"m0": 40, "m3": 3, "m4": 4}

        before = file.read_bytes()
        assert cutover.retire() == f"rm -- {file}"
        app.save_progress(AIProgress(model_name="m0", mse=50))
        assert values(app) == values(ai_storage) == {"m0": 50, "m3": 3, "m4": 4}
        assert file.read_bytes() == before
    file.unlink()
    with opened(file, ai_storage_url) as app:
        assert values(app)["m0"] == 50


STEPS = ("dual_write", "verify", "switch", "retire")


@pytest.mark.parametrize(
    ("taken", "wanted", "current"),
    [
        (0, "verify", "not begun"),
        (0, "switch", "not begun"),
        (0, "retire", "not begun"),
        (1, "switch", "dual-write"),
        (1, "retire", "dual-write"),
        (2, "dual_write", "verified"),
        (2, "retire", "verified"),
        (3, "dual_write", "switched"),
        (3, "verify", "switched"),
        (4, "dual_write", "retired"),
        (4, "verify", "retired"),
        (4, "switch", "retired"),
    ],
)
def test_steps_out_of_order(file: Path, to: str, taken: int, wanted: str, current: str) -> None:
    """An error that names the step, how far it is, and what is next; nothing is changed."""
    with Cutover(file, to) as cutover:
        for step in STEPS[:taken]:
            getattr(cutover, step)()
        with pytest.raises(CutoverStepError) as caught:
            getattr(cutover, wanted)()
        assert (caught.value.wanted, caught.value.current) == (wanted.replace("_", "-"), current)
        assert cutover.status().step.value == current


@pytest.mark.parametrize("again", range(4))
def test_a_step_can_be_taken_again(file: Path, to: str, again: int) -> None:
    """It finds nothing to do."""
    with Cutover(file, to) as cutover:
        for step in STEPS[: again + 1]:
            getattr(cutover, step)()
        before = cutover.status()
        getattr(cutover, STEPS[again])()
        assert cutover.status() == before


def test_a_new_storage_that_holds_something_else(file: Path, to: str) -> None:
    """Nothing is changed, and every obstacle is told; what is equal is none."""
    with open_storage(to) as new:
        new.save_many(AIProgress(model_name=name, mse=2) for name in ("m1", "m2", "theirs"))
    found: list[Difference] = []
    with Cutover(file, to) as cutover:
        assert not cutover.dual_write(found.append)
        assert cutover.status().step is Step.NOT_BEGUN
    assert [(difference.model_name, difference.kind) for difference in found] == [
        ("m1", "different"),
        ("theirs", "extra"),
    ]
    assert found[0].values == {"mse": (1.0, 2.0)}


def test_verify_tells_what_differs_and_repairs_it(file: Path, to: str) -> None:
    """The file is believed, whatever somebody did to the new storage."""
    with Cutover(file, to) as cutover, open_storage(to) as new:
        cutover.dual_write()
        new.delete_progress("m1")
        new.save_many(AIProgress(model_name=name, mse=9) for name in ("m2", "theirs"))
        found: list[Difference] = []
        counts = cutover.verify(found.append)
        assert (counts.equal, counts.different, counts.missing, counts.extra) == (3, 1, 1, 1)
        assert {difference.model_name: difference.kind for difference in found} == {
            "m1": "missing",
            "m2": "different",
            "theirs": "extra",
        }
        with pytest.raises(CutoverStepError):
            cutover.switch()
        assert not cutover.verify(repair=True)
        assert cutover.verify()
        assert values(new) == {f"m{n}": n for n in range(5)}


def test_verified_is_not_for_ever(file: Path, to: str) -> None:
    """A comparison that finds a difference takes the step back."""
    with Cutover(file, to) as cutover, open_storage(to) as new:
        cutover.dual_write()
        assert cutover.verify()
        new.delete_progress("m1")
        assert not cutover.verify()
        assert cutover.status().step is Step.DUAL_WRITE


@pytest.mark.parametrize("dual_write_behind_it", [False, True])
def test_somebody_writes_the_file_by_another_way(file: Path, to: str, dual_write_behind_it: bool) -> None:
    """It is noticed before reads are switched, also if dual write has written the file since; nothing is lost."""
    with opened(file, to) as app, Cutover(file, to) as cutover:
        cutover.dual_write()
        cutover.verify()
        with FileStorage(file) as theirs:
            theirs.save_progress(AIProgress(model_name="theirs", mse=1))
        if dual_write_behind_it:
            app.save_progress(AIProgress(model_name="m0", mse=5))
        with pytest.raises(CutoverStepError):
            cutover.switch()
        assert cutover.status().step is Step.DUAL_WRITE
        cutover.verify(repair=True)
        cutover.switch()
        assert values(app)["theirs"] == 1


def test_somebody_writes_the_file_after_the_switch(file: Path, to: str) -> None:
    """The file is not retired with a record that is nowhere else, unless that is accepted."""
    with Cutover(file, to) as cutover:
        for step in STEPS[:3]:
            getattr(cutover, step)()
        with FileStorage(file) as theirs:
            theirs.save_progress(AIProgress(model_name="theirs", mse=1))
        found: list[Difference] = []
        assert cutover.retire(found.append) is None
        assert [(difference.model_name, difference.kind) for difference in found] == [("theirs", "missing")]
        assert cutover.status().step is Step.SWITCHED
        assert cutover.retire(accept_differences=True) == f"rm -- {file}"


def test_reads_are_not_switched_to_a_storage_that_lacks_writes(
    file: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be copied is copied first, or the step is refused."""

    def away(*_: object) -> None:
        raise StorageUnavailableError("away")

    with opened(file, to) as app, Cutover(file, to) as cutover:
        cutover.dual_write()
        cutover.verify()
        with monkeypatch.context() as patched:
            patched.setattr(dual_write, "_several", away)
            # The file is read by this as well; a client without copies is what is wanted here.
            app._rests_until = float("inf")  # type: ignore[attr-defined]
            app.save_progress(AIProgress(model_name="m0", mse=5))
            with pytest.raises(StorageUnavailableError):
                cutover.switch()
        assert cutover.status().pending == 1
        cutover.switch()
        assert values(app)["m0"] == 5


def test_a_file_of_another_form(tmp_path: Path, to: str) -> None:
    """Nothing is changed, and the remedy is named."""
    path = tmp_path / "training_metrics.json"
    path.write_text('[{"modelName": "a", "mse": 1}]')
    with Cutover(path, to) as cutover:
        with pytest.raises(CorruptStorageError, match="aistorage migrate FILE file:///"):
            cutover.dual_write()
        assert cutover.status().step is Step.NOT_BEGUN
    assert path.read_text() == '[{"modelName": "a", "mse": 1}]'


def test_another_storage_than_the_one_it_began_with(file: Path, tmp_path: Path) -> None:
    """A password may change on the way; the storage may not. No message shows a password."""
    first = "postgresql://me:hunter2@127.0.0.1:1/db"
    with Cutover(file, first) as cutover, cutover._journal.locked():
        cutover._journal.put(step=Step.DUAL_WRITE.value, to=cutover._storage._to, copied="yes")
    with opened(file, "postgresql://other:hunter3@127.0.0.1:1/db?timeout=1") as app:
        assert app.get_progress("m1") is not None
        assert "hunter" not in repr(app)
    with opened(file, f"sqlite:///{tmp_path}/other.db") as app, pytest.raises(ConfigurationError) as caught:
        app.get_progress("m1")
    assert "goes to postgresql://127.0.0.1:1/db, not to sqlite://" in str(caught.value)


def test_an_application_that_goes_by_its_environment(
    file: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable, set once; a database's own options stand in its URL, and no secret is shown."""
    variables = {
        "AI_STORAGE_TYPE": "cutover",
        "AI_STORAGE_PATH": str(file),
        "AI_STORAGE_TIMEOUT": "7",
        "DATABASE_URL": to,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with get_ai_storage() as app, Cutover(file, to) as cutover:
        assert (app.type, app._storage._journal.timeout) == ("cutover", 7.0)  # type: ignore[attr-defined]
        cutover.dual_write()
        app.save_progress(AIProgress(model_name="m0", mse=9))
        with open_storage(to) as new:
            assert values(new)["m0"] == 9
    secret = get_storage_config({**variables, "DATABASE_URL": "postgresql://u:hunter2@host/db"})
    assert "hunter2" not in repr(secret)
    with ProductionAIStorage("cutover", {"path": file, "connectionString": to}) as app:
        assert values(app)["m0"] == 9
    with pytest.raises(ConfigurationError, match="option db"):
        ProductionAIStorage("cutover", {"path": file, "db": object()})
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(ConfigurationError, match="a storage of type cutover needs DATABASE_URL"):
        ProductionAIStorage("cutover")


def test_neither_file_nor_cutover(tmp_path: Path, to: str) -> None:
    """Whoever removed both must not have the application begin a new file."""
    with opened(tmp_path / "gone.json", to) as app:
        with pytest.raises(ConfigurationError, match="neither this file nor a cutover"):
            app.save_progress(AIProgress(model_name="m", mse=1))
        assert not app.health_check()
    assert not list(tmp_path.glob("gone.json"))


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("cutover:///x.json", {}, "needs the option to"),
        ("cutover://host/x.json", {"to": "memory://"}, "a cutover's URL is"),
        ("cutover:///", {"to": "memory://"}, "a cutover's URL is"),
        ("cutover:///x.json", {"to": "file:///y.json"}, "file:// is nothing to cut over to"),
        ("cutover:///x.json?tow=memory://", {"to": "memory://"}, "unknown option 'tow'"),
        ("cutover:///x.json", {"to": "nosuch://"}, "no backend knows"),
    ],
)
def test_bad_urls(url: str, options: dict[str, str], message: str) -> None:
    """Refused when it is opened."""
    with pytest.raises(ConfigurationError, match=message):
        open_storage(url, **options)


def test_nothing_is_lost_while_many_write(file: Path, to: str) -> None:
    """Four writers count on the same models through all steps: every acknowledged update is there in the end."""
    counted = [0] * 4
    stop = threading.Event()
    failed: list[BaseException] = []

    def count(current: AIProgress | None) -> AIProgress:
        assert current is not None
        return AIProgress(model_name=current.model_name, mse=current.mse + 1)

    def write(number: int) -> None:
        try:
            with open_storage(f"cutover://{file}", to=to, timeout=60) as app:
                while not stop.is_set() or not counted[number]:
                    app.update_progress(f"m{counted[number] % 5}", count)
                    counted[number] += 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        with Cutover(file, to) as cutover:
            assert cutover.dual_write()
            assert cutover.verify()
            cutover.switch()
            cutover.retire()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failed == []
    with open_storage(to) as new:
        assert sum(values(new).values()) == sum(range(5)) + sum(counted)


def test_what_is_deleted_while_it_is_copied_stays_deleted(
    file: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read of the file before, and would come back to the new storage alone."""
    with opened(file, to) as app, Cutover(file, to) as cutover, open_storage(to) as new:

        def overtaken(*arguments: Any) -> Any:
            monkeypatch.undo()
            app.delete_progress("m2")
            app.save_progress(AIProgress(model_name="m3", mse=30))
            return import_batch(*arguments)

        monkeypatch.setattr("pytest_aistorage.migration.cutover.import_batch", overtaken)
        cutover.dual_write()
        assert values(new) == values(app) == {"m0": 0, "m1": 1, "m3": 30, "m4": 4}


@pytest.mark.parametrize("event", ["os.rename", "open"])
def test_a_writer_that_is_killed_tears_nothing(file: Path, to: str, event: str) -> None:
    """Neither while it writes beside the file, nor as it puts that into place; the next write goes on."""
    with Cutover(file, to) as cutover:
        cutover.dual_write()
    program = f"""if True:
        import os, signal, sys
        from pytest_aistorage import *
        app = open_storage("cutover://{file}", to={to!r})
        app.load_progress()
        def killed(event, arguments):
            if event == {event!r} and (event == "os.rename" or arguments[1] == "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(killed)
        app.save_progress(AIProgress(model_name="m0", mse=9))
    """
    before = file.read_bytes()
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert file.read_bytes() == before
    with opened(file, to) as app:
        app.save_progress(AIProgress(model_name="m1", mse=9))
        assert values(app) == {"m0": 0, "m1": 9, "m2": 2, "m3": 3, "m4": 4}


def test_the_file_stays_what_it_was(file: Path, to: str, tmp_path: Path) -> None:
    """Its permissions, and a link to it."""
    file.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(file)
    with Cutover(link, to) as cutover, opened(file, to) as app:
        cutover.dual_write()
        app.save_progress(AIProgress(model_name="m0", mse=9))
        assert link.is_symlink()
        assert file.stat().st_mode & 0o777 == 0o640
        assert cutover.status().step is Step.DUAL_WRITE
        assert not list(tmp_path.glob(".*"))  # what was written beside it, and put into its place


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork; there is no remedy")
def test_killed_at_any_line_and_resumed(tmp_path: Path) -> None:
    """An application and its cutover, killed at random lines of their code: all acknowledged writes are there."""
    program = Path(__file__).parent / "killed_cutover.py"
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), "20261123", str(KILLS)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    report = json.loads(done.stdout or "{}")
    assert report.get("wrong") == {}, done.stderr or report
    assert report["killed"] >= KILLS
