"""Racing in one call: functions of an application, and workloads; what a failure says."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import race_functions as app
from race_machine import KEEPING

from pytest_aistorage import open_storage
from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.races import History, NotSharedError, RaceError, SameModel, check_linearizable
from pytest_aistorage.races.racing import Racing


@pytest.fixture
def racing(pool, subject_of, tmp_path):
    """Returns what races on a fresh store of a backend."""

    def make(name, **options):
        return Racing(subject_of(name).fresh().opener, pool, tmp_path / "found", name=name, **options)

    return make


@pytest.fixture
def fresh(server_url, pool, subject_of, tmp_path):
    """Returns what races on a store that nobody else has."""

    def make(name):
        subject = subject_of(name)
        opener = subject.fresh().opener
        subject.observer(subject.fresh()).delete_progress("resnet")
        return Racing(opener, pool, tmp_path / "found", name=name)

    return make


@pytest.mark.parametrize("name", KEEPING)
def test_functions_that_fit_together_pass(fresh, name):
    """Eight clients count one model up, each by a read-modify-write; everything is counted and checked."""
    result = fresh(name)(
        app.count, processes=8, operations=80, setup=app.start, invariant=functools.partial(app.counted, 80)
    )
    assert (result.balance.acknowledged, result.balance.kept) == (81, 81)
    assert (result.clients, result.failures) == (8, ())


@pytest.mark.parametrize("name", KEEPING)
def test_every_order_finds_the_lost_update(fresh, name):
    """A read and a save that are two calls: 4 of the 6 orders lose an epoch, on every run."""
    both = functools.partial(app.counted, 2)
    with pytest.raises(AssertionError, match="4 of all 6 schedules of 2 clients") as caught:
        fresh(name).explore(app.count_badly, app.count_badly, setup=app.start, invariant=both)
    assert "1 of 2 were counted" in str(caught.value)
    found = fresh(name).explore(app.count, app.count, setup=app.start, invariant=both)
    assert (found.schedules, found.failing) == (2, 0)


def test_functions_take_turns(fresh):
    """Client n calls the n-th function, and begins anew when there are fewer."""
    result = fresh("memory")(
        app.count, app.count_badly, processes=0, threads=3, operations=9, setup=app.start
    )
    kinds = {number: {one.kind for one in result.history if one.process == number} for number in (1, 2, 3)}
    assert kinds == {1: {"update"}, 2: {"get", "save"}, 3: {"update"}}


def test_bug_of_the_application_is_not_blamed_on_the_storage(fresh):
    """The history is linearizable and the invariant does not hold: the message says which of the two is at fault."""
    with pytest.raises(AssertionError) as caught:
        fresh("memory")(app.count, operations=3, setup=app.start, invariant=app.is_even)
    said = str(caught.value)
    assert said.startswith("the invariant is_even does not hold\nThe storage kept its promises")
    assert "ai_storage_race.explore()" in said


def test_storage_that_loses_is_blamed(racing, tmp_path):
    """The naive file: the timeline, the declaration that is missing, and the history, which can be checked again."""
    with pytest.raises(AssertionError) as caught:
        racing("file", seed=7)(SameModel(), processes=8, operations=400)
    said = str(caught.value)
    assert said.startswith("NOT LINEARIZABLE  file")
    assert "file does not declare LINEARIZABLE" in said
    assert "8 clients as processes" in said
    assert "seed 7" in said
    history = re.search(r"History: aistorage check (.+)", said)[1]
    assert not check_linearizable(History.load(tmp_path / "found" / history.rpartition("/")[2]))
    page = Path(re.search(r"Timeline: file://(.+)", said)[1])
    assert "<svg" in page.read_text("utf-8")


def test_own_error_of_a_function_is_told(fresh):
    """What is raised by the code that races ends up in the failure, with its traceback."""
    with pytest.raises(AssertionError, match=r"KeyError: 'learning rate'(.|\n)*race_functions.py"):
        fresh("memory")(app.fail, operations=8)


def test_own_error_of_a_function_is_told_from_a_process(fresh):
    """Also where the client is a process."""
    with pytest.raises(AssertionError, match=r"8 times the code that raced raised(.|\n)*KeyError"):
        fresh("sqlite")(app.fail, operations=8)


def test_what_another_process_can_not_be_given(racing):
    """A function inside a function is refused, and the message says what to do."""

    def inner(storage):
        """Nobody else finds this."""

    with pytest.raises(RaceError, match="top level"):
        racing("sqlite")(inner, operations=2)
    racing("sqlite")(inner, processes=0, threads=2, operations=2)


@pytest.mark.parametrize("work", [(), (SameModel(), app.count), (3,)])
def test_what_is_no_work(racing, work):
    """Neither one workload nor functions."""
    with pytest.raises(RaceError, match="a race is of one workload, or of functions"):
        racing("memory")(*work)


def test_strangers_do_not_race(pool, tmp_path):
    """Clients of different stores would show nothing."""
    from race_stores import PrivateStorage

    with pytest.raises(NotSharedError):
        Racing(PrivateStorage, pool, tmp_path)(SameModel(), operations=4)


def test_a_race_ends_after_so_many_seconds(pool, tmp_path):
    """However much could still be done."""
    opener = functools.partial(FileStorage, tmp_path / "m.json")
    with pytest.raises(AssertionError):
        Racing(opener, pool, tmp_path)(SameModel(), operations=10**9, seconds=0.3)


@pytest.mark.parametrize("way", ["at full speed", "in every order"])
@pytest.mark.parametrize("at_fault", ["the opener", "the function"])
def test_no_password_is_in_a_failure(pool, tmp_path, way, at_fault):
    """Neither in its words nor among the arguments that pytest shows: the opener is not what a reader has to see."""
    word = "hunter" + "2"
    opener = functools.partial(_from_url, tmp_path / "m.db", f"redis://user:{word}@host/0")
    if at_fault == "the opener":
        opener = functools.partial(lambda *given: _from_url(*given), *opener.args)
    step = app.count if at_fault == "the opener" else lambda storage: None
    racing = Racing(opener, pool, tmp_path)
    with pytest.raises(RaceError) as caught:
        racing(step, operations=4) if way == "at full speed" else racing.explore(step, step)
    assert word not in str(caught.getrepr(style="long"))


def _from_url(path, url):
    return open_storage(f"sqlite:///{path}")
