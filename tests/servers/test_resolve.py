"""Shared servers: one a run, whoever asks; the providers one after the other."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from server_checks import ROOT, eventually, nothing_left, offered, processes_of

from pytest_aistorage.errors import ConfigurationError, ServerUnavailableError, UnsupportedOperationError
from pytest_aistorage.servers import Server, ServerOptions, ServerSpec, shared_server, survey
from pytest_aistorage.servers.kinds import KINDS

Start = Callable[..., subprocess.Popen[str]]

EVERYWHERE = [
    ("postgres", "process"),
    ("postgres", "embedded"),
    ("postgres@17", "container"),
    ("postgres@18", "container"),
    ("redis", "process"),
    ("redis", "embedded"),
    ("redis@8", "container"),
    ("redis@valkey-8", "container"),
    ("mysql", "process"),
    ("mysql@9", "container"),
    ("mysql@mariadb-11.8", "container"),
]


def by(options: ServerOptions, spec: str, *providers: str) -> ServerOptions:
    """The options with these providers for a spec."""
    return dataclasses.replace(options, providers={ServerSpec.parse(spec).kind: providers})


def names_on(server: Server) -> str:
    """What the server itself says it is, asked anew."""
    return KINDS[server.kind].version(server.url, 10.0)


@pytest.mark.parametrize(("spec", "provider"), EVERYWHERE)
def test_a_server_starts_serves_and_leaves_nothing(spec: str, provider: str, options: ServerOptions) -> None:
    """It is what was asked for, gives databases that are apart and empty, and is gone when it is closed."""
    offered(spec, provider, options)
    wanted = ServerSpec.parse(spec)
    with shared_server(wanted, by(options, spec, provider)) as server:
        assert server.provider == provider
        assert server.owned
        assert wanted.accepts(server.version)
        assert names_on(server) == server.version
        first, second = server.create_database(), server.create_database()
        assert first != second
        assert names_on(server) == KINDS[server.kind].version(first, 10.0)
        server.drop_database(first)
        server.drop_database(second)
    assert options.data_dir is not None
    assert not list(options.data_dir.iterdir())
    eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")


@pytest.mark.parametrize(("spec", "provider"), [("postgres", "process"), ("redis", "embedded")])
def test_all_processes_of_a_run_get_the_same_server(
    spec: str, provider: str, options: ServerOptions, starter: Start
) -> None:
    """Four that ask at the same time get one server, and a database each; it lives until the last is gone."""
    offered(spec, provider, options)
    workers = [starter(spec, provider, "database") for _ in range(4)]
    said = [json.loads(worker.stdout.readline()) for worker in workers if worker.stdout]
    assert len({one["url"] for one in said}) == 1
    assert len({one["database"] for one in said}) == 4
    assert options.data_dir is not None
    assert len(list(options.data_dir.iterdir())) == 1
    for worker in workers[:3]:
        worker.communicate()
    kind = KINDS[ServerSpec.parse(spec).kind]
    assert kind.version(said[3]["url"], 10.0) == said[0]["version"]
    workers[3].communicate()
    eventually(lambda: nothing_left(options), "the last worker's exit ends the server")


@pytest.mark.parametrize(("spec", "provider"), [("postgres", "process"), ("redis", "process")])
def test_two_runs_never_meet(
    spec: str, provider: str, options: ServerOptions, starter: Start, tmp_path: Path
) -> None:
    """Two runs at the same time have two servers, and the end of one does not disturb the other."""
    offered(spec, provider, options)
    tmp_path.chmod(0o700)
    one, other = starter(spec, provider, "database"), starter(spec, provider, "database", run_dir=tmp_path)
    said = [json.loads(process.stdout.readline()) for process in (one, other) if process.stdout]
    assert said[0]["url"] != said[1]["url"]
    one.kill()
    one.communicate()
    assert options.data_dir is not None
    eventually(lambda: len(list(options.data_dir.iterdir())) == 1, "the server of the killed run is gone")
    assert KINDS[ServerSpec.parse(spec).kind].version(said[1]["url"], 10.0)
    other.communicate()
    eventually(lambda: not list(options.data_dir.iterdir()), "so is that of the other, when it has ended")


@pytest.mark.parametrize(
    ("spec", "provider"), [("postgres", "process"), ("postgres", "embedded"), ("redis", "process")]
)
def test_a_killed_run_leaves_nothing(
    spec: str, provider: str, options: ServerOptions, starter: Start
) -> None:
    """SIGKILL to the process that started the server: ten times out of ten, all is gone."""
    offered(spec, provider, options)
    for _ in range(10):
        process = starter(spec, provider, "database")
        assert process.stdout is not None
        assert process.stdout.readline()
        assert not nothing_left(options)
        process.kill()
        process.communicate()
        eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")
        assert not list(options.run_dir.glob("*.lease"))


@pytest.mark.parametrize(
    ("spec", "provider"), [("postgres", "process"), ("redis", "process"), ("mysql", "process")]
)
def test_a_run_killed_at_any_moment_leaves_nothing(
    spec: str, provider: str, options: ServerOptions, starter: Start
) -> None:
    """SIGKILL in the middle of the start, at twelve different moments of it."""
    offered(spec, provider, options)
    with shared_server(ServerSpec.parse(spec), by(options, spec, provider)):
        pass  # the cache is warm
    for moment in range(12):
        process = starter(spec, provider)
        eventually(lambda: bool(list(options.run_dir.glob("*.lease"))), "the start begins")
        time.sleep(moment * 0.012)
        process.kill()
        process.communicate()
        eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")
        for lease in options.run_dir.glob("*.lease"):
            lease.unlink()


def test_a_forked_child_does_not_hold_the_server(options: ServerOptions, starter: Start) -> None:
    """A child that outlives a killed run, forked while it held the server, keeps nothing alive."""
    offered("redis", "process", options)
    process = starter("redis", "process", "fork")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    assert options.data_dir is not None
    eventually(lambda: not list(options.data_dir.iterdir()), "the server's directory is gone")
    process.communicate()


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere no signal reaches the orphan: the next run ends it"
)
@pytest.mark.parametrize(
    ("spec", "provider"), [("postgres", "process"), ("redis", "process"), ("mysql", "process")]
)
def test_a_killed_supervisor_leaves_nothing_for_long(
    spec: str, provider: str, options: ServerOptions, starter: Start
) -> None:
    """With the supervisor killed too, the server dies at once, and the next server's supervisor removes its data."""
    offered(spec, provider, options)
    process = starter(spec, provider)
    assert process.stdout is not None
    process.stdout.readline()
    record = json.loads(next(options.run_dir.glob(f"{spec}*.json")).read_text("utf-8"))
    os.kill(int(record["supervisor"]), 9)
    process.kill()
    process.communicate()
    eventually(lambda: not processes_of(Path(record["data"]).parent), "the server is dead")
    assert Path(record["data"]).exists()
    offered("redis", "process", options)
    with shared_server(ServerSpec.parse("redis"), by(options, "redis", "process")):
        eventually(lambda: not Path(record["data"]).parent.exists(), "its data is gone")


