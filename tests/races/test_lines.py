"""Line seams: a client is stopped at any line of a storage that knows nothing of it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import os
import sys
import threading
import time

import pytest
from race_stores import FlockStorage, ModestStorage, RenameStorage, UnlockedMemoryStorage

from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.races import Scenario, run_schedule
from pytest_aistorage.races.errors import RaceError
from pytest_aistorage.races.interruptions import (
    Coverage,
    Interruption,
    crash,
    interrupt,
    interruptions,
    rehearse,
    worth_trying,
)
from pytest_aistorage.races.lines import LineSeams, Place, Rehearsal, own_code
from pytest_aistorage.races.operations import count_up, get, save
from pytest_aistorage.races.outcomes import Outcome
from pytest_aistorage.races.schedule import Schedule
from pytest_aistorage.races.stress import StartLine

COUNT = functools.partial(count_up, model_name="m")


def all_of(pool, opener, *, threads, budget=None):
    """Every schedule of two counters that is worth it, each on a model of its own; and the coverage."""
    clients = pool.clients(2, threads=threads)
    for client in clients:
        client.open(opener)
    with opener() as storage:
        own = own_code(storage)
    places = rehearse(clients[0], functools.partial(count_up, model_name="trial"), own)
    numbers, coverage = iter(range(1000)), Coverage()

    def run(place):
        operation = functools.partial(count_up, model_name=f"m{next(numbers)}")
        done = interrupt(clients, own, operation, operation, place)
        return done, sorted(outcome.value.training_samples for outcome in done.outcomes)

    found = list(interruptions(places, budget, run, coverage))
    for client in clients:
        client.close()
    return found, coverage, own


def losing(found):
    """Those in which both counted to the same number."""
    return [run for run in found if {o.value.training_samples for o in run.outcomes} == {1}]


@pytest.fixture
def anchored():
    """Keeps the stores of a name alive between clients."""
    with MemoryStorage("lines") as storage, UnlockedMemoryStorage("unlocked"):
        yield storage


def test_a_storage_that_locks_loses_nothing_at_any_line(pool, anchored):
    """Every place was tried or is known to be under the lock, of which one wait tells the end."""
    found, coverage, _ = all_of(pool, functools.partial(MemoryStorage, "lines"), threads=True)
    assert losing(found) == []
    assert coverage.complete
    waited = [run for run in found if run.waited]
    assert 1 <= len(waited) <= 4
    assert all(run.released is not None for run in waited)


def test_a_storage_without_a_lock_loses_at_some_line(pool, anchored):
    """The lost update is found between threads of one process, and repeated by the schedule's name."""
    opener = functools.partial(UnlockedMemoryStorage, "unlocked")
    found, coverage, own = all_of(pool, opener, threads=True)
    assert coverage.complete
    assert coverage.schedules == len(found)
    (first, *_) = losing(found)
    stops = tuple(
        int(step.label.removeprefix("line")) for step in first.schedule if step.label.startswith("line")
    )
    for number in range(20):
        operation = functools.partial(count_up, model_name=f"again-{number}")
        scenario = Scenario(
            opener=opener,
            operations=(operation, operation),
            seams=(LineSeams(own, stops), StartLine()),
            threads=True,
        )
        run = run_schedule(scenario, str(first.schedule), pool)
        assert str(run.schedule) == str(first.schedule)
        assert [outcome.value.training_samples for outcome in run.outcomes] == [1, 1]


def test_clients_of_their_own_process(pool, tmp_path):
    """A file without a lock loses updates between processes as well."""
    found, coverage, _ = all_of(pool, functools.partial(RenameStorage, tmp_path / "f.json"), threads=False)
    assert coverage.places > 20
    assert losing(found)


def test_a_client_is_killed_at_a_line(pool, tmp_path):
    """It is gone where it stood; beyond the operation's end nobody is killed."""
    opener = functools.partial(RenameStorage, tmp_path / "f.json")
    with opener() as storage:
        saved = save(storage, "m", 0.5)
        own = own_code(storage)
        (client,) = pool.clients(1)
        client.open(opener)
        assert crash(client, own, COUNT, 1) == Outcome("died")
        assert storage.get_progress("m") == saved
        (client,) = pool.clients(1)
        client.open(opener)
        assert crash(client, own, COUNT, 10_000).value.version == 2
        client.close()


def test_a_failing_rehearsal_says_so(pool, anchored):
    """An operation that fails undisturbed can't be raced."""
    (client,) = pool.clients(1, threads=True)
    client.open(functools.partial(MemoryStorage, "lines"))
    with pytest.raises(RaceError, match="failed when nobody disturbed it"):
        rehearse(client, functools.partial(save, model_name="", mse=0.5), ())
    client.close()


def test_places_are_lines_and_later_calls_of_a_line(anchored, tmp_path):
    """Only the storage's own code has places; a line's first call is the line itself."""
    own = own_code(anchored)
    record, places = Rehearsal(COUNT, own)(anchored)
    assert record.version == 1
    assert {place.file.rpartition("/")[2] for place in places} == {"memory.py"}
    assert any(place.call for place in places)
    assert str(Place("/x/store.py", 7, "write")) == "store.py:7, before write()"
    again = Rehearsal(COUNT, own)(anchored)[1]
    assert [place.line for place in again] == [place.line for place in Rehearsal(COUNT, own)(anchored)[1]]


