"""Servers that outlive a run, for the next one to use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from server_checks import eventually, nothing_left, offered, processes_of

from pytest_aistorage.servers import ServerOptions, ServerSpec, shared_server, stop_kept
from pytest_aistorage.servers.kinds import KINDS


@pytest.fixture
def kept(options: ServerOptions, tmp_path: Path) -> ServerOptions:
    """Options that keep, with a cache of this test's own, where kept servers are found."""
    tmp_path.chmod(0o700)
    return dataclasses.replace(options, keep=True, cache_dir=tmp_path)


def next_run(options: ServerOptions, place: Path) -> ServerOptions:
    """The options of another run."""
    place.mkdir(mode=0o700)
    return dataclasses.replace(options, run_dir=place)


@pytest.mark.parametrize("spec", ["redis", "postgres", "mysql"])
def test_a_kept_server_serves_the_next_run_and_is_clean(
    spec: str, kept: ServerOptions, tmp_path: Path
) -> None:
    """The same server, without the first run's databases; stop_kept ends it."""
    offered(spec, "process", kept)
    wanted = ServerSpec.parse(spec)
    first_options = dataclasses.replace(kept, providers={wanted.kind: ("process",)})
    second_options = next_run(first_options, tmp_path / "second")
    try:
        with shared_server(wanted, first_options) as first:
            left = first.create_database()
        with shared_server(wanted, second_options) as second:
            assert second.url == first.url
            fresh = second.create_database()
            if spec == "redis":
                assert fresh == left  # the numbers begin anew, for nothing of the first run is there
            else:
                with pytest.raises(Exception, match=r"exist|nknown"):
                    KINDS[second.kind].version(left, 5.0)
                assert fresh != left
            assert stop_kept(second_options, timeout=0.2) == 0
            assert KINDS[second.kind].version(fresh, 5.0)
    finally:
        ended = stop_kept(second_options)
    assert ended <= 1  # the request made while it was in use may have been enough
    eventually(lambda: nothing_left(second_options), f"all is gone, but {processes_of(kept.run_dir)}")


def test_a_kept_server_in_use_is_not_cleaned(kept: ServerOptions, tmp_path: Path) -> None:
    """A second run that comes while the first still works leaves the first one's databases alone."""
    offered("redis", "process", kept)
    import redis

    spec = ServerSpec.parse("redis")
    first_options = dataclasses.replace(kept, providers={"redis": ("process",)})
    try:
        with shared_server(spec, first_options) as first:
            url = first.create_database()
            with redis.Redis.from_url(url) as client:
                client.set("key", 1)
                with shared_server(spec, next_run(first_options, tmp_path / "second")) as second:
                    assert second.create_database() != url
                    assert client.get("key") == b"1"
    finally:
        assert stop_kept(first_options) == 1


def test_nothing_kept_is_nothing_to_stop(kept: ServerOptions) -> None:
    """stop_kept on a machine without kept servers returns at once."""
    assert stop_kept(kept) == 0
