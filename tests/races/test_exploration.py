"""All schedules up to a bound, judged; what fails is replayed and shrunk."""

from __future__ import annotations

import functools
import itertools

import pytest
import steps_of_applications as steps
from race_stores import PrivateStorage

from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.errors import ConfigurationError, VersionConflictError
from pytest_aistorage.races import (
    Bound,
    Exploration,
    Failpoints,
    FileSeams,
    NotSharedError,
    RaceError,
    Recording,
    Scenario,
    StorageCalls,
    explore,
    explore_functions,
    linearizable,
    run_schedule,
)
from pytest_aistorage.registry import open_storage


@pytest.fixture
def shared(tmp_path):
    """Opens a client of a SQLite store, which processes share."""
    return functools.partial(open_storage, f"sqlite:///{tmp_path}/progress.db")


@pytest.fixture
def private(request):
    """Opens a client of a store in memory, for threads."""
    return functools.partial(open_storage, f"memory://exploration-{id(request)}")


# -- an application's functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["shared", "private"])
def test_a_lost_update_of_an_application_is_found(pool, request, where):
    """Four of the six schedules lose; the first of them is replayed and shrunk; in processes and in threads."""
    found = explore_functions(
        request.getfixturevalue(where),
        [steps.count_in_two_steps] * 2,
        setup=steps.start,
        invariant=steps.counted_twice,
        pool=pool,
    )
    assert not found
    assert (found.schedules, found.failing, found.serial, found.complete) == (6, 4, 0, True)
    assert found.example == "P1:get,P2:get,P2:save,P1:save"
    assert found.reproduced
    assert found.shrunk.schedule == found.replay == "P2:get"
    assert found.shrunk.whole == "P2:get,P1:get,P1:save,P2:save"
    assert found.text("tests/test_app.py::test_count[sqlite]").splitlines() == [
        "4 of all 6 schedules of 2 clients at the granularity of storage calls fail.",
        "Schedule: P1:get,P2:get,P2:save,P1:save",
        "Shrunk:   P2:get (and so on: P2:get,P1:get,P1:save,P2:save)",
        "the invariant counted_twice does not hold: 1 of 2 kept",
        "Replay: pytest 'tests/test_app.py::test_count[sqlite]' --ai-storage-replay=P2:get",
    ]


@pytest.mark.parametrize("name", ["P2:get", "P1:get,P2:get,P2:save,P1:save"])
def test_one_schedule_is_replayed(pool, shared, name):
    """The full name and the shrunk one fail again; that of one after the other does not."""
    explored = functools.partial(
        explore_functions,
        shared,
        [steps.count_in_two_steps] * 2,
        setup=steps.start,
        invariant=steps.counted_twice,
        pool=pool,
    )
    found = explored(replay=name)
    assert (found.schedules, found.failing, found.example) == (1, 1, name)
    assert found.claim == "violation in the one schedule that was replayed"
    assert explored(replay="P1:get,P1:save,P2:get,P2:save").claim.startswith("no violation in the one")
    with pytest.raises(ConfigurationError, match="its step P1:fetch never came; what took place is P1:get"):
        explored(replay="P1:fetch,P2:get")  # a name that has grown stale shows nothing


def test_the_repaired_function_passes(pool, shared):
    """One read-modify-write has two schedules, and neither loses."""
    found = explore_functions(
        shared,
        [steps.count_in_one_step] * 2,
        setup=steps.start,
        invariant=steps.counted_twice,
        pool=pool,
    )
    assert found
    assert found.text() == "No violation in all 2 schedules of 2 clients at the granularity of storage calls."


def test_a_lock_of_the_application_passes(pool, shared, tmp_path):
    """Under a lock of its own the same get and save lose nothing, whoever has it first."""
    locked = functools.partial(steps.count_under_a_lock, path=str(tmp_path / "lock"))
    found = explore_functions(
        shared, [locked, locked], setup=steps.start, invariant=steps.counted_twice, pool=pool
    )
    assert found, found.text()
    assert found.schedules > 2


def test_what_a_function_raises_is_a_failure(pool, private):
    """A conflict that the function lets out is reported, unless it is allowed; so is any other error."""
    clients = [steps.count_if_unchanged] * 2
    found = explore_functions(private, clients, setup=steps.start, pool=pool)
    assert (found.failing, found.schedules) == (4, 6)
    assert found.what.startswith("P1 (count_if_unchanged) raised VersionConflictError")
    assert explore_functions(
        private, clients, setup=steps.start, pool=pool, may_raise=(VersionConflictError,)
    )
    found = explore_functions(private, [steps.raise_key_error] * 2, pool=pool)
    assert (found.failing, found.serial) == (2, 2)
    assert "it takes no race" in found.text()


