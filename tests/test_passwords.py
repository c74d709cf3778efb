"""Providers of passwords: what is taken for one, and what is shown of what they return."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from pytest_aistorage import ConfigurationError, StorageUnavailableError, open_storage
from pytest_aistorage.config import StorageURL
from pytest_aistorage.environment import get_storage_config
from pytest_aistorage.passwords import Passwords, checked_provider

SERVER = StorageURL.parse("postgresql://imf@db.example/imf")


@pytest.mark.parametrize(
    "given",
    ["s3cret", "", "file:", "file:a\0b", "aws-rds:name", "aws-elasticache", "aws-elasticache:", 7, None],
)
def test_what_is_no_provider_is_refused_and_not_shown(given: object) -> None:
    """It may be the password itself, said in the wrong place."""
    with pytest.raises(ConfigurationError, match="option password_provider: must be a callable") as refused:
        checked_provider("password_provider", given)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://imf:s3cret@db/imf", "postgresql://imf@db/imf?password=s3cret"])
def test_a_password_beside_its_provider_is_refused(url: str) -> None:
    """Which of the two is meant can't be guessed."""
    with pytest.raises(ConfigurationError, match="the URL has a password as well") as refused:
        open_storage(url, password_provider=lambda: "other")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("returned", ["", "a\0b", b"s3cret", None])
def test_what_is_no_password_is_an_error_that_does_not_show_it(returned: object) -> None:
    """Bytes, most likely, that nobody decoded."""
    with pytest.raises(ConfigurationError, match="must return a non-empty str") as refused:
        Passwords(SERVER, lambda: returned).current()  # type: ignore[arg-type,return-value]
    assert "s3cret" not in str(refused.value)


def test_an_error_of_the_provider_is_the_cause_of_ours() -> None:
    """Its text may hold anything, so ours tells its type alone."""

    def fails() -> str:
        raise LookupError("s3cret")

    with pytest.raises(
        StorageUnavailableError, match=r"postgresql://imf@db.example/imf: .* LookupError"
    ) as told:
        Passwords(SERVER, fails).current()
    assert isinstance(told.value.__cause__, LookupError)
    assert "s3cret" not in str(told.value)


def test_what_was_returned_is_hidden_and_what_was_not_is_left() -> None:
    """A driver's message may repeat any password that a connection of late was opened with."""
    returned = iter([f"secret-{number:02}" for number in range(100)])
    passwords = Passwords(SERVER, lambda: next(returned))
    for _ in range(20):
        passwords.current()
    assert passwords.hide("secret-03, secret-17, secret-60") == "***, ***, secret-60"
    assert Passwords(StorageURL.parse("redis://:s3cret@cache"), None).hide("is s3cret") == "is ***"


def test_a_file_is_read_each_time_without_its_newline(tmp_path: Path) -> None:
    """Kubernetes replaces a Secret's file while the process runs, Compose's is written anew; it ends in a newline."""
    file = tmp_path / "password"
    file.write_text("first\n")
    passwords = Passwords(SERVER, f"file:{file}")
    assert passwords.current() == "first"
    file.write_text(" second \r\n")
    assert passwords.current() == " second "
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="no UTF-8"):
        passwords.current()
    file.write_text("\n")
    with pytest.raises(StorageUnavailableError, match="is empty"):
        passwords.current()
    file.unlink()
    with pytest.raises(StorageUnavailableError, match="can't be read"):
        passwords.current()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://imf@db/imf",
        "mysql://imf@db/imf",
        "redis://cache",
        "redis+cluster://cache",
        "sqlite:///x.db",
    ],
)
def test_a_file_that_is_not_there_is_named_when_the_storage_is_opened(url: str, tmp_path: Path) -> None:
    """Not with the first operation, when the deployment has long been called done."""
    with pytest.raises(ConfigurationError, match="there is no file /nowhere"):
        open_storage(url, password_provider="file:/nowhere")
    assert not list(tmp_path.iterdir())


def test_sqlite_has_no_password(tmp_path: Path) -> None:
    """So it asks nobody for one, and says so."""
    with pytest.raises(ConfigurationError, match="SQLite has no password"):
        open_storage(f"sqlite:///{tmp_path}/x.db", password_provider=lambda: "s3cret")


def test_a_client_that_is_handed_in_has_its_own(tmp_path: Path) -> None:
    """Whoever made it has told it how to connect."""
    redis = pytest.importorskip("redis")
    import sqlalchemy as sa

    from pytest_aistorage import DatabaseStorage, HybridStorage, RedisStorage

    def provider() -> str:
        return "s3cret"

    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="option password_provider: the engine"):
        DatabaseStorage(db=engine, password_provider=provider)
    with redis.Redis() as client:
        with pytest.raises(ConfigurationError, match="option password_provider: the client"):
            RedisStorage(redis=client, password_provider=provider)
        with pytest.raises(ConfigurationError, match="option cache_password_provider: the client"):
            HybridStorage(db=engine, redis=client, cache_password_provider=provider)
    engine.dispose()


def test_the_environment_names_both_of_a_hybrid() -> None:
    """A pod that is configured by variables alone can have its passwords rotated."""
    config = get_storage_config(
        {
            "APP_ENV": "production",
            "DATABASE_URL": "postgresql://imf@db/imf",
            "REDIS_URL": "redis://cache",
            "AI_STORAGE_PASSWORD_PROVIDER": "file:/run/secrets/database",
            "AI_STORAGE_CACHE_PASSWORD_PROVIDER": "file:/run/secrets/redis",
        }
    )
    assert config.options["password_provider"] == "file:/run/secrets/database"
    assert config.options["cache_password_provider"] == "file:/run/secrets/redis"


def test_no_frame_of_the_error_shows_a_password() -> None:
    """As pytest and error trackers print them: nothing listens there, and the driver knew the password."""
    with open_storage(
        "postgresql://imf@127.0.0.1:1/imf", password_provider=lambda: "s3cret-of-now"
    ) as storage:
        with pytest.raises(StorageUnavailableError) as raised:
            storage.load_progress()
        assert "s3cret-of-now" not in "".join(traceback.format_exception(raised.value))
