"""Servers that somebody else runs: used as guests."""

from __future__ import annotations

import dataclasses

import pytest
from server_checks import offered

from pytest_aistorage.errors import ConfigurationError, ServerUnavailableError
from pytest_aistorage.servers import ServerOptions, ServerSpec, private_server, shared_server, survey
from pytest_aistorage.servers.kinds import KINDS


def given(options: ServerOptions, spec: str, url: str) -> ServerOptions:
    """Options with nothing but a URL."""
    return dataclasses.replace(options, urls={spec: url}, providers={ServerSpec.parse(spec).kind: ("url",)})


@pytest.mark.parametrize("spec", ["postgres", "mysql"])
def test_a_guest_makes_and_drops_databases_of_its_own(spec: str, options: ServerOptions) -> None:
    """A database with the run's id, and none but that is dropped; closing leaves the server alone."""
    offered(spec, "process", options)
    wanted = ServerSpec.parse(spec)
    chosen = dataclasses.replace(options, providers={wanted.kind: ("process",)})
    with private_server(wanted, chosen, durable=False) as host:
        theirs = host.create_database()
        with shared_server(wanted, given(options, spec, host.url)) as guest:
            assert not guest.owned
            assert guest.provider == "url"
            assert guest.version == host.version
            ours = guest.create_database()
            assert KINDS[guest.kind].version(ours, 5.0) == host.version
            with pytest.raises(ConfigurationError):
                guest.drop_database(theirs)
            guest.drop_database(ours)
            with pytest.raises(Exception, match=r"exist|nknown"):
                KINDS[guest.kind].version(ours, 5.0)
        assert KINDS[host.kind].version(theirs, 5.0) == host.version


def test_a_guest_of_a_redis_touches_its_prefix_only(options: ServerOptions) -> None:
    """Dropping unlinks the keys with the prefix, thousands of them, and no other key of any database."""
    offered("redis", "process", options)
    import redis

    spec = ServerSpec.parse("redis")
    with private_server(spec, dataclasses.replace(options, providers={"redis": ("process",)})) as host:
        url = host.create_database()
        with redis.Redis.from_url(url) as client, shared_server(spec, given(options, "redis", url)) as guest:
            client.set("theirs", 1)
            ours, other = guest.create_database(), guest.create_database()
            prefix, another = (one.partition("?prefix=")[2] for one in (ours, other))
            assert prefix.startswith("aistorage_")
            assert prefix.endswith("_1:")
            client.mset({f"{prefix}{number}": number for number in range(2500)})
            client.set(f"{another}key", 1)
            client.set(prefix.replace("_", "x"), 1)  # what a pattern would match, if _ meant any character
            guest.drop_database(ours)
            left = {key.decode() for key in client.scan_iter()}
            assert left == {"theirs", f"{another}key", prefix.replace("_", "x")}
            with pytest.raises(ConfigurationError):
                guest.drop_database(url)
            with pytest.raises(ConfigurationError):
                guest.drop_database(f"{url}?prefix=the")


def test_a_server_of_another_version_is_not_taken(options: ServerOptions) -> None:
    """The URL of the kind leads to something else than the spec asks for: that is the reason."""
    offered("redis", "process", options)
    spec = ServerSpec.parse("redis")
    with private_server(spec, dataclasses.replace(options, providers={"redis": ("process",)})) as host:
        chosen = given(options, "redis", host.url)
        with pytest.raises(ServerUnavailableError) as caught:
            shared_server(ServerSpec.parse("redis@valkey-1"), chosen)
    assert "not redis@valkey-1" in caught.value.reasons[0]
    assert host.url not in str(caught.value)


def test_a_server_that_does_not_answer_is_told_without_its_password(options: ServerOptions) -> None:
    """The reason shows the URL, redacted."""
    chosen = dataclasses.replace(given(options, "redis", "redis://:s3cret@127.0.0.1:1/0"), timeout=1.0)
    with pytest.raises(ServerUnavailableError) as caught:
        shared_server(ServerSpec.parse("redis"), chosen)
    assert "redis://:***@127.0.0.1:1/0" in caught.value.reasons[0]
    assert "s3cret" not in str(caught.value)


def test_a_url_of_another_kind_is_refused(options: ServerOptions) -> None:
    """A PostgreSQL URL for Redis is a mistake, not a reason to try the next provider."""
    with pytest.raises(ConfigurationError, match="redis://"):
        shared_server(ServerSpec.parse("redis"), given(options, "redis", "postgresql://me:s3cret@host/db"))


def test_the_environment_is_never_searched_for_urls(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DATABASE_URL and REDIS_URL belong to the application, and may lead to its production."""
    for name in ("DATABASE_URL", "REDIS_URL", "MYSQL_URL", "POSTGRES_URL"):
        monkeypatch.setenv(name, "redis://127.0.0.1:6379/0")
    for kind in ("postgres", "redis", "mysql"):
        offer = survey(ServerSpec.parse(kind), options)[0]
        assert (offer.provider, offer.available) == ("url", False)


def test_a_url_without_a_host_keeps_its_slashes(options: ServerOptions) -> None:
    """``postgresql:///db?host=…``, as for a Unix socket, gives database URLs that a driver understands."""
    offered("postgres", "process", options)
    spec = ServerSpec.parse("postgres")
    chosen = dataclasses.replace(options, providers={"postgres": ("process",)})
    with private_server(spec, chosen) as host:
        port = host.url.rpartition(":")[2].partition("/")[0]
        password = host.url.partition("://postgres:")[2].partition("@")[0]
        url = f"postgresql:///postgres?host=127.0.0.1&port={port}&user=postgres&password={password}"
        with shared_server(spec, given(options, "postgres", url)) as guest:
            assert guest.redacted_url.endswith("password=***")
            made = guest.create_database()
            assert made.startswith("postgresql:///aistorage_")
            assert KINDS["postgres"].version(made, 5.0) == host.version
            guest.drop_database(made)


def test_a_url_that_was_given_is_final(options: ServerOptions) -> None:
    """Nobody who names a server is given another one, whatever else could be had."""
    given = dataclasses.replace(options, urls={"redis": "redis://:s3cret@127.0.0.1:1/0"})
    with pytest.raises(ServerUnavailableError) as caught:
        shared_server(ServerSpec.parse("redis"), given)
    assert [reason.partition(":")[0] for reason in caught.value.reasons] == ["url"]
    assert "s3cret" not in str(caught.value)
