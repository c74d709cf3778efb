"""Dual write: the old storage is believed, the new one gets copies, and what is missing is noted and made up for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    Capability,
    ConfigurationError,
    CorruptStorageError,
    DualWriteStorage,
    FileStorage,
    MemoryStorage,
    OutcomeUnknownError,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
)
from pytest_aistorage.migration import dual_write, verify_consistency

RESNET = AIProgress(model_name="resnet", mse=0.5)
BERT = AIProgress(model_name="bert", mse=0.25)


class Failing(MemoryStorage):
    """Raises what it is told to, once it is told to."""

    error: Exception | None = None
    calls = 0

    def _save(self, *arguments: Any) -> AIProgress:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return super()._save(*arguments)


@pytest.fixture
def old(tmp_path: Path) -> FileStorage:
    """The application's file, in which resnet has version 3."""
    storage = FileStorage(tmp_path / "training_metrics.json")
    for _ in range(3):
        storage.save_progress(RESNET)
    return storage


@pytest.fixture
def new() -> Failing:
    """The new storage."""
    return Failing()


@pytest.fixture
def both(old: FileStorage, new: Failing) -> Iterator[DualWriteStorage]:
    """The two as one."""
    with DualWriteStorage(old, new) as storage:
        yield storage


def names(storage: AIStorage) -> list[str]:
    """The models."""
    return [record.model_name for record in storage.load_progress()]


def test_both_are_written_and_the_old_one_is_read(
    both: DualWriteStorage, old: FileStorage, new: Failing
) -> None:
    """Versions and reads are the old one's; each way to write makes a copy."""
    assert both.save_progress(RESNET).version == 4
    assert both.update_progress("resnet", lambda now: AIProgress(model_name="resnet", mse=1.0)).version == 5
    assert [record.version for record in both.save_many([RESNET, BERT])] == [6, 1]
    assert both.save_progress(BERT, expected_version=1).version == 2
    assert verify_consistency(old, new)
    assert both.delete_progress("bert") == 3
    assert names(old) == names(new) == names(both) == ["resnet"]
    new.save_progress(AIProgress(model_name="resnet", mse=9.0))
    assert both.get_progress("resnet") == old.get_progress("resnet")
    assert both.get_storage_info().model_count == 1
    assert both.pending == 0


def test_what_was_not_written_has_no_copy(both: DualWriteStorage, new: Failing) -> None:
    """A conflict, or a change that raises, leaves nothing noted."""
    with pytest.raises(VersionConflictError):
        both.save_progress(RESNET, expected_version=7)
    with pytest.raises(ZeroDivisionError):
        both.update_progress("resnet", lambda now: 1 / 0)  # type: ignore[arg-type,return-value]
    assert (both.pending, names(new)) == (0, [])


def test_a_change_must_not_use_the_storage(both: DualWriteStorage) -> None:
    """It would wait for itself."""

    def change(_: AIProgress | None) -> AIProgress:
        found = both.get_progress("resnet")
        assert found is not None
        return found

    with pytest.raises(UnsupportedOperationError, match="change must not use"):
        both.update_progress("resnet", change)


def test_a_failure_of_the_new_one_is_noted_and_repaired(
    both: DualWriteStorage, old: FileStorage, new: Failing
) -> None:
    """The write is acknowledged; what is missing is known after a restart as well, and a later write makes it."""
    new.error = StorageUnavailableError("redis://host: nobody listens")
    assert both.save_progress(RESNET).version == 4
    both.save_many([BERT])
    both.close()
    with DualWriteStorage(old, new) as restarted:
        assert restarted.pending == 2
        reason = restarted.last_failure
        assert reason == "StorageUnavailableError: redis://host: nobody listens"
        assert restarted.repair() == 2
        assert names(new) == []
        new.error = None
        restarted._rests_until = 0.0
        restarted.save_progress(AIProgress(model_name="vit", mse=1.0))
        assert restarted.pending == 0
        assert restarted.last_failure is None
    assert verify_consistency(old, new)


