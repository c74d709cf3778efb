"""Private servers: crashed, paused and started again, with what they had acknowledged."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_checks import eventually, nothing_left, offered, processes_of

from pytest_aistorage.errors import ServerUnavailableError
from pytest_aistorage.servers import PrivateServer, ServerOptions, ServerSpec, private_server
from pytest_aistorage.servers.kinds import KINDS

Start = Callable[..., subprocess.Popen[str]]

PRIVATE = [
    ("postgres", "process"),
    ("postgres", "embedded"),
    ("postgres@17", "container"),
    ("redis", "process"),
    ("redis", "embedded"),
    ("redis@8", "container"),
    ("mysql", "process"),
    ("mysql@9", "container"),
]


def by(options: ServerOptions, spec: str, provider: str) -> ServerOptions:
    """The options with one provider for a spec."""
    return dataclasses.replace(options, providers={ServerSpec.parse(spec).kind: (provider,)})


def write(server: PrivateServer, url: str, value: int, *, first: bool = False) -> None:
    """Write a value, and have it acknowledged."""
    if server.kind == "redis":
        import redis

        with redis.Redis.from_url(url) as client:
            client.set("key", value)
        return
    with connected(server, url) as connection, connection.cursor() as cursor:
        if first:
            cursor.execute("CREATE TABLE kept (value INTEGER)")
        cursor.execute(f"INSERT INTO kept VALUES ({value})")


def read(server: PrivateServer, url: str) -> int:
    """The highest value that is there."""
    if server.kind == "redis":
        import redis

        with redis.Redis.from_url(url) as client:
            return int(client.get("key"))
    with connected(server, url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT MAX(value) FROM kept")
        return int(cursor.fetchone()[0])


def connected(server: PrivateServer, url: str) -> Any:
    """A connection that commits at once."""
    if server.kind == "postgres":
        import psycopg

        return psycopg.connect(url, autocommit=True)
    from pytest_aistorage.servers import mysql

    return mysql._connect(url)


@pytest.mark.parametrize(("spec", "provider"), PRIVATE)
def test_a_private_server_keeps_what_it_acknowledged(
    spec: str, provider: str, options: ServerOptions
) -> None:
    """Over SIGKILL, an orderly stop, and a restart while it runs, the data and the URL stay."""
    offered(spec, provider, options)
    with private_server(ServerSpec.parse(spec), by(options, spec, provider)) as server:
        url = server.create_database()
        write(server, url, 1, first=True)
        server.kill()
        with pytest.raises(Exception, match=r".") as refused:
            KINDS[server.kind].version(server.url, 1.0)
        assert refused.type.__module__.partition(".")[0] in ("psycopg", "redis", "pymysql")
        server.restart()
        assert read(server, url) == 1
        write(server, url, 2)
        server.stop()
        server.restart()
        assert read(server, url) == 2
        write(server, url, 3)
        server.restart()
        assert read(server, url) == 3
    eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")


@pytest.mark.parametrize(("spec", "provider"), PRIVATE)
def test_a_paused_server_answers_nothing_and_goes_on(
    spec: str, provider: str, options: ServerOptions
) -> None:
    """A query times out while it is paused, and is answered after it; close works on a paused one."""
    offered(spec, provider, options)
    with private_server(ServerSpec.parse(spec), by(options, spec, provider)) as server:
        kind = KINDS[server.kind]
        server.pause()
        with pytest.raises(Exception, match=r".") as silent:
            kind.version(server.url, 1.0)
        assert silent.type.__module__.partition(".")[0] in ("psycopg", "redis", "pymysql")
        server.resume()
        assert kind.version(server.url, 10.0) == server.version
        server.pause()
    eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")


@pytest.mark.parametrize(
    ("spec", "provider"), [("postgres", "process"), ("redis", "process"), ("mysql", "process")]
)
def test_a_killed_server_that_was_paused_restarts(spec: str, provider: str, options: ServerOptions) -> None:
    """SIGKILL reaches what is stopped, and nothing of it is in the way of its successor."""
    offered(spec, provider, options)
    with private_server(ServerSpec.parse(spec), by(options, spec, provider)) as server:
        server.pause()
        server.kill()
        server.restart()
        assert KINDS[server.kind].version(server.url, 10.0) == server.version


def test_a_command_that_can_not_be_obeyed_is_an_error(options: ServerOptions) -> None:
    """Killing what is dead says so; the server can be started nonetheless."""
    offered("redis", "process", options)
    with private_server(ServerSpec.parse("redis"), by(options, "redis", "process")) as server:
        server.kill()
        with pytest.raises(ServerUnavailableError, match="not running"):
            server.kill()
        server.restart()
        assert KINDS["redis"].version(server.url, 10.0) == server.version


@pytest.mark.parametrize(
    ("spec", "durable", "settings", "expected"),
    [
        ("postgres", True, {}, {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}),
        ("postgres", False, {}, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
        ("postgres", True, {"synchronous_commit": "off"}, {"fsync": "on", "synchronous_commit": "off"}),
        ("redis", True, {}, {"appendonly": "yes", "appendfsync": "always", "save": ""}),
        ("redis", False, {}, {"appendonly": "no", "save": ""}),
        ("redis", True, {"appendonly": "no"}, {"appendonly": "no"}),
        ("mysql", True, {}, {"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "ON"}),
        ("mysql", False, {}, {"innodb_flush_log_at_trx_commit": "0", "innodb_doublewrite": "OFF"}),
    ],
)
def test_the_settings_are_what_was_asked_for(
    spec: str, durable: bool, settings: dict[str, str], expected: dict[str, str], options: ServerOptions
) -> None:
    """Durable ones for a server that is crashed, quick ones otherwise, the caller's above both."""
    offered(spec, "process", options)
    chosen = by(options, spec, "process")
    with private_server(ServerSpec.parse(spec), chosen, durable=durable, settings=settings) as server:
        assert {name: setting(server, name) for name in expected} == expected


