"""Passwords that change while a storage is open: each new connection asks for the one of the moment."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    DatabaseStorage,
    HybridStorage,
    StorageUnavailableError,
    migrations,
    open_storage,
)
from pytest_aistorage.config import StorageURL
from pytest_aistorage.servers.server import PrivateServer

RECORD = AIProgress(model_name="resnet", mse=0.12)


@dataclasses.dataclass
class Account:
    """A user whose password changes, on a server of the test's own.

    Attributes:
        url: of a store, with the user and without a password.
        admin: runs a command as somebody who may do anything.
        change: how the server is given a password.
        hang_up: how it ends the user's connections.
    """

    url: str
    admin: Callable[[str], Any]
    change: str
    hang_up: Callable[[], object]
    password: str = ""

    def rotate(self, password: str) -> None:
        """Give the user another password, and end the connections that the old one opened."""
        self.admin(self.change.format(password=password))
        self.hang_up()
        self.password = password


def _of_redis(server: PrivateServer) -> Iterator[Account]:
    import redis

    url = server.create_database()
    with redis.Redis.from_url(url) as client:
        yield Account(
            dataclasses.replace(StorageURL.parse(url), username="imf", password=None).render(),
            lambda command: client.execute_command(*command.split()),
            "ACL SETUSER imf on resetpass >{password} ~* &* +@all",
            lambda: client.execute_command("CLIENT", "KILL", "USER", "imf"),
        )


def _of_database(
    server: PrivateServer, change: str, prepare: list[str], connections: str
) -> Iterator[Account]:
    import sqlalchemy as sa

    from pytest_aistorage.backends._engines import engine_from_url

    url = StorageURL.parse(server.create_database())
    engine = engine_from_url(url, timeout=60, pool_size=1, max_overflow=0)

    def admin(statement: str) -> list[Any]:
        with engine.connect() as connection:
            done = connection.execute(sa.text(statement))
            return list(done) if done.returns_rows else []

    for statement in prepare:
        admin(statement.format(database=url.path[1:]))
    without = dataclasses.replace(url, username="imf", password=None).render()
    yield Account(without, admin, change, lambda: [admin(*row) for row in admin(connections)])
    engine.dispose()


@contextlib.contextmanager
def _account(request: pytest.FixtureRequest, kind: str) -> Iterator[Account]:
    server = request.getfixturevalue(f"private_{kind}_server")
    if kind == "redis":
        yield from _of_redis(server)
    elif kind == "postgres":
        yield from _of_database(
            server,
            "ALTER ROLE imf PASSWORD '{password}'",
            ["CREATE ROLE imf LOGIN", "GRANT ALL ON SCHEMA public TO imf"],
            "SELECT format('SELECT pg_terminate_backend(%s, 60000)', pid) FROM pg_stat_activity "
            "WHERE usename = 'imf'",
        )
    else:
        yield from _of_database(
            server,
            "ALTER USER imf IDENTIFIED BY '{password}'",
            ["CREATE USER imf", "GRANT ALL ON `{database}`.* TO imf"],
            "SELECT concat('KILL ', id) FROM information_schema.processlist WHERE user = 'imf'",
        )


@pytest.fixture(params=["postgres", "mysql", "redis"])
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """A user on one server of each kind."""
    with _account(request, request.param) as found:
        found.rotate("first-password")
        yield found


def test_a_password_that_was_changed_is_asked_for_anew(account: Account) -> None:
    """The server has hung up, and the old password opens nothing any more: the next operation has the new one."""
    asked = []

    def provider() -> str:
        asked.append(account.password)
        return account.password

    with open_storage(account.url, password_provider=provider, timeout=60) as storage:
        assert storage.save_progress(RECORD).version == 1
        assert set(asked) == {"first-password"}
        account.rotate("second-password")
        assert storage.load_progress()[0].version == 1  # a read does no harm twice
        assert storage.save_progress(RECORD).version == 2
        assert asked[-1] == "second-password"
        before = len(asked)
        storage.save_progress(RECORD)
        assert len(asked) == before  # a connection that is open asks for nothing


def test_a_password_that_is_refused_is_not_shown(account: Account) -> None:
    """The provider is behind the server: it is told which of the two refused, and by no password."""
    with open_storage(account.url, password_provider=lambda: "not-the-password", timeout=60) as storage:
        with pytest.raises(StorageUnavailableError) as refused:
            storage.save_progress(RECORD)
        assert "not-the-password" not in f"{refused.value!r}{refused.value.__cause__!r}{storage!r}"
        assert storage.health_check() is False


def test_a_provider_that_fails_fails_one_operation(account: Account) -> None:
    """What asks for a token has its bad moments; no connection is kept that was opened without a password."""
    answers: list[Any] = [OSError("the metadata service does not answer"), LookupError("no role"), b"bytes"]

    def provider() -> str:
        if not answers:
            return account.password
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # bytes

    with open_storage(account.url, password_provider=provider, timeout=60) as storage:
        for cause in (OSError, LookupError):
            with pytest.raises(StorageUnavailableError, match="provider of its password failed") as failed:
                storage.save_progress(RECORD)
            assert isinstance(failed.value.__cause__, cause)
        with pytest.raises(ConfigurationError, match="must return a non-empty str"):
            storage.save_progress(RECORD)
        assert storage.save_progress(RECORD).version == 1


def test_a_hybrid_reads_both_passwords_from_files(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """As Docker and Kubernetes mount secrets; both are rotated while it is open, and the cache stays in use."""
    files = {name: tmp_path / name for name in ("postgres", "redis")}
    with _account(request, "postgres") as database, _account(request, "redis") as cache:
        accounts = {"postgres": database, "redis": cache}

        def rotate(generation: str) -> None:
            for name, account in accounts.items():
                files[name].write_text(f"{generation}-of-{name}\n")
                account.rotate(f"{generation}-of-{name}")

        rotate("first")
        cache_url = f"{cache.url}?password_provider=file:{files['redis']}"
        storage = open_storage(
            database.url, cache=cache_url, password_provider=f"file:{files['postgres']}", timeout=60
        )
        assert isinstance(storage, HybridStorage)
        with storage:
            for version, generation in enumerate(("second", "third"), start=1):
                assert storage.save_progress(RECORD).version == version
                rotate(generation)
                read = storage.get_progress("resnet")
                assert read is not None
                assert read.version == version
            assert storage.degraded is None


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_a_cache_of_any_kind_asks(scheme: str, tmp_path: Path) -> None:
    """What its URL says of a provider gets to the connections of its nodes, and so does the option, which wins."""
    place = "127.0.0.1:1/training/0" if scheme == "redis+sentinel" else "127.0.0.1:1"
    (tmp_path / "password").write_text("of the file")
    url, cache = (
        f"sqlite:///{tmp_path}/x.db",
        f"{scheme}://imf@{place}?password_provider=file:{tmp_path}/password",
    )
    for more, password in (({}, "of the file"), ({"cache_password_provider": lambda: "of the option"}, None)):
        with open_storage(url, cache=cache, **more) as storage:
            assert isinstance(storage, HybridStorage)
            link: Any = storage._access.link
            pool = link._pool if scheme == "redis" else next(iter(link._routes._links.values()))._pool
            credentials = pool.connection_kwargs["credential_provider"].get_credentials()
            assert credentials == ("imf", password or "of the option")


@pytest.mark.parametrize(
    ("replica", "asked"),
    [
        ("postgresql://imf@replica.example/imf", "of the primary"),
        ("postgresql://imf:own@replica.example/imf", "own"),
        ("postgresql://imf@replica.example/imf?password_provider=file:{file}", "of the file"),
    ],
)
def test_a_replica_is_asked_as_its_primary_unless_it_says_otherwise(
    replica: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password of its own, or a provider of its own, stands in its URL."""
    import psycopg

    from pytest_aistorage.backends._psycopg import TimedConnection

    (tmp_path / "password").write_text("of the file")
    handed: dict[str, str] = {}

    def connect(**arguments: Any) -> Any:
        handed[arguments["host"]] = arguments["password"]
        raise psycopg.OperationalError("not connected")

    monkeypatch.setattr(TimedConnection, "connect", connect)
    url = "postgresql://imf@primary.example/imf"
    with DatabaseStorage(
        url, replica=replica.format(file=tmp_path / "password"), password_provider=lambda: "of the primary"
    ) as storage:
        for engine in (storage._engine, storage._replica_engine):
            with pytest.raises(Exception, match="not connected"):
                engine.raw_connection()
    assert handed == {"primary.example": "of the primary", "replica.example": asked}


def test_the_schema_is_upgraded_with_the_password_of_the_file(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """``aistorage schema`` takes the URL that the application has."""
    with _account(request, "postgres") as account:
        account.rotate("of-the-file")
        (tmp_path / "password").write_text("of-the-file\n")
        url = f"{account.url}?password_provider=file:{tmp_path}/password"
        before = migrations.current(url)
        migrations.upgrade(url)
        assert migrations.current(url) != before
