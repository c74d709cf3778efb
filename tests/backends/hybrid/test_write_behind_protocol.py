"""Why nothing acknowledged is undone or overlooked while the cache lives: each interleaving, step by step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import sqlalchemy as sa
from cached import Held, record

from pytest_aistorage import OutcomeUnknownError
from pytest_aistorage.backends import _write_behind

NEVER = 3600


def behind(cached, **options):
    """Open one more client that writes behind, and flushes when it is told to."""
    return cached.client(**{"write_policy": "write-behind", "flush_interval": NEVER, "lease": 60, **options})


def end_epoch(storage):
    """Close the epoch as a client that is cut off would; this one will help, and then open another."""
    epochs = storage._policy._epochs
    epochs.table.begin_closing(epochs.table.state().epoch)
    epochs._leave(epochs._open)


def raw(cached):
    """A plain client of the cache."""
    return redis.Redis.from_url(cached.cache_url)


def test_a_flush_of_an_epoch_that_is_over_changes_nothing(cached, monkeypatch):
    """A client that took what is dirty, and slept until another epoch was open, comes too late."""
    slow, quick = behind(cached), behind(cached)
    for _ in range(5):  # so that its takings have higher numbers than those of the next epoch
        slow.save_progress(record(1.0))
        slow.flush()
    slow.save_progress(record(0.5))
    held = Held(lambda *arguments: arguments)
    flush = slow._policy._epochs.table.flush
    monkeypatch.setattr(slow._policy._epochs.table, "flush", lambda *given: flush(*held(*given)))
    with ThreadPoolExecutor(1) as thread:
        late = thread.submit(slow.flush, 0)
        assert held.reached.wait(30)
        end_epoch(quick)
        quick.save_progress(record(0.25))
        quick.flush()
        held.go_on.set()
        late.result()
    assert cached.database().get_progress("m").mse == 0.25
    assert slow.get_progress("m").mse == 0.25


def test_a_taking_that_is_overtaken_by_a_later_one_changes_nothing(cached, monkeypatch):
    """Two clients flush, and the one that took first comes last."""
    slow, quick = behind(cached), behind(cached)
    slow.save_progress(record(0.5))
    held = Held(lambda *arguments: arguments)
    flush = slow._policy._epochs.table.flush
    monkeypatch.setattr(slow._policy._epochs.table, "flush", lambda *given: flush(*held(*given)))
    with ThreadPoolExecutor(1) as thread:
        late = thread.submit(slow.flush)
        assert held.reached.wait(30)
        quick.save_progress(record(0.25))
        assert quick.flush() == 0
        held.go_on.set()
        late.result()
    assert cached.database().get_progress("m").mse == 0.25


def test_a_copy_that_comes_after_a_write_is_refused(cached, monkeypatch):
    """A reader that read the database, and slept while the model was written, flushed and forgotten."""
    reader, writer = behind(cached), behind(cached)
    cached.database().save_progress(record(0.5))
    reader.save_progress(record(0.5, "other"))
    held = Held(reader._policy._epochs.table.load)
    monkeypatch.setattr(reader._policy._epochs.table, "load", held)
    with ThreadPoolExecutor(1) as thread:
        old = thread.submit(reader.get_progress, "m")
        assert held.reached.wait(30)
        writer.save_progress(record(0.25))
        writer.flush()
        client = redis.Redis.from_url(cached.cache_url)
        assert client.delete(*client.keys("*model:m"))  # as if its time were over
        client.close()
        held.go_on.set()
        assert old.result().mse == 0.25
    assert writer.get_progress("m").mse == 0.25


def test_what_is_changed_during_a_flush_stays_to_be_written(cached, monkeypatch):
    """The database acknowledges the version that it got, and no later one."""
    slow, quick = behind(cached), behind(cached)
    slow.save_progress(record(0.5))
    held = Held(slow._policy._epochs.table.flush)
    monkeypatch.setattr(slow._policy._epochs.table, "flush", held)
    with ThreadPoolExecutor(1) as thread:
        flushing = thread.submit(slow._policy._epochs.flush, slow._policy._epochs._open)
        assert held.reached.wait(30)
        quick.save_progress(record(0.25))
        held.go_on.set()
        assert flushing.result() == 1
    assert quick.pending_writes == 1
    assert quick.flush() == 0
    assert cached.database().get_progress("m").mse == 0.25


@pytest.mark.parametrize("act", ["save", "load", "get"])
def test_nobody_goes_on_in_an_epoch_that_is_over(cached, act):
    """A client that has not noticed gets no answer from its copies, though their lease would have lasted."""
    unaware, other = behind(cached), behind(cached)
    unaware.save_progress(record(0.5))
    other.get_progress("m")
    end_epoch(other)
    saved = other.save_progress(record(0.25))
    if act == "save":
        again = unaware.save_progress(record(0.125))
        assert again.version == saved.version + 1
        assert other.get_progress("m") == again
    else:
        assert (unaware.get_progress("m") if act == "get" else unaware.load_progress()[0]) == saved


def test_a_lease_that_is_renewed_too_late_is_refused(cached, monkeypatch):
    """The database said that the epoch is open; before that got to the cache, it was closed."""
    late, other = behind(cached), behind(cached)
    late.save_progress(record(0.5))
    other.get_progress("m")
    client = raw(cached)
    (lease,) = client.keys("*:lease:")
    client.delete(lease)  # as if it had ended
    client.close()
    held = Held(late._policy._epochs.table.state)
    monkeypatch.setattr(late._policy._epochs.table, "state", held)
    with ThreadPoolExecutor(1) as thread:
        saving = thread.submit(late.save_progress, record(0.25))
        assert held.reached.wait(30)
        end_epoch(other)
        assert other.get_progress("m").mse == 0.5
        held.go_on.set()
        saved = saving.result()
    assert other.get_progress("m") == saved


def test_a_direct_write_that_comes_late_changes_nothing(cached, monkeypatch):
    """A client that went by the database, while no epoch was open, finds one open when it writes."""
    one, other = behind(cached), behind(cached)
    one.save_progress(record(0.5))
    monkeypatch.setattr(one._policy._epochs, "_open", None)
    monkeypatch.setattr(one._policy._epochs, "_by_database_until", float("inf"))
    saved = one.save_progress(record(0.25))
    assert saved.version == 2
    assert other.get_progress("m") == saved
    assert cached.database().get_progress("m") is None  # it went to the cache after all


def test_a_model_runs_only_so_far_ahead_of_the_database(cached, monkeypatch):
    """As many versions are passed over after a loss as a model may have taken at most."""
    monkeypatch.setattr(_write_behind, "GAP", 3)
    storage = behind(cached)
    for version in range(1, 6):
        assert storage.save_progress(record(float(version))).version == version
        assert version - getattr(cached.database().get_progress("m"), "version", 0) < 3
    assert cached.database().get_progress("m") is not None


def test_updated_at_never_decreases(cached):
    """Not even where the record comes from a machine whose clock is ahead of the cache's."""
    cached.database().save_progress(record(0.5))
    engine = sa.create_engine(cached.url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ai_progress SET updated_at = '2999-01-01 00:00:00.000000'"))
    engine.dispose()
    storage = behind(cached)
    before = storage.get_progress("m")
    assert before.updated_at.year == 2999
    assert storage.save_progress(record(0.25)).updated_at == before.updated_at
    storage.flush()
    assert cached.database().get_progress("m").updated_at == before.updated_at


def test_a_write_whose_reply_was_lost_is_not_sent_again(killable, private_redis_server):
    """It may be there or not, once; a read is asked again, of whoever knows."""
    storage = behind(killable, lease=0.3, cache_timeout=0.2)
    storage.save_progress(record(0.5))
    private_redis_server.pause()
    try:
        with pytest.raises(OutcomeUnknownError):
            storage.save_progress(record(0.25))
    finally:
        private_redis_server.resume()
    assert storage.get_progress("m").version in (1, 2)
    with behind(killable, cache_timeout=0.2) as other:
        other.get_progress("m")
        link = other._policy._epochs.link
        for line in link._lines:
            line.connection._sock.shutdown(
                2
            )  # what is sent now is lost, and what was sent may have got there
        assert other.get_progress("m").version in (1, 2)


def test_a_cache_that_was_restarted_in_between_is_another_one(killable, private_redis_server):
    """What it brings back from its disk within the lease's time is not answered from."""
    storage = behind(killable, lease=3)
    storage.save_progress(record(0.5))
    storage.flush()
    private_redis_server.kill()
    private_redis_server.restart()
    database = killable.database()
    with raw(killable) as client:
        assert client.keys("*model:m")
        (model,) = client.keys("*model:m")
        client.set(model, client.get(model).replace(b"0.5", b"0.7"))
    assert storage.get_progress("m") == database.get_progress("m")
