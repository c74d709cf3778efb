"""Why no read is stale: every interleaving that would make one, step by step on a real cache."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import redis
import sqlalchemy as sa
from cached import Held, record

LONG = 60
_UNSEEN = itertools.count(10_000)


def announced(storage, model_name="m"):
    """Announce a write, and leave it so."""
    assert storage._cache.block([model_name], "a write")


def filled(cached, storage):
    """Whether the cache holds the model's record: a change around it stays unseen."""
    storage.get_progress("m")
    unseen = next(_UNSEEN) / 1024
    cached.overwrite("m", unseen)
    return storage.get_progress("m").mse != unseen


def comes(condition):
    """Whether it comes true, with a timeout of 1 s: all writes announced before are over after 4 s; 30 mean never."""
    deadline = time.monotonic() + 30
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_nothing_is_read_or_filled_while_a_write_is_announced(cached):
    """From its announcement to its end, all read the database."""
    storage = cached.client(lease=LONG)
    storage.save_progress(record(0.5))
    storage.get_progress("m")
    announced(storage)
    assert not filled(cached, cached.client(lease=LONG))
    storage._cache.unblock(["m"], "a write")
    assert filled(cached, storage)


def test_a_fill_that_comes_after_an_announcement_is_refused(cached, monkeypatch):
    """A reader that read the old record, and was slow, does not put it into the cache after the write."""
    writer, reader = cached.client(lease=LONG), cached.client(lease=LONG)
    writer.save_progress(record(0.5))
    held = Held(reader._database._get)
    monkeypatch.setattr(reader._database, "_get", held)
    with ThreadPoolExecutor(1) as thread:
        old = thread.submit(reader.get_progress, "m")
        assert held.reached.wait(30)
        writer.save_progress(record(0.25))
        held.go_on.set()
        assert old.result().mse == 0.5  # its call began before the write
    assert reader.get_progress("m").mse == 0.25


def test_a_fill_on_a_claim_that_is_another_readers_by_now_is_refused(cached):
    """A reader that slept through a write does not fill under the lease of the one that came after it."""
    one, other = cached.client(lease=LONG), cached.client(lease=LONG)
    old = one.save_progress(record(0.5))
    slept = one._cache.get("m")
    one.save_progress(record(0.25))
    claim = other._cache.get("m")
    one._cache.fill(slept, old)
    assert one.get_progress("m").mse == 0.25
    other._cache.give_back(claim)


def test_a_store_whose_table_was_emptied_gets_one_name_again(cached):
    """Clients that knew it by its old name go over to the new one, as soon as they read the database."""
    storage = cached.client(lease=0.2)
    storage.save_progress(record(0.5))
    storage.get_progress("m")
    engine = sa.create_engine(cached.url)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM ai_progress_cache"))
    engine.dispose()
    other = cached.client(lease=0.2)
    other.get_progress("m")

    def is_one():
        storage.get_progress("m")
        return storage._cache._registered().store == other._cache._registered().store

    assert comes(is_one)


def test_a_cache_that_lost_an_announcement_is_not_filled_until_the_write_is_over(cached):
    """FLUSHALL between a write's announcement and the write: whoever fills now might fill what is about to be old."""
    storage = cached.client(lease=LONG, timeout=1)
    storage.save_progress(record(0.5))
    announced(storage)
    client = redis.Redis.from_url(cached.cache_url)
    client.flushdb()
    assert not filled(cached, cached.client(lease=LONG, timeout=1))
    assert comes(lambda: filled(cached, storage))
    client.close()


def test_a_cache_that_comes_back_with_old_data_is_not_believed(killable, private_redis_server):
    """What a restarted cache has on its disk lies under the name of the process that wrote it."""
    storage = killable.client(lease=LONG)
    storage.save_progress(record(0.5))
    storage.get_progress("m")
    client = redis.Redis.from_url(killable.cache_url)
    before = set(client.keys("*value*"))
    assert before
    private_redis_server.kill()
    killable.database().save_progress(record(0.25))
    private_redis_server.restart()
    assert before <= set(client.keys("*value*"))  # it has come back
    client.close()
    other = killable.client(lease=LONG)
    assert other.get_progress("m").mse == storage.get_progress("m").mse == 0.25