class Finalized:
    """Garbage in a cycle, whose finalizer calls something."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        len(())


def count_up_among_garbage(storage):
    """Leave something to collect, and come to the storage's own code."""
    left = [Finalized() for _ in range(3)]
    del left
    return count_up(storage, "m")


def test_a_collector_adds_no_places(anchored):
    """Wherever the collector would run finalizers, the places have the same numbers; it is switched on again."""
    own, usual = own_code(anchored), gc.get_threshold()
    COUNT(anchored)
    expected = [(place.line, place.call) for place in Rehearsal(COUNT, own)(anchored)[1]]
    try:
        for threshold in range(1, 60):
            gc.set_threshold(threshold, 1000, 1000)
            places = Rehearsal(count_up_among_garbage, own)(anchored)[1]
            assert [(place.line, place.call) for place in places] == expected
            assert gc.isenabled()
    finally:
        gc.set_threshold(*usual)


def test_whose_code_is_whose():
    """The classes' own modules, the storages that they wrap, and the backends; no base of the standard library."""

    class Wrapper(threading.Event):
        def __init__(self):
            super().__init__()
            self.inner = ModestStorage("inner")

    wrapper = Wrapper()
    own = own_code(wrapper)
    wrapper.inner.close()
    assert [path.rpartition("tests/races/")[2] for path in own[1:]] == ["test_lines.py", "race_stores.py"]
    assert own[0].endswith("backends/")
    assert len(own_code(object())) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_what_traced_before_is_put_back(anchored, fails):
    """A debugger or coverage gets its thread back, also from an operation that fails."""
    seen = []

    def trace(frame, event, arg):
        seen.append(event)

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    try:
        operation = functools.partial(get, model_name="" if fails else "m")
        if fails:
            with pytest.raises(Exception, match="model_name"):
                Rehearsal(operation, own_code(anchored))(anchored)
        else:
            Rehearsal(operation, own_code(anchored))(anchored)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before[0])
    assert (sys.gettrace(), sys.getprofile()) == before


def places_of(*calls):
    """Places of a file, a line each, by what is called before them."""
    return [Place("store.py", line, "", call) for line, call in enumerate(calls, 1)]


def test_places_beside_writes_come_first():
    """Within a budget the ends and the places beside a write are kept; without one, all that differ."""
    places = places_of(*["len"] * 50, "commit", *["len"] * 50)
    chosen = worth_trying(places, 8)
    assert {1, 51, 101} <= set(chosen)
    assert 8 >= len(chosen) > 4
    assert worth_trying(places, None) == list(range(1, 102))
    assert worth_trying(places_of("len") * 100, None) == [1, 100]
    assert worth_trying([], 5) == []


def done_at(place, *, waited=False, released=None):
    """What a run came to."""
    schedule = Schedule.parse(f"P1:line{place},P2:run,P1:run")
    return Interruption(schedule, (Outcome("ok"), Outcome("ok")), True, waited, released)


def test_the_place_at_which_it_takes_effect_is_found():
    """Between two places that came to different things the search goes on until they are neighbours."""
    tried = []

    def run(place):
        tried.append(place)
        return done_at(place), place >= 61

    coverage = Coverage()
    assert list(interruptions(places_of(*["len"] * 200), 6, run, coverage))
    assert {60, 61} <= set(tried)
    assert len(tried) < 20
    assert not coverage.complete


class PolledStorage(FlockStorage):
    """Looks every now and then whether the lock is free."""

    @contextlib.contextmanager
    def _locked(self):
        with open(f"{self._path}.lock", "w") as lock:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.05)
            yield


@pytest.mark.skipif(not os.access("/proc/self/wchan", os.R_OK), reason="needs Linux, which tells who sleeps")
def test_nobody_sees_when_one_that_sleeps_gets_its_lock(pool, tmp_path):
    """Who looks from time to time sleeps when the lock is given back: no place after that is taken for locked."""
    found, coverage, _ = all_of(
        pool, functools.partial(PolledStorage, tmp_path / "polled.json"), threads=True, budget=6
    )
    assert losing(found) == []
    waited = [run for run in found if run.waited]
    assert waited
    assert all(run.released is None for run in waited)
    assert {str(run.schedule).split(",", 1)[1] for run in waited} == {"P2:waits,P1:run,P2:run"}
    assert not coverage.complete


def test_a_lock_that_is_looked_at_from_time_to_time():
    """Where nobody can see when a lock is given back, few places are tried under it, and that is told."""
    waits = []

    def run(place):
        waited = 20 <= place < 180
        waits.append(waited)
        return done_at(place, waited=waited), place >= 180

    coverage = Coverage()
    places = places_of(*["len"] * 99, "commit", *["len"] * 100)
    assert list(interruptions(places, 10, run, coverage))
    assert 1 <= sum(waits) <= 6
    assert not coverage.complete