def setting(server: PrivateServer, name: str) -> str:
    """A setting, asked of the server."""
    if server.kind == "redis":
        import redis

        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            return str(client.config_get(name)[name])
    with connected(server, server.url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}" if server.kind == "postgres" else f"SHOW VARIABLES LIKE '{name}'")
        return str(cursor.fetchone()[-1])


@pytest.mark.parametrize("more", [(), ("pause",)])
@pytest.mark.parametrize(
    ("spec", "provider"), [("postgres", "process"), ("redis", "embedded"), ("mysql", "process")]
)
def test_a_private_server_goes_with_its_owner(
    spec: str, provider: str, more: tuple[str, ...], options: ServerOptions, starter: Start
) -> None:
    """SIGKILL to the owner ends a private server, even one that it had paused."""
    offered(spec, provider, options)
    process = starter(spec, provider, "private", *more)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())
    process.kill()
    process.communicate()
    eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")


@pytest.mark.skipif(sys.platform != "linux", reason="System V segments are listed in /proc on Linux only")
def test_a_killed_postgres_leaves_no_shared_memory(options: ServerOptions) -> None:
    """Neither a System V segment nor a file in /dev/shm, though it could not clean up itself."""
    offered("postgres", "process", options)
    with private_server(ServerSpec.parse("postgres"), by(options, "postgres", "process")) as server:
        assert server.data_dir is not None
        segment = (server.data_dir / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in segments()
        server.kill()
    assert segment not in segments()


def segments() -> set[str]:
    """The ids of the System V shared memory segments of this machine."""
    with open("/proc/sysvipc/shm") as file:
        return {line.split()[1] for line in file}


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0,
    reason="not applicable: only root's servers run as another user",
)
def test_a_server_of_another_user_gets_a_place_that_it_can_reach(
    options: ServerOptions, tmp_path: Path
) -> None:
    """Where nobody else can get at the directory for the data, as with a TMPDIR in root's home, it is not taken."""
    offered("redis", "process", options)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    chosen = dataclasses.replace(by(options, "redis", "process"), data_dir=closed)
    with private_server(ServerSpec.parse("redis"), chosen) as server:
        assert server.data_dir is not None
        assert not server.data_dir.is_relative_to(closed)


def test_a_private_server_is_never_somebody_elses(options: ServerOptions) -> None:
    """A server given by URL is not ours to crash."""
    chosen = dataclasses.replace(by(options, "redis", "url"), urls={"redis": "redis://127.0.0.1:1/0"})
    with pytest.raises(ServerUnavailableError, match="can't be private"):
        private_server(ServerSpec.parse("redis"), chosen)