def test_an_invariant_may_return_what_is_wrong(pool, private):
    """False, words, an assertion, and whatever else it raises; None and True are right."""
    explored = functools.partial(explore_functions, private, [steps.only_get], pool=pool)
    assert explored(invariant=lambda storage: None)
    assert explored(invariant=lambda storage: True)
    assert explored(invariant=lambda storage: False).what.endswith("does not hold")
    assert explored(invariant=lambda storage: "a gap").what.endswith("does not hold: a gap")
    assert explored(invariant=steps.counted_twice).what.endswith(
        "AttributeError: 'NoneType' object has no attribute 'training_samples'"
    )


def test_models_that_come_and_go(pool, private, shared):
    """Deletes take versions that no history has seen: they are no violation, schedule after schedule."""
    for opener in (private, shared):
        for clients in ([steps.delete_and_save, steps.only_get], [steps.save_and_delete] * 2):
            found = explore_functions(opener, clients, pool=pool)
            assert found, found.text()
            assert found.schedules > 2


def test_versions_that_begin_anew(pool):
    """A storage that reuses versions after a delete, and says so, is judged by its values."""
    opener = functools.partial(steps.ForgetfulMemoryStorage, "forgetful")
    for clients in ([steps.delete_and_save, steps.only_get], [steps.delete_and_save, steps.save_and_delete]):
        found = explore_functions(opener, clients, setup=steps.start, pool=pool)
        assert found, found.text()


def test_without_an_invariant_the_history_is_judged(pool):
    """A stale read is found by its name."""
    opener = functools.partial(steps.StaleMemoryStorage, "stale")
    found = explore_functions(
        opener, [steps.count_in_two_steps, steps.count_in_two_steps], setup=steps.start, pool=pool
    )
    assert found.failing
    assert "stale read" in found.what


def test_functions_that_no_process_can_be_given(pool, shared):
    """The error says what to do; as threads they can be explored."""

    def inside(storage):
        storage.get_progress("m")

    with pytest.raises(RaceError, match="define it at the top level of a module, or let clients be threads"):
        explore_functions(shared, [inside, inside], pool=pool)
    assert explore_functions(shared, [inside, inside], pool=pool, threads=True).schedules == 2
    with pytest.raises(RaceError, match="no function was given"):
        explore_functions(shared, [], pool=pool)


def test_clients_of_different_stores_are_refused(pool):
    """They don't race: nothing would be shown."""
    with pytest.raises(NotSharedError):
        explore_functions(PrivateStorage, [steps.only_get] * 2, pool=pool)


def test_a_client_that_dies_by_itself_is_a_failure(pool, shared):
    """Nobody killed it, so the schedule has failed."""
    found = explore_functions(shared, [steps.kill_oneself], pool=pool)
    assert found.what == "P1 (kill_oneself) died"
    assert found.claim == "the only schedule of 1 client at the granularity of storage calls fails"


def test_clients_are_killed(pool, shared, private):
    """At each stop of each schedule; threads can't be, and the result says so."""
    clients = [steps.count_in_one_step, steps.count_in_two_steps]
    found = explore_functions(shared, clients, setup=steps.start, kills=True, pool=pool)
    assert found, found.text()
    assert (found.schedules, found.killing) == (11, 8)
    assert "a client was killed by SIGKILL in 8 of the schedules" in found.claim
    found = explore_functions(private, clients, setup=steps.start, kills=True, pool=pool)
    assert (found.schedules, found.killing, found.unkillable) == (3, 0, True)
    assert "none was killed" in found.claim


# -- how far it goes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "schedules", "complete", "said"),
    [
        (Bound(), 90, True, "No violation in all 90 schedules of 3 clients"),
        (None, 60, True, "60 schedules of 3 clients (all with at most 2 preemptions)"),
        (0, 6, True, "6 schedules of 3 clients (all with at most no preemption)"),
        (1, 24, True, "24 schedules of 3 clients (all with at most 1 preemption)"),
        (
            Bound(schedules=30),
            30,
            False,
            "(cut off there, not exhaustive; all with at most 1 preemption are among",
        ),
        (Bound(schedules=5), 5, False, "5 schedules of 3 clients (cut off there, not exhaustive)"),
        (Bound(schedules=90), 90, True, "No violation in all 90 schedules of 3 clients"),
    ],
)
def test_the_claim_says_how_far_it_went(pool, private, bound, schedules, complete, said):
    """All, all up to so many preemptions, or cut off: which is not called exhaustive."""
    found = explore_functions(
        private, [steps.count_in_two_steps] * 3, setup=steps.start, bound=bound, pool=pool
    )
    assert (found.schedules, found.complete) == (schedules, complete)
    assert said in found.text()


