"""Schema versions: from the guide's own table to this package's, with every record and while clients write."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import guide_tables
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    CorruptStorageError,
    DatabaseStorage,
    ProgressQuery,
    StorageUnavailableError,
    migrations,
)
from pytest_aistorage.backends._schema import SCHEMA_TABLE, SCHEMA_VERSION, Tables
from pytest_aistorage.cli import main
from pytest_aistorage.migrations import _guide_mysql, _state

PATIENCE = 60.0


def command(*arguments: str) -> tuple[int, str]:
    """Run `aistorage schema`; return its exit status and what it said."""
    done = CliRunner().invoke(main, ["schema", *arguments])
    return done.exit_code, done.output.strip()


def stored(url: str) -> dict[str, AIProgress]:
    """Every record of a database, by name."""
    with DatabaseStorage(url, timeout=30) as storage:
        return {record.model_name: record for record in storage.load_progress()}


def same(got: AIProgress, meant: AIProgress) -> bool:
    """Whether a record holds what was written before there were versions."""
    fields = ("mse", "accuracy", "training_samples", "training_start", "training_end", "metadata")
    return got.version == 1 and all(getattr(got, name) == getattr(meant, name) for name in fields)


# -- from the guide's table ---------------------------------------------------------------------------------


def test_the_guides_table_keeps_every_record(guide_database: Any) -> None:
    """All records, value by value; then versions count up, names are exact, and queries find metadata."""
    url = guide_database.url
    assert command("--current", url) == (0, "0001 (the guide's table; not recorded)")
    assert command("--upgrade", url) == (0, "0001 (the guide's table; not recorded) -> 0002 (current)")
    found = stored(url)
    assert found.keys() == guide_database.records.keys()
    assert [name for name, record in found.items() if not same(record, guide_database.records[name])] == []
    assert found["model 1 ä"].created_at == guide_tables.START
    with DatabaseStorage(url) as storage:
        assert storage.save_progress(found["model 1 ä"], expected_version=1).version == 2
        assert storage.save_progress(AIProgress(model_name="MODEL 1 Ä", mse=0.5)).version == 1
        assert storage.delete_progress("model 2") == 2
        (match,) = storage.query_progress(ProgressQuery(metadata={"z": 7}))
        assert match.model_name == "model 7 ä"


def test_migrated_tables_are_those_that_are_made_anew(guide_database: Any, request: Any) -> None:
    """Column by column: type, collation, null, default; the same indexes."""
    assert command("--upgrade", guide_database.url)[0] == 0
    made = request.getfixturevalue(f"{guide_database.product}_server").create_database()
    with DatabaseStorage(made) as storage:
        storage.save_progress(AIProgress(model_name="m", mse=0.5))
        assert _shape(guide_database.engine) == _shape(storage._engine)


def _shape(engine: sa.Engine) -> dict[str, Any]:
    inspector = sa.inspect(engine)
    shape: dict[str, Any] = {}
    for table in ("ai_progress", "ai_progress_versions", SCHEMA_TABLE):
        columns = {
            column["name"]: (repr(column["type"]), column["nullable"], column["default"], column["comment"])
            for column in inspector.get_columns(table)
        }
        if engine.dialect.name == "postgresql":
            kinds = (
                "SELECT column_name, data_type, datetime_precision, collation_name "
                f"FROM information_schema.columns WHERE table_name = '{table}'"
            )
            with engine.connect() as connection:
                kind = connection.execute(sa.text(kinds)).all()
            columns["kinds"] = sorted(map(tuple, kind))  # type: ignore[assignment]
        indexes = sorted((index["name"], index["column_names"]) for index in inspector.get_indexes(table))
        shape[table] = (columns, inspector.get_pk_constraint(table)["constrained_columns"], indexes)
    return shape


def test_moments_without_a_zone_are_taken_for_what_the_operator_says(postgres_server: Any) -> None:
    """12:30 in Berlin in March is 11:30 in UTC; an unknown zone changes nothing."""
    url = postgres_server.create_database()
    with DatabaseStorage(url) as storage, storage._engine.connect() as connection:
        guide_tables.create(connection, "postgres")
        guide_tables.fill(connection, 2)
    assert command("--upgrade", url, "--time-zone", "Europe/Atlantis")[0] == 1
    assert command("--current", url)[1].startswith("0001")
    assert command("--upgrade", url, "--time-zone", "Europe/Berlin")[0] == 0
    assert stored(url)["model 0"].training_start == guide_tables.START - timedelta(hours=1)


@pytest.mark.parametrize(
    ("product", "column", "value", "said"),
    [
        ("postgres", "mse", "'NaN'", "mse: must be finite"),
        ("postgres", "training_end", "'infinity'", "training_end"),
        ("postgres", "training_samples", "-1", "training_samples: must lie from 0"),
        ("postgres", "metadata", "'[1]'", "metadata"),
        ("mysql", "metadata", "'[1]'", "metadata"),
        ("mysql", "training_samples", "-1", "training_samples: must lie from 0"),
    ],
)
def test_a_record_that_breaks_a_rule_is_named_and_nothing_changes(
    request: pytest.FixtureRequest, product: str, column: str, value: str, said: str
) -> None:
    """The operator mends it and upgrades then; until then the table is the guide's."""
    url = request.getfixturevalue(f"{product}_server").create_database()
    with DatabaseStorage(url) as storage:
        with storage._engine.connect() as connection:
            guide_tables.create(connection, product)
            records = guide_tables.fill(connection, 3)
            connection.execute(sa.text(f"UPDATE ai_progress SET {column} = {value} WHERE id = 2"))
        with pytest.raises(CorruptStorageError, match="1 of its records") as raised:
            migrations.upgrade(url)
        assert f"model 'model 1 ä': {said}" in str(raised.value)
        with storage._engine.connect() as connection:
            columns = {column["name"] for column in sa.inspect(connection).get_columns("ai_progress")}
            assert "version" not in columns
            connection.execute(sa.text("DELETE FROM ai_progress WHERE id = 2"))
    migrations.upgrade(url)
    assert stored(url).keys() == records.keys() - {"model 1 ä"}


