"""A hybrid storage that writes behind: what is acknowledged by the cache, when the database has it, what is lost."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cached import record

from pytest_aistorage import (
    Capability,
    ConfigurationError,
    OutcomeUnknownError,
    ProductionAIStorage,
    ProgressQuery,
    StorageUnavailableError,
    VersionConflictError,
    open_storage,
)
from pytest_aistorage.backends import _behind
from pytest_aistorage.backends._behind_table import GAP

NEVER = 3600
"""Seconds between two flushes that no test lasts: what is written is written by what the test does."""


def behind(cached, **options):
    """Open one more client that writes behind."""
    return cached.client(**{"write_policy": "write-behind", "flush_interval": NEVER, "lease": 60, **options})


def comes(condition):
    """Whether it comes true; 60 s mean never."""
    deadline = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def lives(storage):
    """Whether a save is acknowledged, by whatever is there."""
    try:
        storage.save_progress(record(1.0, "alive"))
    except (StorageUnavailableError, OutcomeUnknownError):
        return False
    return True


def test_a_save_is_acknowledged_before_the_database_has_it(cached):
    """All clients read it; the database gets it by a flush."""
    one, other = behind(cached), behind(cached)
    saved = one.save_progress(dataclasses.replace(record(0.1 + 0.2), metadata={"a": [1, 1.0, None, "x\n"]}))
    assert other.get_progress("m") == one.get_progress("m") == saved
    assert cached.database().get_progress("m") is None
    assert one.pending_writes == other.pending_writes == 1
    assert other.flush() == 0
    assert cached.database().get_progress("m") == saved
    assert one.pending_writes == 0


def test_the_flusher_writes_by_itself(cached):
    """Within its interval, without anybody's doing."""
    storage = behind(cached, flush_interval=0.05)
    storage.save_progress(record(0.5))
    assert comes(lambda: cached.database().get_progress("m"))
    storage.save_progress(record(0.25))
    assert comes(lambda: cached.database().get_progress("m").mse == 0.25)


@pytest.mark.parametrize("listing", ["load", "iter", "query", "count"])
def test_listings_are_not_older_than_an_acknowledged_save(cached, listing):
    """They write first what only the cache has."""
    one, other = behind(cached), behind(cached)
    one.save_progress(record(0.5, "kept"))
    one.save_progress(record(0.5))
    one.flush()
    one.save_progress(record(0.25, "kept"))
    one.delete_progress("m")
    if listing == "count":
        assert other.get_storage_info().model_count == 1
        return
    listed = {
        "load": other.load_progress,
        "iter": lambda: list(other.iter_progress(batch_size=1)),
        "query": lambda: other.query_progress(ProgressQuery(max_mse=0.3)),
    }[listing]()
    assert [(found.model_name, found.mse) for found in listed] == [("kept", 0.25)]


def test_every_kind_of_write_goes_the_same_way(cached):
    """Versions count on over saves, updates and deletes, flushed or not; a compare-and-set meets the last one."""
    one, other = behind(cached), behind(cached)
    assert one.save_progress(record(0.5)).version == 1
    assert other.update_progress("m", lambda found: dataclasses.replace(found, mse=0.25)).version == 2
    with pytest.raises(VersionConflictError):
        one.save_progress(record(0.125), expected_version=1)
    assert one.delete_progress("m", expected_version=2) == 3
    assert other.delete_progress("m") is None
    with pytest.raises(VersionConflictError):
        other.delete_progress("m", expected_version=2)
    one.flush()
    assert other.save_progress(record(0.5), expected_version=0).version == 4
    assert [saved.version for saved in one.save_many([record(1.0, "n"), record(1.0)])] == [1, 5]