def test_what_went_astray_is_not_called_all():
    """Where waits for locks came at other moments, the claim says so, and says all no more."""
    found = Exploration(clients=2, granularity="file events", schedules=6, bound=Bound(), astray=1)
    assert found.claim == (
        "no violation in 6 schedules of 2 clients (all that could be steered) at the granularity of file events; "
        "1 could not be steered as planned, because locks were waited for at other moments"
    )


def test_each_schedule_is_run_once(pool, private):
    """The 20 schedules of two clients with three steps are 20 different ones, those with fewer preemptions first."""
    names = []

    def judge(run):
        names.append(str(run.schedule))

    observer = private()
    explore(
        lambda: Scenario(
            opener=private,
            operations=(steps.get_three_times, steps.get_three_times),
            seams=StorageCalls(),
            threads=True,
            recording=Recording(observer, 2),
        ),
        judge,
        pool,
    )
    observer.close()
    assert len(names) == len(set(names)) == 20
    assert names[0] == "P1:get,P1:get,P1:get,P2:get,P2:get,P2:get"
    switches = [sum(one[:2] != two[:2] for one, two in itertools.pairwise(n.split(","))) for n in names]
    assert switches == sorted(switches)


def test_what_does_not_fail_again_is_called_not_reproduced(pool, private):
    """A judge that fails once only: the result says that it was not reproduced, and nothing is shrunk."""
    verdicts = iter(["by chance"])
    found = explore(
        lambda: Scenario(opener=private, operations=(steps.only_get,), seams=StorageCalls(), threads=True),
        lambda run: next(verdicts, None),
        pool,
    )
    assert (found.failing, found.reproduced, found.shrunk) == (1, False, None)
    assert "Not reproduced" in found.text()


def test_clients_of_its_own(private):
    """Without a pool that others use as well, an exploration starts its clients and ends them."""
    found = explore_functions(private, [steps.only_get] * 2)
    assert (found.schedules, bool(found)) == (2, True)
    with private() as observer:
        found = explore(
            lambda: Scenario(
                opener=private,
                operations=(steps.only_get,),
                seams=StorageCalls(),
                threads=True,
                recording=Recording(observer, 1),
            )
        )
    assert (
        found.text() == "No violation in the only schedule of 1 client at the granularity of storage calls."
    )


def test_a_store_that_cannot_be_emptied(pool, tmp_path):
    """It is an error of the race: what was left of one schedule must not be in the next."""
    path = tmp_path / "metrics.json"
    with pytest.raises(RaceError, match="can't be emptied for the next schedule: CorruptStorageError"):
        explore_functions(
            functools.partial(FileStorage, path),
            [steps.count_in_one_step],
            setup=steps.start,
            seams=FileSeams(path),
            kills=True,
            pool=pool,
        )


def test_seams_that_need_processes(pool, private, tmp_path):
    """Events of a file can't be told between threads: that is refused, and not ignored."""
    with pytest.raises(RaceError, match="FileSeams need clients that are processes"):
        explore_functions(private, [steps.only_get], seams=FileSeams(tmp_path / "any.json"), pool=pool)


def test_a_schedule_of_nobody_is_refused(pool, private):
    """To be replayed it must be of the clients that there are."""
    with pytest.raises(ConfigurationError, match="P3:get is of no client"):
        explore_functions(private, [steps.only_get] * 2, replay="P3:get", pool=pool)


def test_an_exploration_of_what_nobody_recorded(pool, private):
    """The usual judge needs a recording, and says so."""
    scenario = Scenario(opener=private, operations=(steps.only_get,), seams=StorageCalls(), threads=True)
    with pytest.raises(RaceError, match="the scenario has no recording"):
        linearizable(run_schedule(scenario, "P1:get", pool))


def test_a_client_that_cannot_load_its_function(pool, shared, tmp_path, monkeypatch):
    """It is an error of the race, and not what the function came to."""
    module = tmp_path / "gone_soon.py"
    module.write_text("def step(storage): pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    step = __import__("gone_soon").step
    module.unlink()
    with pytest.raises(RaceError, match="gone_soon"):
        explore_functions(shared, [step], pool=pool)


def test_failpoints_and_functions(pool, private):
    """Functions can be stopped inside of the calls of our backends, too: more schedules, and the same verdict."""
    explored = functools.partial(
        explore_functions, private, setup=steps.start, invariant=steps.counted_twice, pool=pool
    )
    found = explored([steps.count_in_two_steps] * 2, seams=Failpoints())
    assert "reads, writes and commits" in found.claim
    assert found.failing
    assert explored([steps.count_in_one_step] * 2, seams=Failpoints())
