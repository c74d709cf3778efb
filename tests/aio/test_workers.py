"""The threads behind `AsyncAIStorage`: every job is done, as many at once as there may be, and no thread stays."""

from __future__ import annotations

import asyncio
import functools
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from pytest_aistorage import StorageUnavailableError, _workers, open_async_storage
from pytest_aistorage._workers import Workers

PATIENCE = 60.0


@pytest.fixture
def no_thread_stays() -> Iterator[Callable[[], None]]:
    """Asserts, when called and at the end, that all threads that the test has brought about come to their end."""
    before = set(threading.enumerate())

    def check() -> None:
        while left := set(threading.enumerate()) - before:
            thread = left.pop()
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread

    yield check
    check()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does when it has done its job."""
    for _ in range(int(PATIENCE / 0.002)):
        if condition():
            return
        threading.Event().wait(0.002)
    pytest.fail("it never came about")


class Held:
    """A job that is under way until it is let go."""

    def __init__(self, last: Callable[[], None] = lambda: None) -> None:
        self.begun, self._go_on = threading.Event(), threading.Event()
        self._last = last

    def __call__(self) -> None:
        """Be under way."""
        self.begun.set()
        assert self._go_on.wait(PATIENCE)
        self._last()

    def let_go(self) -> None:
        """Let it end."""
        self._go_on.set()


@pytest.mark.usefixtures("no_thread_stays")
def test_whoever_is_dismissed_by_a_busy_one_goes() -> None:
    """A thread that ends its job at that moment does not take from an idle one the word that it may go."""
    workers = Workers(2)
    held = Held(workers.dismiss)
    workers.submit(held)
    assert held.begun.wait(PATIENCE)
    workers.submit(lambda: None)
    until(lambda: len(workers._idle) == 1)
    held.let_go()


def test_an_idle_thread_gets_what_it_was_woken_for(no_thread_stays: Callable[[], None]) -> None:
    """Another that is done just then does not take the job from it, and no thread is counted on that isn't there."""
    workers = Workers(2)
    for _ in range(50):
        done = threading.Event()
        held = Held(functools.partial(workers.submit, done.set))
        workers.submit(held)
        assert held.begun.wait(PATIENCE)
        workers.submit(lambda: None)
        until(lambda: len(workers._idle) == 1)
        held.let_go()
        assert done.wait(PATIENCE)
        until(lambda: len(workers._idle) == 2)
    assert workers._count == 2
    workers.dismiss()
    no_thread_stays()
    assert workers._count == 0


def test_threads_without_work_end(
    monkeypatch: pytest.MonkeyPatch, no_thread_stays: Callable[[], None]
) -> None:
    """After their time, and what comes later is done by new ones; whatever comes at that very moment is done, too."""
    monkeypatch.setattr(_workers, "_IDLE", 0.0005)
    workers = Workers(3)
    done = threading.Semaphore(0)
    for _ in range(300):
        workers.submit(done.release)
        threading.Event().wait(0.0005)
    for _ in range(300):
        assert done.acquire(timeout=PATIENCE)
    no_thread_stays()
    assert (workers._count, workers._idle) == (0, [])


@pytest.mark.usefixtures("no_thread_stays")
def test_not_more_than_there_may_be() -> None:
    """What comes beyond waits, in its order; what is urgent does not."""
    workers, order = Workers(2), list[int]()
    held = [Held(), Held()]
    for job in held:
        workers.submit(job)
        assert job.begun.wait(PATIENCE)
    for number in range(5):
        workers.submit(functools.partial(order.append, number))
    urgent = threading.Event()
    workers.submit(urgent.set, urgent=True)
    assert urgent.wait(PATIENCE)
    assert order == []
    held[0].let_go()
    until(lambda: len(order) == 5)
    assert order == [0, 1, 2, 3, 4]
    held[1].let_go()
    workers.dismiss()


@pytest.mark.usefixtures("no_thread_stays")
def test_what_comes_after_the_dismissal_is_done() -> None:
    """By threads that go again."""
    workers = Workers(1)
    workers.dismiss()
    held, done = Held(), threading.Event()
    workers.submit(held)
    workers.submit(done.set)
    held.let_go()
    assert done.wait(PATIENCE)


def test_many_who_submit_and_dismiss(no_thread_stays: Callable[[], None]) -> None:
    """Whatever comes between what, no job is lost or done twice, and no thread stays."""
    for seed in range(20):
        random_ = random.Random(seed)
        workers, done = Workers(random_.randrange(1, 5)), list[tuple[int, int]]()

        def client(number: int, workers: Workers = workers, done: list[tuple[int, int]] = done) -> None:
            for turn in range(40):
                workers.submit(functools.partial(done.append, (number, turn)))
                if turn == 20 and number == 0:
                    workers.dismiss()

        clients = [threading.Thread(target=client, args=(number,)) for number in range(3)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(PATIENCE)
        no_thread_stays()
        assert sorted(done) == [(number, turn) for number in range(3) for turn in range(40)]
        assert (workers._count, workers._idle, list(workers._jobs)) == (0, [], [])


@pytest.mark.usefixtures("no_thread_stays")
def test_where_the_system_gives_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that are there do the work; without any, whoever brings it is told, and nothing is left behind."""
    workers, held, done = Workers(2), Held(), threading.Event()
    workers.submit(held)
    assert held.begun.wait(PATIENCE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refused)
        workers.submit(done.set)
        held.let_go()
        assert done.wait(PATIENCE)
        workers.dismiss()
        until(lambda: workers._count == 0)
        with pytest.raises(StorageUnavailableError, match="no thread"):
            workers.submit(done.set)
    again = threading.Event()
    workers.submit(again.set)
    assert again.wait(PATIENCE)


def test_storage_where_the_system_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not to be had, its check says no, and a close that could not begin can be begun again."""

    async def use() -> None:
        storage = open_async_storage("memory://")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _refused)
            for call in (storage.load_progress, storage.close):
                with pytest.raises(StorageUnavailableError, match="no thread") as raised:
                    await call()
                assert isinstance(raised.value.__cause__, RuntimeError)
            assert not await storage.health_check()
        await storage.close()
        assert storage.storage._closed

    asyncio.run(use())


def _refused(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
