"""The hybrid storage as its users see it: what comes from the cache, what goes on without it, what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import redis
import sqlalchemy as sa
from cached import record

from pytest_aistorage import (
    Capability,
    ConfigurationError,
    HybridStorage,
    OutcomeUnknownError,
    StorageUnavailableError,
    VersionConflictError,
    open_storage,
)

LONG = 60  # seconds of a lease that outlasts any test


def test_a_read_comes_from_the_cache(cached):
    """The second read does not ask the database, also where another client made the first."""
    one, other = cached.client(lease=LONG), cached.client(lease=LONG)
    one.save_progress(record(0.5))
    assert one.get_progress("m").mse == 0.5
    cached.overwrite("m", 0.25)
    assert one.get_progress("m").mse == other.get_progress("m").mse == 0.5


def test_a_read_gives_exactly_the_record_of_the_database(cached):
    """Every field and stamp, out of the cache as out of the database."""
    storage = cached.client(lease=LONG)
    given = dataclasses.replace(
        record(0.1 + 0.2, "ünï"), accuracy=0.5, training_samples=7, metadata={"a": [1, 1.0, None, "x\n"]}
    )
    saved = storage.save_progress(given)
    assert storage.get_progress("ünï") == storage.get_progress("ünï") == saved
    assert cached.database().get_progress("ünï") == saved


def test_an_absent_model_is_cached_as_well(cached):
    """That there is none comes from the cache, until somebody saves it."""
    storage, other = cached.client(lease=LONG), cached.client(lease=LONG)
    assert storage.get_progress("m") is None
    cached.database().save_progress(record(0.5))
    assert storage.get_progress("m") is None
    other.save_progress(record(0.25))
    assert storage.get_progress("m").mse == 0.25


@pytest.mark.parametrize("write", ["save", "save_many", "update", "delete"])
def test_an_acknowledged_write_is_in_the_database_and_in_no_cache(cached, write):
    """After each kind of write the next read is of the database."""
    storage, other = cached.client(lease=LONG), cached.client(lease=LONG)
    storage.save_progress(record(0.5))
    assert other.get_progress("m").mse == 0.5
    if write == "save":
        storage.save_progress(record(0.25))
    elif write == "save_many":
        storage.save_many([record(0.25), record(0.25, "n")])
    elif write == "update":
        storage.update_progress("m", lambda current: dataclasses.replace(current, mse=0.25))
    else:
        storage.delete_progress("m")
    assert other.get_progress("m") == cached.database().get_progress("m")
    assert (other.get_progress("m") is None) == (write == "delete")


def test_a_refused_write_lets_the_model_be_cached_again(cached):
    """A conflict, and a change that raises, leave nothing announced."""
    storage = cached.client(lease=LONG)
    storage.save_progress(record(0.5))
    with pytest.raises(VersionConflictError):
        storage.save_progress(record(0.25), expected_version=7)
    with pytest.raises(ZeroDivisionError):
        storage.update_progress("m", lambda current: 1 / 0)
    assert storage.get_progress("m").mse == 0.5
    cached.overwrite("m", 0.125)
    assert storage.get_progress("m").mse == 0.5


def test_a_write_of_unknown_outcome_stays_announced(cached, monkeypatch):
    """What may yet take effect keeps the model out of the cache."""
    storage = cached.client(lease=LONG)
    storage.save_progress(record(0.5))

    def lost(*_):
        raise OutcomeUnknownError("the acknowledgement was lost")

    monkeypatch.setattr(storage._database, "_save", lost)
    with pytest.raises(OutcomeUnknownError):
        storage.save_progress(record(0.25))
    assert storage.get_progress("m").mse == 0.5
    cached.overwrite("m", 0.125)
    assert storage.get_progress("m").mse == 0.125


def test_two_stores_on_one_cache_do_not_mix(tmp_path, redis_server):
    """Each database has a name of its own in the cache."""
    cache = redis_server.create_database()
    with (
        open_storage(f"sqlite:///{tmp_path}/a.db", cache=cache, lease=LONG) as one,
        open_storage(f"sqlite:///{tmp_path}/b.db", cache=cache, lease=LONG) as other,
    ):
        one.save_progress(record(0.5))
        assert one.get_progress("m").mse == 0.5
        assert other.get_progress("m") is None


def test_it_goes_on_without_its_cache_and_says_so(killable, private_redis_server):
    """Reads and writes go to the database; it is healthy, degraded, and neither again when the cache is back."""
    storage = killable.client(lease=0.2)
    storage.save_progress(record(0.5))
    assert storage.degraded is None
    assert ", cached by " in storage.get_storage_info().server
    private_redis_server.kill()
    assert storage.save_progress(record(0.25)).version == 2
    assert storage.get_progress("m").mse == 0.25
    assert storage.health_check()
    assert storage.degraded is not None
    assert "degraded" in storage.get_storage_info().server
    private_redis_server.restart()
    while storage.degraded is not None:
        assert storage.get_progress("m").mse == 0.25


def test_a_record_that_was_read_is_returned_though_it_can_not_be_cached(cached, monkeypatch):
    """The database goes away between the record's reading and what has to be known for caching it."""
    storage = cached.client(lease=LONG)
    storage.save_progress(record(0.5))

    def gone():
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(storage._cache._table, "seen", gone)
    assert storage.get_progress("m").mse == 0.5
    monkeypatch.undo()
    assert storage.get_progress("m").mse == 0.5
    cached.overwrite("m", 0.25)
    assert storage.get_progress("m").mse == 0.5  # nobody's claim stood in the way of caching it