def test_a_writer_that_is_cut_off_waits_until_others_read_the_database(killable, private_redis_server):
    """Before its write no copy is left, and nobody fills one until it is back."""
    reader = killable.client(lease=1.5, cache=private_redis_server.direct(killable.cache_url))
    writer = killable.client(lease=1.5, cache_timeout=0.2, timeout=1)
    writer.save_progress(record(0.5))
    assert filled(killable, reader)
    private_redis_server.partition()
    began = time.monotonic()
    reader.get_progress("m")
    writer.save_progress(record(0.25))
    assert time.monotonic() - began >= 1.5
    assert reader.get_progress("m").mse == 0.25
    assert not filled(killable, reader)
    writer.save_progress(record(0.125))
    assert reader.get_progress("m").mse == 0.125
    private_redis_server.heal()
    writer.close()  # takes its mark back
    assert comes(lambda: filled(killable, reader))  # what was sent meanwhile arrives now, and has its time


def test_a_writer_without_leases_does_not_wait(killable, private_redis_server):
    """That is what is not promised then: another client may still read the copy."""
    reader = killable.client(lease=0, cache=private_redis_server.direct(killable.cache_url))
    writer = killable.client(lease=0, cache_timeout=0.2)
    writer.save_progress(record(0.5))
    reader.get_progress("m")
    private_redis_server.partition()
    writer.save_progress(record(0.25))
    assert reader.get_progress("m").mse == 0.5
    assert writer.get_progress("m").mse == 0.25
    private_redis_server.heal()


def test_a_change_that_takes_long_is_announced_again(cached, monkeypatch):
    """An update whose announcement may be over before its commit renews it."""
    storage, other = cached.client(lease=LONG), cached.client(lease=LONG)
    storage.save_progress(record(0.5))
    other.get_progress("m")
    monkeypatch.setattr(storage._cache, "span", 0.4)

    def change(current):
        time.sleep(0.5)  # the announcement is over, so this fills what is about to be old
        assert other.get_progress("m").mse == 0.5
        return dataclasses.replace(current, mse=0.25)

    blocks = Held(storage._cache.block)
    blocks.go_on.set()
    monkeypatch.setattr(storage._cache, "block", blocks)
    storage.update_progress("m", change)
    assert blocks.calls == 2
    assert other.get_progress("m").mse == 0.25


def test_many_readers_of_a_cold_model_read_the_database_once(cached, monkeypatch):
    """The others wait for the first one's filling."""
    storage = cached.client(lease=LONG)
    storage.save_progress(record(0.5))
    held = Held(storage._database._get)
    monkeypatch.setattr(storage._database, "_get", held)
    monkeypatch.setattr("pytest_aistorage.backends._cache._HELD_BACK", 30.0)
    with ThreadPoolExecutor(16) as threads:
        reads = [threads.submit(storage.get_progress, "m") for _ in range(16)]
        assert held.reached.wait(30)
        held.go_on.set()
        assert [read.result().mse for read in reads] == [0.5] * 16
    assert held.calls == 1


def test_a_reader_that_dies_holds_nobody_up(cached):
    """A claim that is never used is given up for by the others after a moment."""
    storage = cached.client(lease=LONG)
    storage.save_progress(record(0.5))
    assert not isinstance(storage._cache.get("m"), tuple)  # claims, and does nothing
    assert cached.client(lease=LONG).get_progress("m").mse == 0.5


def test_threads_share_connections_that_rest(cached):
    """Replies that nobody waited for are taken for no other command's."""
    storage = cached.client(lease=LONG)
    names = [f"m{number}" for number in range(8)]
    problems = []

    def work(name):
        for version in range(1, 60):
            storage.save_progress(record(version / 64, name))
            for _ in range(2):
                if (found := storage.get_progress(name)).version != version:
                    problems.append((name, version, found))

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
