"""Deadlocks, serialization failures and locks held by others: retried, within the timeout, and told truly."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from pytest_aistorage import AIProgress, DatabaseStorage, StorageUnavailableError, config
from pytest_aistorage.backends._engines import engine_from_url
from pytest_aistorage.backends._sql_errors import failure_of

PATIENCE = 60.0
_M = AIProgress(model_name="m", mse=0.5)
_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


@pytest.fixture(params=["postgres", "mysql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database on a server of each product."""
    made: str = request.getfixturevalue(f"{request.param}_server").create_database()
    return made


@pytest.fixture
def foreign(url: str) -> Iterator[sa.Engine]:
    """The application's own way to the same database."""
    engine = engine_from_url(config.StorageURL.parse(url), timeout=PATIENCE, pool_size=5, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The codes of the errors that storages meet: SQLSTATEs, or MySQL's numbers."""
    codes: list[Any] = []

    def noting(error: Exception, flavour: Any) -> Any:
        codes.append(code_of(error))
        return failure_of(error, flavour)

    monkeypatch.setattr("pytest_aistorage.backends._execution.failure_of", noting)
    return codes


def code_of(error: BaseException) -> Any:
    """MySQL's number, or PostgreSQL's SQLSTATE."""
    return error.args[0] if isinstance(error.args[0], int) else getattr(error, "sqlstate", None)


def wait_for_waiters(engine: sa.Engine, count: int = 1) -> None:
    """Wait until this many clients wait for a lock, which the server says."""
    deadline = time.monotonic() + PATIENCE
    with engine.connect() as connection:
        while connection.exec_driver_sql(_WAITING[engine.dialect.name]).scalar_one() < count:
            assert time.monotonic() < deadline, "nobody waits for a lock"
            time.sleep(0.12)  # InnoDB renews this table ten times a second at most


class Pausing:
    """A change of a record that waits, the first time, in the middle of its transaction."""

    def __init__(self) -> None:
        self.calls = 0
        self.inside = threading.Event()
        self.proceed = threading.Event()

    def __call__(self, current: AIProgress | None) -> AIProgress:
        """Count, and wait."""
        self.calls += 1
        self.inside.set()
        assert self.proceed.wait(PATIENCE)
        return dataclasses.replace(current or _M, mse=0.25)


def test_a_deadlock_is_retried(url: str, foreign: sa.Engine, met: list[Any]) -> None:
    """The application's own SQL locks the same two rows in the other order, and the server ends the storage's."""
    if foreign.dialect.name == "postgresql":
        # Who waits this long looks for a deadlock, and is its victim: the storage, at once; the other, never.
        url += ("&" if "?" in url else "?") + "options=-c%20deadlock_timeout%3D10ms"
    change = Pausing()
    with DatabaseStorage(url, timeout=30) as storage, ThreadPoolExecutor(2) as threads:
        storage.save_progress(_M)
        with foreign.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            if foreign.dialect.name == "postgresql":
                connection.exec_driver_sql("SET deadlock_timeout = '1h'")
            else:
                # InnoDB ends the one of less weight.
                connection.exec_driver_sql("CREATE TABLE ballast (n INT PRIMARY KEY)")
                rows = ", ".join(f"({number})" for number in range(500))
                connection.exec_driver_sql(f"INSERT INTO ballast VALUES {rows}")
            connection.exec_driver_sql("UPDATE ai_progress SET mse = 0.75 WHERE model_name = 'm'")
            updated = threads.submit(storage.update_progress, "m", change)
            assert change.inside.wait(PATIENCE)
            blocked = threads.submit(
                connection.exec_driver_sql,
                "UPDATE ai_progress_versions SET version = version WHERE model_name = 'm'",
            )
            wait_for_waiters(foreign)
            change.proceed.set()
            blocked.result(PATIENCE)
            connection.commit()
        assert updated.result(PATIENCE).version == 2
    assert change.calls >= 2
    assert {"postgresql": "40P01", "mysql": 1213}[foreign.dialect.name] in met


def test_a_serialization_failure_is_retried(url: str, foreign: sa.Engine, met: list[Any]) -> None:
    """An engine whose transactions are SERIALIZABLE: two changes of one model collide, and both succeed."""
    engine = _serializable(url, foreign.dialect.name)
    change = Pausing()
    # What collides: on PostgreSQL any two changes; on MySQL a change with one that has only read yet.
    second: Callable[[DatabaseStorage], int | None] = (
        (lambda storage: storage.save_progress(_M).version)
        if foreign.dialect.name == "postgresql"
        else (lambda storage: storage.delete_progress("m"))
    )
    with DatabaseStorage(db=engine, timeout=30) as storage, ThreadPoolExecutor(2) as threads:
        assert storage.save_progress(_M).version == 1
        first = threads.submit(storage.update_progress, "m", change)
        assert change.inside.wait(PATIENCE)
        other = threads.submit(second, storage)
        wait_for_waiters(foreign)
        change.proceed.set()
        assert {first.result(PATIENCE).version, other.result(PATIENCE)} == {2, 3}
    engine.dispose()
    assert {"postgresql": "40001", "mysql": 1213}[foreign.dialect.name] in met


def _serializable(url: str, product: str) -> sa.Engine:
    parts = sa.make_url(url)
    if product == "postgresql":
        settings = {"options": "-c default_transaction_isolation=serializable"}
        return sa.create_engine(parts.set(drivername="postgresql+psycopg"), connect_args=settings)
    return sa.create_engine(parts.set(drivername="mysql+pymysql"), isolation_level="SERIALIZABLE")


def test_a_lock_that_is_never_released_is_a_known_outcome(url: str, foreign: sa.Engine) -> None:
    """The server gives up before the client does: "not written" can be said, and is true."""
    with DatabaseStorage(url, timeout=2.5) as storage:
        storage.save_progress(_M)
        with foreign.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            connection.exec_driver_sql("UPDATE ai_progress_versions SET version = version")
            with pytest.raises(StorageUnavailableError):
                storage.save_progress(dataclasses.replace(_M, mse=0.75))
            connection.rollback()
        kept = storage.get_progress("m")
        assert kept is not None
        assert (kept.mse, kept.version) == (0.5, 1)


def test_a_statement_is_ended_by_the_server_too(url: str) -> None:
    """What the client has given up on does not go on working."""
    with DatabaseStorage(url, timeout=0.5) as storage, storage._engine.connect() as connection:
        slow = (
            "SELECT pg_sleep(60)"
            if connection.dialect.name == "postgresql"
            else "SELECT count(*) FROM information_schema.columns a, information_schema.columns b, "
            "information_schema.columns c"
        )
        with pytest.raises(sa.exc.OperationalError) as raised:
            connection.exec_driver_sql(slow)
        assert raised.value.orig is not None
        assert code_of(raised.value.orig) in ("57014", 1969, 3024)
