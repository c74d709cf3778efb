"""Schedules of file stores, which know nothing of races: seams by audit events."""

from __future__ import annotations

import functools
import json

import pytest
from race_stores import FlockStorage, LockfStorage, RenameStorage, append, write_by_descriptor

from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.errors import AIStorageError, CorruptStorageError
from pytest_aistorage.races import FileSeams, Scenario, run_schedule, schedules
from pytest_aistorage.races.operations import count_up, get, save


@pytest.fixture
def scenario_of(tmp_path):
    """Returns a maker of scenarios, each of a file of its own: two operations, or those given."""

    def make(storage, *operations):
        numbers = iter(range(1_000_000))
        chosen = operations or tuple(functools.partial(save, model_name="m", mse=mse) for mse in (0.5, 0.25))

        def scenario():
            path = tmp_path / f"{storage.__name__}-{next(numbers)}.json"
            made = Scenario(opener=functools.partial(storage, path), operations=chosen, seams=FileSeams(path))
            scenario.path = path
            return made

        return scenario

    return make


def judged(run, path):
    """What became of two saves of one model: torn, lost or kept."""
    if any(isinstance(outcome.error, CorruptStorageError) for outcome in run.outcomes):
        return "torn"
    assert [outcome.kind for outcome in run.outcomes] == ["ok", "ok"]
    with FileStorage(path) as observer:
        try:
            kept = observer.get_progress("m")
        except CorruptStorageError:
            return "lost"
    return "kept" if kept is not None and kept.version == 2 else "lost"


@pytest.mark.parametrize(
    ("storage", "schedules_there_are", "losing", "torn"),
    [(FileStorage, 16, 12, 2), (RenameStorage, 6, 4, 0), (FlockStorage, 6, 0, 0), (LockfStorage, 6, 0, 0)],
)
def test_all_schedules_of_two_saves(pool, scenario_of, storage, schedules_there_are, losing, torn):
    """Each store has so many schedules, of which so many lose an update and so many tear a read."""
    scenario = scenario_of(storage)
    names, verdicts = [], []
    for run in schedules(scenario, pool):
        names.append(str(run.schedule))
        verdicts.append(judged(run, scenario.path))
    assert len(set(names)) == len(names) == schedules_there_are
    assert (verdicts.count("lost"), verdicts.count("torn")) == (losing, torn)
    assert verdicts.count("kept") == schedules_there_are - losing - torn


@pytest.mark.parametrize("storage", [FileStorage, RenameStorage, FlockStorage])
def test_every_schedule_is_repeated_by_its_name(pool, scenario_of, storage):
    """Running a schedule by the name that was recorded leads to the same schedule and the same outcomes."""
    scenario = scenario_of(storage)
    for run in list(schedules(scenario, pool)):
        again = run_schedule(scenario(), str(run.schedule), pool)
        assert str(again.schedule) == str(run.schedule)
        assert [outcome.kind for outcome in again.outcomes] == [outcome.kind for outcome in run.outcomes]


def test_a_named_schedule_loses_every_time(pool, scenario_of):
    """The lost update is chosen and not hoped for: 200 times out of 200."""
    scenario = scenario_of(FileStorage)
    for _ in range(200):
        run = run_schedule(scenario(), "P1:read,P2:read,P2:write,P1:write", pool)
        assert str(run.schedule) == "P1:read,P2:read,P2:truncate,P2:write,P1:truncate,P1:write"
        assert [outcome.value.version for outcome in run.outcomes] == [1, 1]


def test_a_lock_of_another_client_is_recorded(pool, scenario_of):
    """A client that does not get the lock is passed over until it does."""
    run = run_schedule(scenario_of(FlockStorage)(), "P1:lock,P2:lock,P2:write,P1:write", pool)
    assert str(run.schedule) == "P1:lock,P2:waits,P1:read,P1:write,P2:lock,P2:read,P2:write"
    assert [outcome.value.version for outcome in run.outcomes] == [1, 2]


def test_three_clients_behind_one_lock(pool, scenario_of):
    """Every schedule of three clients ends, and none loses."""
    scenario = scenario_of(FlockStorage, *[functools.partial(count_up, model_name="m")] * 3)
    found = list(schedules(scenario, pool))
    assert len({str(run.schedule) for run in found}) == len(found) > 6
    for run in found:
        assert sorted(outcome.value.training_samples for outcome in run.outcomes) == [1, 2, 3]


def test_a_reader_between_truncation_and_write(pool, scenario_of):
    """It gets CorruptStorageError; one that comes after it doesn't."""
    writer, reader = functools.partial(save, model_name="m", mse=0.5), functools.partial(get, model_name="m")
    scenario = scenario_of(FileStorage, writer, reader)
    run = run_schedule(scenario(), "P1:read,P1:truncate,P2:read,P1:write", pool)
    assert isinstance(run.outcomes[1].error, CorruptStorageError)
    run = run_schedule(scenario(), "P1:read,P1:truncate,P1:write,P2:read", pool)
    assert run.outcomes[1].value == run.outcomes[0].value


def test_a_crash_after_truncation_destroys_the_file(pool, scenario_of):
    """Killed there, it leaves an empty file; a seam before, nothing is lost."""
    scenario = scenario_of(FileStorage, functools.partial(save, model_name="m", mse=0.5))
    made = scenario()
    with FileStorage(scenario.path) as observer:
        saved = save(observer, "other", 1.0)
        run = run_schedule(made, "P1:read,P1:killed", pool)
        assert (str(run.schedule), run.outcomes[0].kind) == ("P1:read,P1:killed", "died")
        assert observer.get_progress("other") == saved
        run = run_schedule(made, "P1:read,P1:truncate,P1:killed", pool)
        assert str(run.schedule) == "P1:read,P1:truncate,P1:killed"
        assert scenario.path.read_bytes() == b""
        with pytest.raises(AIStorageError):
            observer.get_progress("other")


def test_a_crash_gives_its_lock_back(pool, scenario_of):
    """The client that waited for the lock of one that was killed goes on."""
    run = run_schedule(scenario_of(FlockStorage)(), "P1:lock,P1:read,P2:lock,P1:killed", pool)
    assert str(run.schedule) == "P1:lock,P1:read,P2:waits,P1:killed,P2:lock,P2:read,P2:write"
    assert [outcome.kind for outcome in run.outcomes] == ["died", "ok"]


def test_code_that_is_no_storage_of_ours(pool, tmp_path):
    """Path.read_text and Path.write_text have the same seams."""
    path = tmp_path / "words.json"
    path.write_text("[]")
    words = tuple(functools.partial(append, path=str(path), word=word) for word in ("a", "b"))
    scenario = Scenario(opener=MemoryStorage, operations=words, seams=FileSeams(path))
    run = run_schedule(scenario, "P1:read,P2:read,P2:write,P1:write", pool)
    assert str(run.schedule) == "P1:read,P2:read,P2:truncate,P2:write,P1:truncate,P1:write"
    assert json.loads(path.read_text()) == ["a"]


def test_a_truncation_without_file_objects(pool, tmp_path):
    """os.open and os.write have a seam between them, too."""
    path = tmp_path / "word"
    path.write_text("old")
    write = functools.partial(write_by_descriptor, path=str(path), word="new")
    scenario = Scenario(opener=MemoryStorage, operations=(write,), seams=FileSeams(path))
    run_schedule(scenario, "P1:truncate,P1:killed", pool)
    assert path.read_text() == ""
    assert str(run_schedule(scenario, "P1:write", pool).schedule) == "P1:truncate,P1:write"
    assert path.read_text() == "new"