def test_repair(
    both: DualWriteStorage, old: FileStorage, new: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is missing, a part at a time, deletes as well."""
    monkeypatch.setattr(dual_write, "_BACKLOG", 3)
    both.save_progress(BERT)
    new.error = StorageUnavailableError("away")
    both.save_many(AIProgress(model_name=f"m{n}", mse=n) for n in range(10))
    both.delete_progress("bert")
    assert (both.pending, both.repair()) == (11, 11)
    new.error = None
    assert both.repair() == 0
    new.save_progress(RESNET)  # which was there before both were written
    assert verify_consistency(old, new)


class Refusing(MemoryStorage):
    """Takes no model of one name."""

    def _save(self, record: AIProgress, *arguments: Any) -> AIProgress:
        if record.model_name == "resnet":
            raise CorruptStorageError("what is stored can't be read")
        return super()._save(record, *arguments)


def test_a_model_that_is_refused_holds_up_no_other(old: FileStorage) -> None:
    """Its copy is missing and named, those behind it are made."""
    with Refusing() as new, DualWriteStorage(old, new) as both:
        both.save_progress(RESNET)
        both.save_progress(BERT)
        assert [record.model_name for record in new.load_progress()] == ["bert"]
        assert both.pending == 1
        assert both.last_failure == "model 'resnet': CorruptStorageError: what is stored can't be read"
        both.save_many([RESNET, AIProgress(model_name="zeta", mse=0.125)])
        assert both.repair() == 1
        assert [record.model_name for record in new.load_progress()] == ["bert", "zeta"]


def test_a_storage_that_failed_is_left_alone_for_a_while(both: DualWriteStorage, new: Failing) -> None:
    """Its timeout is paid once, not by every write."""
    new.error = StorageUnavailableError("away")
    for _ in range(5):
        both.save_progress(RESNET)
    assert (new.calls, both.pending) == (1, 1)


def test_what_one_client_found_failing_the_others_leave_alone(
    both: DualWriteStorage, old: FileStorage, new: Failing
) -> None:
    """While one waits for its timeout, all wait for the lock; a rest grows whoever tries, and ends with a success."""
    new.error = StorageUnavailableError("away")
    both.save_progress(RESNET)
    with DualWriteStorage(old, new) as other:
        other.save_progress(BERT)
        assert (new.calls, other.pending) == (1, 2)
        assert other.repair() == 2
        assert (new.calls, other._rest) == (2, 2.0)
        both._rests_until = 0.0
        both.save_progress(BERT)
        assert new.calls == 2
        new.error = None
        assert other.repair() == 0
        both.save_progress(AIProgress(model_name="bert", mse=1.0))
        assert (new.calls, both.pending) == (5, 0)
        with other._journal.locked():
            other._journal.put(rest=f"somebody {4e9} 1.0")  # by a clock that has been set back since
        both.save_progress(RESNET)
        assert both.pending == 0


def test_a_copy_whose_outcome_is_unknown_is_made_again(
    both: DualWriteStorage, new: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the copy looks right by now: what was sent may arrive later, and must find another version."""
    sent = []
    save = MemoryStorage._save

    def lost(storage: MemoryStorage, record: AIProgress, expected: int | None, ttl: Any) -> AIProgress:
        sent.append((record, expected))
        raise OutcomeUnknownError("the acknowledgement was lost")

    both.save_progress(RESNET)
    with monkeypatch.context() as patched:
        patched.setattr(Failing, "_save", lost)
        both.save_progress(BERT)
        both._rests_until = 0.0
        both.save_progress(AIProgress(model_name="resnet", mse=7.0))
    both.save_progress(RESNET)  # as the copy is already
    assert both.repair() == 0
    for record, expected in sent:
        with pytest.raises(VersionConflictError):
            save(new, record, expected, None)
    assert {record.model_name: record.mse for record in new.load_progress()} == {"bert": 0.25, "resnet": 0.5}


def test_an_unknown_outcome_behind_many_others(
    both: DualWriteStorage, new: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is remembered when its model is written, however many copies are missing before it."""
    monkeypatch.setattr(dual_write, "_BACKLOG", 1)
    new.error = StorageUnavailableError("away")
    both.save_many(AIProgress(model_name=f"m{n}", mse=n) for n in range(5))
    both.save_progress(RESNET)
    with both._journal.locked():
        both._journal.failed(["resnet"], "the acknowledgement was lost", unknown=True)
    new.error = None
    new.save_progress(RESNET)
    both._rests_until = 0.0
    both.save_progress(RESNET)
    found = new.get_progress("resnet")
    assert found is not None
    assert found.version == 2  # what may still come finds another version


def test_a_client_killed_between_the_two_leaves_a_note(tmp_path: Path) -> None:
    """The file has the record, the new storage has not; the next write makes the copy."""
    program = f"""if True:
        import os, signal
        from pytest_aistorage import *
        class Killing(MemoryStorage):
            def _save(self, *arguments):
                os.kill(os.getpid(), signal.SIGKILL)
        both = DualWriteStorage(FileStorage({str(tmp_path / "metrics.json")!r}), Killing())
        both.save_progress(AIProgress(model_name="bert", mse=0.25))
    """
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    old, new = FileStorage(tmp_path / "metrics.json"), MemoryStorage()
    with DualWriteStorage(old, new) as both:
        assert (names(both), both.pending) == (["bert"], 1)
        both.save_progress(RESNET)
        assert (names(new), both.pending) == (["bert", "resnet"], 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork; there is no remedy")
def test_a_forked_child_has_a_journal_of_its_own(tmp_path: Path) -> None:
    """Neither the parent's connection nor its lock: what either writes, both see."""
    program = f"""if True:
        import os
        from pytest_aistorage import *
        both = DualWriteStorage(FileStorage({str(tmp_path / "metrics.json")!r}), open_storage("sqlite:///{tmp_path}/n.db"))
        both.save_progress(AIProgress(model_name="parent", mse=1))
        with both._journal.locked():
            child = os.fork()
            if not child:
                # The parent holds the lock now.
                both.save_progress(AIProgress(model_name="child", mse=1))
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        both.save_progress(AIProgress(model_name="parent again", mse=1))
        assert both.pending == 0
        print([record.model_name for record in both._new.load_progress()])
        both._new.close()
        both.close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("['child', 'parent', 'parent again']\n", "")


def test_who_waits_too_long_for_the_lock(old: FileStorage, new: Failing) -> None:
    """Is told so; nothing was written."""
    with DualWriteStorage(old, new) as holding, DualWriteStorage(old, new, timeout=0.05) as waiting:
        with (
            holding._journal.locked(),
            pytest.raises(StorageUnavailableError, match=r"held the lock for 0\.05 s"),
        ):
            waiting.save_progress(BERT)
        assert names(holding) == ["resnet"]


def test_what_it_promises(tmp_path: Path) -> None:
    """What both do, but for expiry: copies would expire at another moment."""
    with MemoryStorage() as one, MemoryStorage() as other:
        storage = DualWriteStorage(one, other, journal=tmp_path / "journal")
        assert storage.capabilities == one.capabilities - {Capability.EXPIRY}
    assert DualWriteStorage(FileStorage(tmp_path / "x.json"), MemoryStorage()).capabilities == frozenset()


def test_bad_arguments(tmp_path: Path) -> None:
    """Named."""
    with pytest.raises(ConfigurationError, match="new: must be an AIStorage, not str"):
        DualWriteStorage(MemoryStorage(), "memory://")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="journal: must be given"):
        DualWriteStorage(MemoryStorage(), MemoryStorage())
    both = DualWriteStorage(MemoryStorage(), MemoryStorage(), journal=tmp_path / "nowhere" / "journal")
    with pytest.raises(StorageUnavailableError, match="nowhere: no such directory"):
        both.save_progress(RESNET)
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "journal").mkdir()
    both = DualWriteStorage(MemoryStorage(), MemoryStorage(), journal=tmp_path / "journal")
    with pytest.raises(StorageUnavailableError, match="journal: unable to open"):
        both.save_progress(RESNET)