def test_leases_end(cached):
    """A copy is read no longer than its lease."""
    storage = cached.client(lease=0.3)
    storage.save_progress(record(0.5))
    storage.get_progress("m")
    cached.overwrite("m", 0.25)
    while storage.get_progress("m").mse != 0.25:
        pass


def test_without_leases_it_does_not_declare_to_be_linearizable(cached):
    """lease=0: nobody waits, and that much is not promised."""
    with_leases, without = cached.client().capabilities, cached.client(lease=0).capabilities
    assert with_leases - without == {Capability.LINEARIZABLE}
    assert with_leases == cached.database().capabilities


def test_clients_that_are_handed_in_are_used_and_not_closed(cached):
    """An engine and a Redis client in the place of URLs."""
    engine, client = sa.create_engine(cached.url), redis.Redis.from_url(cached.cache_url)
    with HybridStorage(db=engine, redis=client, lease=LONG) as storage:
        storage.save_progress(record(0.5))
        assert storage.get_progress("m").mse == storage.get_progress("m").mse == 0.5
    assert client.ping()
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM ai_progress")).scalar() == 1
    client.close()
    engine.dispose()


def test_the_cache_may_stand_in_the_url(cached):
    """One URL says it all; what is shown of it has no password, not even the cache's."""
    with open_storage(f"{cached.url}?lease=60&cache={cached.cache_url}") as storage:
        assert isinstance(storage, HybridStorage)
        storage.save_progress(record(0.5))
    with open_storage("postgresql://u:geheim1@h/d", cache="redis://:geheim2@h/0?prefix=mine:") as storage:
        assert "geheim" not in repr(storage)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"cache": "sqlite:///x.db"}, "cache"),
        ({"cache": "redis://h/0?nonsense=1"}, "nonsense"),
        ({"cache": "redis://h", "lease": -1}, "lease"),
        ({"cache": "redis://h", "cache_timeout": 0}, "cache_timeout"),
        ({"cache": "redis://h", "ttl": 5}, "ttl"),
        ({"cache": "redis://h", "nonsense": 5}, "nonsense"),
    ],
)
def test_bad_options_are_named_at_once(tmp_path, options, named):
    """An option that can't be right is refused before anything connects."""
    with pytest.raises(ConfigurationError, match=named):
        open_storage(f"sqlite:///{tmp_path}/x.db", **options)


def test_a_cache_that_may_drop_announcements_is_refused(private_redis_server, killable):
    """An eviction policy could drop what keeps a read from being stale; without leases nothing depends on it."""
    client = redis.Redis.from_url(killable.cache_url)
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.close()
    with pytest.raises(ConfigurationError, match="allkeys-lru"):
        killable.client().get_progress("m")
    assert killable.client(lease=0).get_progress("m") is None