def test_a_server_that_died_is_replaced(options: ServerOptions, starter: Start) -> None:
    """Who asks after the shared server was killed from outside gets a new one, not a dead URL."""
    offered("redis", "process", options)
    chosen = by(options, "redis", "process")
    with shared_server(ServerSpec.parse("redis"), chosen) as dead:
        record = json.loads(next(options.run_dir.glob("redis*.json")).read_text("utf-8"))
        pid = int((Path(record["data"]).parent / "server.pid").read_text("ascii").split()[0])
        os.kill(pid, 9)
        eventually(lambda: not processes_of(Path(record["data"])), "it is dead")
        with shared_server(ServerSpec.parse("redis"), chosen) as living:
            assert living.url != dead.url
            assert names_on(living)
    eventually(lambda: nothing_left(options), "both are gone")


def test_every_reason_and_a_remedy_are_told(options: ServerOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider can: the error names each one's reason, and what to do."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(ServerUnavailableError) as caught:
        shared_server(ServerSpec.parse("postgres@9.6"), options)
    error = caught.value
    assert error.wanted == "postgres@9.6"
    assert [reason.partition(":")[0] for reason in error.reasons] == [
        "url",
        "container",
        "process",
        "embedded",
    ]
    assert "no URL was given" in error.reasons[0]
    assert "Docker" in error.reasons[1]
    assert "start a Docker engine" in error.remedy
    assert "\n" not in str(error)


def test_a_failure_is_remembered_for_the_run(options: ServerOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next worker hears the same reasons at once, instead of trying everything again."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    spec = ServerSpec.parse("postgres@9.6")
    with pytest.raises(ServerUnavailableError) as first:
        shared_server(spec, options)
    monkeypatch.setattr("pytest_aistorage.servers.resolve._first", None)
    with pytest.raises(ServerUnavailableError) as second:
        shared_server(spec, options)
    assert second.value.reasons == first.value.reasons


def test_a_provider_that_fails_is_followed_by_the_next(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Docker engine, so the binaries serve, and say so."""
    offered("redis", "process", options)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with shared_server(
        ServerSpec.parse("redis"), by(options, "redis", "url", "container", "process")
    ) as server:
        assert server.provider == "process"


def test_a_missing_driver_is_named(options: ServerOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setattr(KINDS["postgres"], "driver", "no_such_driver", raising=False)
    with pytest.raises(ServerUnavailableError) as caught:
        shared_server(ServerSpec.parse("postgres"), options)
    assert "process: the driver no_such_driver is missing" in caught.value.reasons
    assert "pip install 'pytest-aistorage[postgres]'" in caught.value.remedy


def test_a_start_that_fails_shows_the_servers_log(options: ServerOptions) -> None:
    """The last lines of the log are in the reason; the password is not."""
    offered("postgres", "process", options)
    from pytest_aistorage.servers import private_server

    chosen = by(options, "postgres", "process")
    with pytest.raises(ServerUnavailableError) as caught:
        private_server(ServerSpec.parse("postgres"), chosen, settings={"shared_buffers": "nonsense"})
    assert "shared_buffers" in caught.value.reasons[0]
    eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")


def test_a_shared_server_refuses_faults(options: ServerOptions) -> None:
    """It is others' too; the error names the fixture to use instead."""
    offered("redis", "process", options)
    with shared_server(ServerSpec.parse("redis"), by(options, "redis", "process")) as server:
        for fault in (server.kill, server.stop, server.restart, server.pause, server.resume):
            with pytest.raises(UnsupportedOperationError, match="private_redis_server"):
                fault()


def test_no_message_holds_the_password(options: ServerOptions) -> None:
    """Neither the repr nor the redacted URL; nor can it be read in the list of processes."""
    offered("redis", "process", options)
    with shared_server(ServerSpec.parse("redis"), by(options, "redis", "process")) as server:
        password = server.url.partition(":***@")[0].partition("://:")[2].partition("@")[0]
        assert len(password) == 32
        assert password not in repr(server)
        assert password not in server.redacted_url
        listed = subprocess.run(["ps", "-Ao", "args"], capture_output=True, text=True, check=True).stdout
        assert "redis-server" in listed or "valkey-server" in listed
        assert password not in listed


@pytest.mark.parametrize("spec", ["postgres", "redis", "mysql"])
def test_a_database_that_we_did_not_make_is_not_dropped(spec: str, options: ServerOptions) -> None:
    """The administrator's database, one of another run, one of another server: all refused."""
    offered(spec, "process", options)
    with shared_server(ServerSpec.parse(spec), by(options, spec, "process")) as server:
        base = server.url.rpartition("/")[0]
        names = ["0", "x", "-1"] if spec == "redis" else ["", "postgres", "mysql", "aistorage_00000000_1"]
        for url in [*(f"{base}/{name}" for name in names), "redis://127.0.0.1:1/1"]:
            with pytest.raises(ConfigurationError):
                server.drop_database(url)


def test_a_redis_has_more_databases_than_sixteen(options: ServerOptions) -> None:
    """Every database is apart, beyond Redis' usual sixteen; one that was dropped is used again, and empty."""
    offered("redis", "process", options)
    import redis

    with shared_server(ServerSpec.parse("redis"), by(options, "redis", "process")) as server:
        urls = [server.create_database() for _ in range(40)]
        assert len(set(urls)) == 40
        clients = [redis.Redis.from_url(url) for url in urls]
        for number, client in enumerate(clients):
            client.set("key", number)
        assert [int(client.get("key")) for client in clients] == list(range(40))
        server.drop_database(urls[7])
        again = server.create_database()
        assert again == urls[7]
        assert clients[7].get("key") is None
        assert clients[8].get("key") == b"8"
        for client in clients:
            client.close()


def test_the_survey_starts_nothing_and_says_why_not(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One offer a provider, in order; what is not available has its reason; it takes no time."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    begun = time.monotonic()
    offers = survey(ServerSpec.parse("mysql"), options)
    assert time.monotonic() - begun < 5
    assert [offer.provider for offer in offers] == ["url", "container", "process", "embedded"]
    assert [offer.available for offer in offers if offer.provider != "process"] == [False, False, False]
    assert all(offer.detail for offer in offers)
    assert nothing_left(options)


def test_importing_the_package_imports_no_driver() -> None:
    """Nor docker, testcontainers, filelock: whoever does not ask for a server does not pay for one."""
    code = (
        "import sys; before = set(sys.modules); import pytest_aistorage.servers; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    heavy = {"psycopg", "redis", "pymysql", "docker", "testcontainers", "filelock"}
    assert not heavy & set(json.loads(done.stdout.replace("'", '"')))