def test_what_a_dead_client_left_is_written_by_another(cached):
    """The queue is in the cache, so SIGKILL loses nothing; the next client's flusher finds it."""
    script = (
        "import sys\nfrom pytest_aistorage import AIProgress, open_storage\n"
        "storage = open_storage(sys.argv[1], cache=sys.argv[2], write_policy='write-behind', flush_interval=3600)\n"
        "storage.save_progress(AIProgress(model_name='m', mse=0.5))\nprint('saved', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, cached.url, cached.cache_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout.readline() == b"saved\n"
        child.kill()
    assert cached.database().get_progress("m") is None
    storage = behind(cached, flush_interval=0.05)
    assert storage.get_progress("other") is None
    assert comes(lambda: cached.database().get_progress("m"))


def test_a_close_writes_what_is_left(cached):
    """And says nothing of it where all is well."""
    storage = behind(cached)
    storage.save_progress(record(0.5))
    storage.close()
    assert cached.database().get_progress("m").mse == 0.5


def test_more_than_max_dirty_is_written_at_once(cached):
    """Beyond the bound, who saves writes first; a model that is dirty already takes no more room."""
    storage = behind(cached, max_dirty=2)
    for name in ("a", "b", "a", "b"):
        storage.save_progress(record(0.5, name))
    assert storage.pending_writes == 2
    assert cached.database().load_progress() == []
    storage.save_progress(record(0.5, "c"))
    assert storage.pending_writes == 1
    assert len(cached.database().load_progress()) == 2
    assert (
        len(storage.save_many([record(0.5, name) for name in "abc"])) == 3
    )  # larger than the bound by itself


def test_without_its_database_it_goes_on_for_a_while(cached, monkeypatch):
    """Up to the bound, and as long as the lease lasts; it says that it is degraded."""
    storage = behind(cached, max_dirty=2, timeout=0.5, flush_interval=0.05)
    storage.save_progress(record(0.5, "a"))
    storage.get_progress("b")
    assert comes(lambda: storage.pending_writes == 0)

    def gone(*_, **__):
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(storage._database._executor, "run", gone)
    storage.save_progress(record(0.25, "a"))
    storage.save_progress(record(0.25, "b"))
    assert storage.get_progress("a").mse == 0.25
    with pytest.raises(StorageUnavailableError):
        storage.get_progress("c")  # only the database knows it
    assert comes(lambda: storage.degraded == "gone")
    assert not storage.health_check()
    assert storage.flush(timeout=0) == 2
    monkeypatch.undo()
    assert comes(lambda: storage.degraded is None)
    assert storage.pending_writes == 0


@pytest.mark.ai_storage_server(settings={"appendonly": "no"})
def test_a_cache_that_dies_before_the_flush_loses_what_it_acknowledged(killable, private_redis_server):
    """That is what is not declared: what came after the last flush is gone, and nothing before; no version is given
    twice, and everything goes on with the database."""
    storage = behind(killable, lease=0.3, cache_timeout=0.2)
    assert not {Capability.LINEARIZABLE, Capability.SURVIVES_SERVER_CRASH, Capability.SURVIVES_POWER_LOSS} & (
        storage.capabilities
    )
    storage.save_many([record(0.5), record(0.5, "n")])
    storage.flush()
    storage.save_progress(record(0.25))
    storage.save_progress(record(0.25, "new"))
    private_redis_server.kill()
    assert comes(lambda: lives(storage))
    assert storage.degraded
    assert storage.get_progress("m").mse == 0.5
    assert storage.get_progress("new") is None
    assert storage.save_progress(record(0.125)).version == 1 + GAP + 1
    assert storage.save_progress(record(0.125, "new")).version == GAP + 1
    private_redis_server.restart()
    assert comes(lambda: storage.get_progress("m") and storage.degraded is None)
    assert comes(lambda: behind_again(storage))
    assert storage.get_progress("m").mse == 0.125
    assert storage.save_progress(record(1.0)).version == 1 + GAP + 2
    assert storage.save_progress(record(1.0, "third")).version == GAP + 1


def behind_again(storage):
    """Whether a save waits in the cache again."""
    storage.save_progress(record(1.0, "alive"))
    return storage.pending_writes > 0


@pytest.mark.ai_storage_server(settings={"appendonly": "yes", "appendfsync": "always"})
def test_a_cache_with_an_append_only_file_gives_back_what_it_acknowledged(killable, private_redis_server):
    """What it brings back from its disk is written to the database, where nobody wrote the model meanwhile."""
    storage = behind(killable, lease=0.3, cache_timeout=0.2)
    storage.save_many([record(0.5), record(0.5, "n"), record(0.5, "gone")])
    storage.flush()
    storage.save_progress(record(0.75))
    storage.save_progress(record(0.25))
    storage.save_progress(record(0.25, "n"))
    storage.delete_progress("gone")
    private_redis_server.kill()
    assert comes(lambda: lives(storage))
    storage.save_progress(record(0.125, "n"))
    private_redis_server.restart()
    assert comes(lambda: behind_again(storage))
    assert storage.get_progress("m").mse == 0.25
    assert storage.get_progress("n").mse == 0.125
    assert storage.get_progress("gone") is None
    assert storage.save_progress(record(1.0)).version == 1 + GAP + 1


def test_a_client_that_is_cut_off_alone_takes_nothing_from_the_others(
    killable, private_redis_server, monkeypatch
):
    """The others write down what is in the cache, and all go by the database until it is back."""
    monkeypatch.setattr(_behind, "_CUT_OFF", NEVER)  # it ends because who is back takes it back
    near = behind(killable, lease=0.5, cache=private_redis_server.direct(killable.cache_url))
    far = behind(killable, lease=0.5, cache_timeout=0.2)
    far.save_progress(record(0.5))
    near.save_progress(record(0.25, "n"))
    private_redis_server.partition()
    done = threading.Event()

    def write():
        count = 0
        while not done.is_set():
            count += 1
            near.save_progress(record(float(count), "n"))
            time.sleep(0.01)
        return count

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write)
        try:
            assert comes(lambda: lives(far) or writing.done())
            assert far.get_progress("m").mse == 0.5
        finally:
            done.set()
        writes = writing.result()
    found = far.get_progress("n")
    assert (found.mse, found.version) == (
        writes,
        writes + 1,
    )  # nothing was passed over, since nothing was lost
    private_redis_server.heal()
    assert comes(lambda: behind_again(far))


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: no fork() on Windows")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded, on purpose
def test_a_forked_child_has_a_flusher_of_its_own(cached):
    """The parent's thread is not there, and its locks may be held."""
    storage = behind(cached, flush_interval=0.05)
    storage.save_progress(record(0.5))
    assert comes(lambda: storage.pending_writes == 0)
    epochs, taken, forked = storage._policy._epochs, threading.Event(), threading.Event()

    def hold():
        with epochs._flushing, epochs._lock:
            taken.set()
            assert forked.wait(30)

    with ThreadPoolExecutor(1) as thread:
        holding = thread.submit(hold)
        assert taken.wait(30)
        child = os.fork()
        forked.set()
        if not child:
            signal.alarm(60)  # the locks are those of a thread that is not here
            try:
                storage.save_progress(record(0.25))
                while storage.pending_writes:
                    time.sleep(0.01)
                os._exit(0)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        holding.result()
    assert os.waitpid(child, 0)[1] == 0
    assert storage.get_progress("m").mse == cached.database().get_progress("m").mse == 0.25


def test_it_opens_by_every_door(cached):
    """A URL's query and the guide's class; a policy that is none is refused, and one without a lease."""
    with open_storage(f"{cached.url}?write_policy=write-behind&cache={cached.cache_url}") as storage:
        storage.save_progress(record(0.5))
        assert Capability.LINEARIZABLE not in storage.capabilities
    options = {
        "connectionString": cached.url,
        "redisUrl": cached.cache_url,
        "writePolicy": "write-behind",
        "flushInterval": NEVER,
    }
    with ProductionAIStorage(type="hybrid", options=options) as storage:
        assert storage.get_progress("m").mse == 0.5
        storage.save_progress(record(0.25))
        assert storage.pending_writes == 1
        assert storage.flush() == 0
    assert Capability.LINEARIZABLE in cached.client(write_policy="write-through").capabilities
    for options in ({"write_policy": "write-around"}, {"lease": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            behind(cached, **options)


def test_with_write_through_nothing_waits(cached):
    """What is asked of a storage that writes behind has an answer there too."""
    storage = cached.client()
    storage.save_progress(record(0.5))
    assert storage.pending_writes == storage.flush() == 0
