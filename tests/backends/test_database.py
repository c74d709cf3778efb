"""What is special to the database storage: its tables, the traps of each product, engines that are handed in."""

from __future__ import annotations

import dataclasses
import functools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    ConfigurationError,
    CorruptStorageError,
    DatabaseStorage,
    ProgressQuery,
    StorageUnavailableError,
    open_storage,
)
from pytest_aistorage.backends._schema import FLAVOURS, Flavour, create_statements
from pytest_aistorage.backends._sql_errors import Failure, failure_of
from pytest_aistorage.backends._statements import metadata_parameter
from pytest_aistorage.conformance.racing import Increment, race_of_processes, race_of_threads

_M = AIProgress(model_name="m", mse=0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite file will be."""
    return tmp_path / "progress.db"


@pytest.fixture
def sqlite(path: Path) -> Iterator[AIStorage]:
    """A storage in a SQLite file."""
    with open_storage(f"sqlite:///{path}") as storage:
        yield storage


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def database_url(request: pytest.FixtureRequest, path: Path) -> str:
    """The URL of an empty database of each product."""
    if request.param == "sqlite":
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue(f"{request.param}_server").create_database()
    return url


# -- concurrency --------------------------------------------------------------------------------------------


def test_eight_processes_lose_nothing_on_sqlite(path: Path) -> None:
    """8 processes that count one model up 25 times each, from the first connection on: 200."""
    url = f"sqlite:///{path}"
    with open_storage(url) as storage:
        storage.save_progress(dataclasses.replace(_M, metadata={"sight": "x"}))
        outcomes = race_of_processes(
            functools.partial(open_storage, url), Increment("m", "x", 25, "update"), 8
        )
        assert [outcome.error for outcome in outcomes] == [None] * 8
        kept = storage.get_progress("m")
    assert kept is not None
    assert (kept.version, kept.training_samples) == (201, 200)


def test_first_users_create_the_tables_at_once(database_url: str) -> None:
    """Clients that meet an empty database at the same time all succeed."""

    def race(storage: AIStorage, number: int) -> int:
        return storage.save_progress(AIProgress(model_name=f"m{number}", mse=0.5)).version

    outcomes = race_of_threads(functools.partial(open_storage, database_url), race, 6)
    assert [(outcome.returned, outcome.error) for outcome in outcomes] == [(1, None)] * 6


def test_a_first_batch_goes_without_a_warning(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """That the tables are not there yet is no news for the log, as psycopg takes it in a pipeline."""
    with DatabaseStorage(database_url) as storage:
        saved = storage.save_many([dataclasses.replace(_M, model_name=f"m{n}") for n in range(100)])
        assert {record.version for record in saved} == {1}
    assert [record.getMessage() for record in caplog.records] == []


def test_a_table_that_is_made_meanwhile_is_no_failure() -> None:
    """SQLite says SQLITE_SCHEMA of a table that another client makes while the statement is prepared."""
    missing = sqlite3.OperationalError("no such table: ai_progress_schema")
    missing.sqlite_errorcode = sqlite3.SQLITE_SCHEMA
    changed = sqlite3.OperationalError("database schema has changed")
    changed.sqlite_errorcode = sqlite3.SQLITE_SCHEMA
    assert failure_of(missing, "sqlite") is Failure.NO_TABLE
    assert failure_of(changed, "sqlite") is Failure.BUSY


def test_dropped_tables_come_back(database_url: str) -> None:
    """A test suite's clean-up may drop the tables under an open storage."""
    with DatabaseStorage(database_url) as storage:
        storage.save_progress(_M)
        with storage._engine.begin() as connection:
            for table in ("ai_progress", "ai_progress_versions"):
                connection.execute(sa.text(f"DROP TABLE {table}"))
        assert storage.get_progress("m") is None
        assert storage.save_progress(_M).version == 1


# -- tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_schema_has_the_guides_columns(flavour: Flavour) -> None:
    """The guide's columns, plus version; the unique name; the index on created_at; no 32-bit floats."""
    written = create_statements(flavour)
    for column in (
        "id",
        "model_name",
        "training_start",
        "training_end",
        "accuracy",
        "mse",
        "training_samples",
    ):
        assert column in written
    for column in ("cross_validation_score", "metadata", "version", "created_at", "updated_at"):
        assert column in written
    assert "idx_ai_progress_created_at" in written
    assert "FLOAT" not in written
    assert "DOUBLE" in written


def test_printed_schema_is_the_one_that_is_used(path: Path) -> None:
    """Tables made by the printed statements serve a storage."""
    connection = sqlite3.connect(path)
    connection.executescript(create_statements("sqlite"))
    connection.close()
    with open_storage(f"sqlite:///{path}") as storage:
        assert storage.save_progress(_M).version == 1


def test_tables_of_another_making_are_told(path: Path) -> None:
    """A table of that name with other columns raises ConfigurationError."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE ai_progress (model_name TEXT PRIMARY KEY, mse REAL)")
    connection.commit()
    connection.close()
    with open_storage(f"sqlite:///{path}") as storage, pytest.raises(ConfigurationError):
        storage.save_progress(_M)


def test_file_that_is_no_database_is_corrupt(path: Path) -> None:
    """A foreign file raises CorruptStorageError, or is unavailable, and stays as it is."""
    path.write_bytes(b"no database at all, and longer than the header of one" * 20)
    before = path.read_bytes()
    with open_storage(f"sqlite:///{path}") as storage:
        with pytest.raises((CorruptStorageError, StorageUnavailableError)):
            storage.load_progress()
        assert storage.health_check() is False
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value"),
    [("metadata", "no json"), ("metadata", "[1]"), ("training_start", "yesterday"), ("created_at", 7)],
)
def test_damaged_column_is_corrupt(sqlite: AIStorage, path: Path, column: str, value: Any) -> None:
    """A value that this package did not write raises CorruptStorageError."""
    sqlite.save_progress(_M)
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE ai_progress SET {column} = ?", (value,))
    connection.commit()
    connection.close()
    with pytest.raises(CorruptStorageError):
        sqlite.get_progress("m")


# -- traps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (1e16, "10000000000000000.0"),
        (1e22, "10000000000000000000000.0"),
        (1.5e-7, "0.00000015"),
        (-1e16, "-10000000000000000.0"),
        ("1e16", '"1e16"'),
        ('"1e16', '"\\"1e16"'),
        ({"1e5": 1.0}, '{"1e5":1.0}'),
    ],
)
def test_floats_are_written_so_that_jsonb_keeps_them(given: Any, written: str) -> None:
    """JSONB would make ints of 1e16 and the like; texts that look like them are left alone."""
    assert metadata_parameter("postgresql", {"k": given}) == f'{{"k":{written}}}'
    assert metadata_parameter("sqlite", {"k": 1e16}) == '{"k":1e+16}'


def test_metadata_in_postgres_is_jsonb_that_sql_can_ask(postgres_server: Any) -> None:
    """The application's own SQL sees a number as a number."""
    with DatabaseStorage(postgres_server.create_database()) as storage:
        storage.save_progress(dataclasses.replace(_M, metadata={"large": 2**63 - 1, "f": 1e300}))
        with storage._engine.connect() as connection:
            row = connection.execute(
                sa.text("SELECT metadata->>'large', jsonb_typeof(metadata->'f') FROM ai_progress")
            ).one()
        assert tuple(row) == (str(2**63 - 1), "number")


def test_postgres_settings_of_the_session_change_nothing(postgres_server: Any) -> None:
    """Neither the role's time zone nor its date style or float digits reach what is stored."""
    from datetime import UTC, datetime

    url = postgres_server.create_database()
    moment = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    given = dataclasses.replace(_M, mse=0.1 + 0.2, training_end=moment, metadata={"f": 0.1 + 0.2})
    settings = "-c timezone=Asia/Kathmandu -c datestyle=German -c extra_float_digits=-15"
    joint = "&" if "?" in url else "?"
    with DatabaseStorage(f"{url}{joint}options={settings}") as storage:
        storage.save_progress(given)
    with DatabaseStorage(url) as storage:
        got = storage.get_progress("m")
    assert got is not None
    assert (got.mse, got.training_end, got.metadata) == (given.mse, moment, {"f": 0.1 + 0.2})


def test_mysql_keeps_names_floats_and_text_exactly(mysql_server: Any) -> None:
    """Whatever the database's own character set and collation are."""
    url = mysql_server.create_database()
    with DatabaseStorage(url) as storage:
        name = url.rpartition("/")[2].partition("?")[0]
        with storage._engine.begin() as connection:
            connection.execute(sa.text(f"ALTER DATABASE {name} CHARACTER SET latin1"))
        for index, model in enumerate(("a", "A", "a ", "ä", "😀")):
            storage.save_progress(
                AIProgress(model_name=model, mse=0.1 + index, metadata={"n": 2**53 + 1, "t": "😀"})
            )
        kept = {record.model_name: record for record in storage.load_progress()}
    assert sorted(kept) == ["A", "a", "a ", "ä", "😀"]
    assert kept["a "].mse == 2.1
    assert all(record.metadata == {"n": 2**53 + 1, "t": "😀"} for record in kept.values())


# -- queries ------------------------------------------------------------------------------------------------


def test_query_by_metadata_goes_beyond_one_scan(sqlite: AIStorage) -> None:
    """Matches that are far apart are found, at and around the number that one statement looks at."""
    sqlite.save_many(
        AIProgress(model_name=f"m{index:04}", mse=float(index), metadata={"n": index})
        for index in range(1201)
    )
    for index in (0, 499, 500, 501, 999, 1000, 1200):
        (found,) = sqlite.query_progress(ProgressQuery(metadata={"n": index}, order_by="-mse"))
        assert found.model_name == f"m{index:04}"


def test_text_that_looks_like_a_condition_is_no_match(sqlite: AIStorage) -> None:
    """The server's filter is by text; what only looks alike is left out, and the limit is still met."""
    sqlite.save_many(
        AIProgress(model_name=f"m{index:04}", mse=0.5, metadata={"t": '"k":1'} if index < 600 else {"k": 1})
        for index in range(602)
    )
    found = sqlite.query_progress(ProgressQuery(metadata={"k": 1}, limit=1))
    assert [record.model_name for record in found] == ["m0600"]


# -- configuration ------------------------------------------------------------------------------------------


def test_engine_that_is_handed_in_is_used_and_never_closed(path: Path) -> None:
    """The caller's engine works on after close, in the state in which it was."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with DatabaseStorage(db=engine) as storage:
        storage.save_progress(_M)
    with DatabaseStorage(db=engine) as storage, engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM ai_progress")).scalar() == 1
        assert storage.get_progress("m") is not None
    engine.dispose()


@pytest.mark.parametrize(
    "options",
    [{}, {"url": "sqlite:///x.db", "db": sa.create_engine("sqlite://")}, {"db": "sqlite:///x.db"}],
    ids=["neither", "both", "no engine"],
)
def test_needs_either_a_url_or_an_engine(options: dict[str, Any]) -> None:
    """Neither, both, or something else raises ConfigurationError."""
    with pytest.raises(ConfigurationError):
        DatabaseStorage(**options)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host/x.db",
        "postgresql://user:hunter2@host",
        "postgresql://user:hunter2@host/",
        "postgresql+psycopg2://user:hunter2@host/db",
        "mysql+mysqldb://user:hunter2@host/db",
        "mysql://user:hunter2@host",
        "sqlite:///x.db?pool_size=0",
        "sqlite:///x.db?timeout=never",
    ],
)
def test_bad_url_is_refused_without_its_password(url: str) -> None:
    """What can't lead to a database raises ConfigurationError at once."""
    with pytest.raises(ConfigurationError) as caught:
        open_storage(url)
    assert "hunter2" not in f"{caught.value!r} {caught.value}"


def test_password_is_shown_nowhere() -> None:
    """Neither in the repr nor in the error of a server that is not there."""
    with open_storage("postgresql://user:hunter2@127.0.0.1:1/db?timeout=1") as storage:
        with pytest.raises(StorageUnavailableError) as caught:
            storage.get_progress("m")
        shown = f"{storage!r} {caught.value!r} {caught.value}"
    assert "hunter2" not in shown
    assert "127.0.0.1:1" in shown


def test_directory_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    """A SQLite file that can't be opened raises StorageUnavailableError that says where it should be."""
    with (
        open_storage(f"sqlite:///{tmp_path}/missing/x.db") as storage,
        pytest.raises(StorageUnavailableError, match="missing"),
    ):
        storage.save_progress(_M)


def test_locked_database_is_given_up_in_time(path: Path, sqlite: AIStorage) -> None:
    """Where another program holds the lock, a save ends with the time limit, and nothing is written."""
    sqlite.save_progress(_M)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with open_storage(f"sqlite:///{path}?timeout=0.2") as hasty:
            with pytest.raises(StorageUnavailableError):
                hasty.save_progress(_M)
            assert hasty.get_progress("m") is not None, "readers are not held up"
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert sqlite.save_progress(_M).version == 2


def test_info_names_product_and_version(database_url: str) -> None:
    """The server is named with its version, the location without its password."""
    with open_storage(database_url) as storage:
        info = storage.get_storage_info()
    product, _, version = info.server.partition(" ")
    assert product in ("SQLite", "PostgreSQL", "MySQL", "MariaDB")
    assert version[0].isdigit()
    assert info.location.split(":", 1)[0] == database_url.split(":", 1)[0]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://127.0.0.1:1/db?foo=1", "foo"),
        ("postgresql://127.0.0.1:1/db?foo=1", "foo"),
        ("sqlite:///x.db?plugin=foo", "plugin"),
        ("postgresql://127.0.0.1:1/db?connect_timeout=soon", "connect_timeout"),
        ("sqlite:///x.db?pool_size=none", "pool_size"),
    ],
)
def test_a_parameter_that_no_driver_knows_is_refused_at_once(url: str, named: str) -> None:
    """A misspelt parameter is told when the storage is opened, by its name."""
    with pytest.raises(ConfigurationError, match=named):
        open_storage(url)
    with pytest.raises(ConfigurationError, match=named):
        DatabaseStorage(url)


def test_options_in_the_url_reach_the_class_as_well() -> None:
    """DatabaseStorage(url) and open_storage(url) read a URL alike."""
    with DatabaseStorage("sqlite:///x.db?timeout=2&pool_size=1") as storage:
        assert "timeout" not in repr(storage)


@pytest.mark.parametrize("options", [{"pool_size": "x"}, {"pool_size": True}, {"max_overflow": -5}])
def test_options_by_keyword_are_checked(options: dict[str, Any]) -> None:
    """What the pool would choke on later is refused now."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        DatabaseStorage("sqlite:///x.db", **options)


def test_a_mysql_password_beyond_latin_1_can_be_used() -> None:
    """It reaches the network, and no error shows it."""
    with open_storage("mysql://u:p\u20ac-hunter2@127.0.0.1:1/db", timeout=2) as storage:
        with pytest.raises(StorageUnavailableError) as caught:
            storage.get_progress("m")
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