# -- while others are at it ---------------------------------------------------------------------------------


def test_what_was_acknowledged_while_migrating_is_kept(guide_database: Any) -> None:
    """The guide's application inserts during the upgrade: each insert that succeeded is there, the others failed."""
    began, acknowledged = threading.Event(), []

    def insert() -> str:
        for number in range(10**6):
            try:
                with guide_database.engine.begin() as connection:
                    guide_tables.insert(connection, f"late {number}")
            except sa.exc.DBAPIError as error:
                return str(error.orig)
            acknowledged.append(f"late {number}")
            if number == 20:
                began.set()
        raise AssertionError("the upgrade never ended")

    with ThreadPoolExecutor(1) as thread:
        outcome = thread.submit(insert)
        assert began.wait(PATIENCE)
        migrations.upgrade(guide_database.url)
        # A writer that knows nothing of versions is refused from now on, instead of confusing them.
        assert "version" in outcome.result(PATIENCE)
    found = stored(guide_database.url)
    assert found.keys() == guide_database.records.keys() | set(acknowledged)


def test_several_upgrades_at_once(guide_database: Any) -> None:
    """Three replicas of an application start together: all succeed, and the work is done once."""
    upgrade = [sys.executable, "-m", "pytest_aistorage.cli", "schema", "--upgrade", guide_database.url]
    with contextlib.ExitStack() as stack:
        with guide_database.engine.connect() as connection:
            # None of them can begin before all have come.
            _hold(connection)
            running = [subprocess.Popen(upgrade, stdout=subprocess.PIPE, text=True) for _ in range(3)]
            for process in running:
                stack.enter_context(process)
                stack.callback(process.kill)
            deadline = time.monotonic() + PATIENCE
            while _held_up(connection) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            connection.invalidate()
        said = [process.communicate(timeout=PATIENCE)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    found = stored(guide_database.url)
    assert found.keys() == guide_database.records.keys()
    assert all(record.version == 1 for record in found.values())


def _hold(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SELECT pg_advisory_lock({_state._LOCK_NUMBER})"))
    else:
        connection.execute(
            sa.text(f"SELECT GET_LOCK(CONCAT('{_state._LOCK_NAME} ', LEFT(SHA2(DATABASE(), 256), 40)), 0)")
        )


def _held_up(connection: sa.Connection) -> int:
    if connection.dialect.name == "postgresql":
        count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    else:
        count = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock'"
    return int(connection.execute(sa.text(count)).scalar_one())


def test_a_transaction_that_holds_the_table_is_not_waited_for_without_end(
    guide_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes after an upgrade waits behind it: it gives up, typed, and nothing has changed."""
    monkeypatch.setattr("pytest_aistorage.migrations._state.LOCK_SECONDS", 1)
    with guide_database.engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        guide_tables.insert(connection, "unfinished")
        with pytest.raises(StorageUnavailableError) as raised:
            migrations.upgrade(guide_database.url)
        password = guide_database.engine.url.password
        assert isinstance(password, str)
        assert password not in str(raised.value)
        connection.rollback()
    assert str(migrations.current(guide_database.url)).startswith("0001")
    migrations.upgrade(guide_database.url)
    assert stored(guide_database.url).keys() == guide_database.records.keys()


@pytest.mark.parametrize("step", ["_rewrite_rows", "_last_changes"])
def test_an_interrupted_upgrade_is_finished_by_the_next(
    mysql_server: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """MySQL has no transaction around ALTER TABLE: between its steps no storage opens the database."""
    url = mysql_server.create_database()
    with DatabaseStorage(url) as storage, storage._engine.connect() as connection:
        guide_tables.create(connection, "mysql")
        records = guide_tables.fill(connection, 30)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_guide_mysql, step, killed)
        with pytest.raises(KeyboardInterrupt):
            migrations.upgrade(url)
    with DatabaseStorage(url) as storage, pytest.raises(ConfigurationError, match="needs 0002"):
        storage.load_progress()
    migrations.upgrade(url)
    found = stored(url)
    assert [name for name, record in records.items() if not same(found[name], record)] == []


# -- what a storage says ------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each product."""
    if request.param == "sqlite":
        yield DatabaseStorage.fresh_url(tmp_path)
    else:
        yield request.getfixturevalue(f"{request.param}_server").create_database()


def test_a_schema_that_is_newer_or_older_is_told(url: str) -> None:
    """Newer: install a newer package; older: the command to run. Neither is changed, and no record is lost."""
    with DatabaseStorage(url) as storage:
        storage.save_progress(AIProgress(model_name="m", mse=0.5))
        for version, said in (("9999", "newer pytest-aistorage"), ("0001", "--upgrade")):
            with storage._engine.begin() as connection:
                connection.execute(sa.text(f"UPDATE {SCHEMA_TABLE} SET version_num = '{version}'"))
            with DatabaseStorage(url) as other, pytest.raises(ConfigurationError, match=said):
                other.get_progress("m")
        with storage._engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE {SCHEMA_TABLE} SET version_num = '9999'"))
        assert command("--upgrade", url)[0] == 1
        with storage._engine.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM {SCHEMA_TABLE}"))
    # A test suite's clean-up deletes the version, too: then the columns speak.
    assert stored(url).keys() == {"m"}
    assert command("--upgrade", url) == (0, "0002 (current; not recorded) -> 0002 (current)")


def test_a_database_without_tables_gets_them(url: str) -> None:
    """`--upgrade` serves whoever lets no application create tables; a second time it changes nothing."""
    assert command("--current", url) == (0, "no tables")
    with_options = f"{url}{'&' if '?' in url else '?'}timeout=9&durability=declared"
    assert command("--upgrade", with_options) == (0, "no tables -> 0002 (current)")
    assert command("--upgrade", url) == (0, "0002 (current) -> 0002 (current)")
    assert stored(url) == {}


def test_the_guides_table_is_told(guide_database: Any) -> None:
    """The error names the command, before anything is written."""
    with DatabaseStorage(guide_database.url) as storage:
        with pytest.raises(ConfigurationError, match="aistorage schema --upgrade"):
            storage.save_progress(AIProgress(model_name="m", mse=0.5))
        assert storage.health_check() is False


def test_a_table_of_another_making_is_left_alone(tmp_path: Path) -> None:
    """Neither the guide's nor ours: the error names a column that is missing."""
    url = DatabaseStorage.fresh_url(tmp_path)
    with DatabaseStorage(url) as storage, storage._engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE ai_progress (model_name TEXT PRIMARY KEY)"))
    status, said = command("--upgrade", url)
    assert (status, "no column accuracy" in said) == (1, True)


def test_the_stamp_is_alembics_head() -> None:
    """What is made on demand has the version of the last migration that is shipped."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    settings = Config()
    settings.set_main_option("script_location", "pytest_aistorage:migrations")
    settings.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(settings)
    assert scripts.get_current_head() == SCHEMA_VERSION
    assert Tables("sqlite").schema.name == SCHEMA_TABLE


def test_an_operators_own_alembic_runs_them(postgres_server: Any, tmp_path: Path) -> None:
    """With three lines of alembic.ini, and beside the application's own ``alembic_version``."""
    url = postgres_server.create_database()
    (tmp_path / "alembic.ini").write_text(
        f"[alembic]\nscript_location = pytest_aistorage:migrations\npath_separator = os\nsqlalchemy.url = {url}\n"
    )
    alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
    done = subprocess.run(
        alembic, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert command("--current", url) == (0, "0002 (current)")


@pytest.mark.parametrize(
    ("kept", "meant"),
    [
        (guide_tables.as_32_bits(0.93), 0.93),
        (guide_tables.as_32_bits(0.123456789), 0.12345679),
        (0.5, 0.5),
        (0.93, 0.93),  # no 32-bit number: nobody's rounding
        (1e300, 1e300),
        (guide_tables.as_32_bits(-1e-40), -1e-40),
    ],
)
def test_numbers_of_32_bits_become_what_was_meant(kept: float, meant: float) -> None:
    """MySQL's FLOAT keeps 0.93 as 0.9300000071525574; read as 32 bits again, both are the same."""
    assert _guide_mysql.shortest_float32(kept) == meant
    if abs(kept) < 1e38:
        assert guide_tables.as_32_bits(meant) == guide_tables.as_32_bits(kept)
