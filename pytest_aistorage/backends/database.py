"""Records in a SQL database: SQLite, PostgreSQL, MySQL or MariaDB."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from .. import codec, config, queries
from .._failpoints import reach
from ..capabilities import Capability
from ..errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
    VersionConflictError,
)
from ..progress import AIProgress, ProgressQuery
from ..storage import DEFAULT_TIMEOUT, AIStorage, Change, ChangeRaised

try:
    import sqlalchemy as sa
except ImportError:  # pragma: no cover - a dependency of the distribution, but an image may leave it out
    raise config.missing_extra("database", "sqlalchemy", "postgres") from None

from ._connections import Row, Session, engine_from_url, flavour_of, open_session
from ._schema import Flavour
from ._sql_errors import Failure, failure_of, is_already_there, is_driver_error
from ._statements import FIELDS, Statements, metadata_parameter

__all__ = ["DatabaseStorage"]

T = TypeVar("T")

_PRODUCTS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
_SCAN = 500
"""Records that a query by metadata looks at in one statement."""


class DatabaseStorage(AIStorage):
    """Records in a table ``ai_progress``, one row a model, on SQLite, PostgreSQL, MySQL or MariaDB.

    Every change of a model runs under the lock of its row in ``ai_progress_versions``, so changes of one model
    happen one at a time and each takes the next version. The tables are created with the first use.

    Args:
        url: ``sqlite:///file.db``, ``postgresql://…``, ``mysql://…`` or ``mariadb://…``.
        db: a SQLAlchemy engine to use instead; it is never closed.
        timeout: seconds that one exchange with the server may take; PostgreSQL's connecting takes at least 2.
        pool_size: connections kept open.
        max_overflow: connections opened beyond those for a while, when all are in use.

    Raises:
        ConfigurationError: a URL that can't be read, a driver that is missing, an engine of an unknown kind.
    """

    type: ClassVar[str] = "database"
    schemes: ClassVar[tuple[str, ...]] = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")

    def __init__(
        self,
        url: str | None = None,
        *,
        db: sa.Engine | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        pool_size: int = 5,
        max_overflow: int = 10,
    ) -> None:
        if (url is None) == (db is None):
            raise ConfigurationError("a database storage needs either a URL or an engine (db=…)")
        self._timeout = config.seconds("timeout", timeout)
        self._secret = ""
        if db is not None:
            if not isinstance(db, sa.Engine):
                raise ConfigurationError(f"option db: must be a SQLAlchemy Engine, not {_type_name(db)}")
            self._engine, self._owned = db, False
            self._where = config.redact(db.url.render_as_string(hide_password=False))
        else:
            assert url is not None
            parts = config.StorageURL.parse(url)
            self._engine, self._owned = (
                engine_from_url(parts, timeout=self._timeout, pool_size=pool_size, max_overflow=max_overflow),
                True,
            )
            self._where, self._secret = str(parts), parts.password or ""
        flavour_of(self._engine)
        self.capabilities = frozenset(Capability) - {Capability.EXPIRY}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open the database that the URL names.

        Args:
            url: ``?timeout=``, ``?pool_size=`` and ``?max_overflow=`` are options; all else is the driver's.
            options: the same, and ``db``, an engine that is used instead of connecting by the URL.
        """
        parts, given = config.option_of(config.StorageURL.parse(url), options, _OPTIONS)
        if "db" in given:
            return cls(**given)
        return cls(parts.render(), **given)

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Return the URL of a SQLite file that does not exist yet."""
        return config.StorageURL.parse(f"sqlite:///{(tmp_path / 'aistorage.db').as_posix()}").render()

    # -- hooks ----------------------------------------------------------------------------------------------

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        def save(session: Session, sql: Statements) -> AIProgress:
            reach("before_write")
            if expected is not None:
                _lock(session, sql, record.model_name)
                _check(session, sql, record.model_name, expected)
                reach("after_read")
            return _put(session, sql, record)

        if expected is None and self._prepared.sql.save is not None:
            return self._run(_save_at_once(record), writing=True)
        return self._run(save, writing=True, transaction=True)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        # Locked in one order, whatever the caller's, so that two batches don't wait for each other.
        in_order = sorted(records, key=lambda record: record.model_name)

        def save(session: Session, sql: Statements) -> list[AIProgress]:
            reach("before_write")
            if sql.save is None:
                return [_put(session, sql, record) for record in in_order]
            rows = session.many(sql.save, [_parameters(sql.flavour, record) for record in in_order])
            return [_stamped(record, row) for record, row in zip(in_order, rows, strict=True)]

        saved = {r.model_name: r for r in self._run(save, writing=True, transaction=True)}
        return [saved[record.model_name] for record in records]

    def _get(self, model_name: str) -> AIProgress | None:
        def get(session: Session, sql: Statements) -> list[Row]:
            return session.rows(sql.get, {"model_name": model_name})

        rows = self._run(get)
        reach("after_read")
        return _record(rows[0]) if rows else None

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        last = ""
        while True:
            parameters = {"last": last, "batch_size": batch_size}

            def page(session: Session, sql: Statements, given: Mapping[str, Any] = parameters) -> list[Row]:
                return session.rows(sql.page, given)

            rows = self._run(page)
            yield from map(_record, rows)
            if len(rows) < batch_size:
                return
            last = rows[-1][0]

    def _load(self) -> list[AIProgress]:
        return [_record(row) for row in self._run(lambda session, sql: session.rows(sql.load, {}))]

    def _update(self, model_name: str, change: Change) -> AIProgress:
        def update(session: Session, sql: Statements) -> AIProgress:
            _lock(session, sql, model_name)
            rows = session.rows(sql.get, {"model_name": model_name})
            reach("after_read")
            result = change(_record(rows[0]) if rows else None)
            reach("before_write")
            return _put(session, sql, result)

        return self._run(update, writing=True, transaction=True)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        def delete(session: Session, sql: Statements) -> int | None:
            this = {"model_name": model_name}
            if not session.rows(sql.stored_version, this) and not expected:
                return None  # nothing to lock, and no row of versions for a model that was never saved
            _lock(session, sql, model_name)
            if not _check(session, sql, model_name, expected):
                return None
            reach("before_write")
            session.execute(sql.delete, this)
            session.execute(sql.next_version, this)
            return int(session.rows(sql.last_version, this)[0][0])

        return self._run(delete, writing=True, transaction=True)

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        if not query.metadata:
            return self._page(query)
        found: list[AIProgress] = []
        page = _limited(query, _SCAN)
        while True:
            candidates = self._page(page)
            found.extend(record for record in candidates if queries.metadata_matches(query, record))
            if len(candidates) < _SCAN or (query.limit is not None and len(found) >= query.limit):
                return found[: query.limit]
            page = _limited(query, _SCAN, after=candidates[-1])

    def _page(self, query: ProgressQuery) -> list[AIProgress]:
        def select(session: Session, sql: Statements) -> list[Row]:
            statement, parameters = sql.query(query)
            return session.rows(
                statement, {name: _parameter(sql.flavour, value) for name, value in parameters.items()}
            )

        return [_record(row) for row in self._run(select)]

    def _count(self) -> int:
        return int(self._run(lambda session, sql: session.rows(sql.count, {}))[0][0])

    def _server(self) -> str:
        return self._prepared.server

    def _ping(self) -> None:
        self._run(lambda session, sql: session.rows(sql.ping, {}))

    def _close(self) -> None:
        if self._owned:
            self._engine.dispose()

    def _location(self) -> str:
        return self._where

    # -- execution ------------------------------------------------------------------------------------------

    def _run(
        self, work: Callable[[Session, Statements], T], *, writing: bool = False, transaction: bool = False
    ) -> T:
        """Do the work on one connection; again, as long as there is time, where it surely had no effect.

        Args:
            work: executes statements; may run several times.
            writing: a broken connection leaves the outcome unknown.
            transaction: between BEGIN and COMMIT, so that only a break in COMMIT leaves the outcome unknown.
        """
        prepared = self._prepared
        deadline = time.monotonic() + self._timeout
        attempt = created = 0
        while True:
            attempt += 1
            session = self._session()
            risky = writing and not transaction
            try:
                if transaction:
                    session.begin()
                result = work(session, prepared.sql)
                if transaction:
                    reach("before_commit")
                    risky = writing
                    session.commit()
            except BaseException as error:
                failure = self._end(session, error, prepared.sql.flavour)
                if failure is None:
                    raise
                if failure is Failure.NO_TABLE and created < 3:
                    created += 1
                    self._create_tables(prepared)
                elif failure is Failure.LOST and not writing and attempt == 1 and time.monotonic() < deadline:
                    pass  # a read does no harm twice, and the second time the connection is new
                elif failure is not Failure.BUSY or time.monotonic() >= deadline:
                    raise self._typed(failure, error, risky) from error
                else:
                    time.sleep(random.uniform(0, min(0.001 * 2**attempt, 0.02)))
                continue
            session.release()
            return result

    def _session(self) -> Session:
        try:
            return open_session(self._engine)
        except Exception as error:
            raise self._not_connected(error) from error

    def _not_connected(self, error: Exception) -> AIStorageError:
        if not (is_driver_error(error) or isinstance(error, (sa.exc.SQLAlchemyError, OSError))):
            raise error
        return StorageUnavailableError(f"{self._where}: {self._said(error)}")

    def _create_tables(self, prepared: _Prepared) -> None:
        """Create what is missing. Several clients may do so at once."""
        for attempt in range(20):
            try:
                prepared.sql.tables.metadata.create_all(self._engine, checkfirst=True)
                return
            except sa.exc.DBAPIError as error:
                original = error.orig
                assert isinstance(original, Exception)  # what a DBAPIError wraps
                failure = failure_of(original, prepared.sql.flavour)
                # Between the check and the creation another client came first: the next check finds its table.
                if attempt == 19 or not (failure is Failure.BUSY or is_already_there(original)):
                    raise self._typed(failure, original, False) from error
                time.sleep(random.uniform(0, 0.02))

    def _end(self, session: Session, error: BaseException, flavour: Flavour) -> Failure | None:
        """Leave the connection clean, or close it; say what a driver's error means, None for any other."""
        failure = None
        if isinstance(error, Exception) and (is_driver_error(error) or isinstance(error, OSError)):
            failure = failure_of(error, flavour)
        if failure is Failure.LOST or not isinstance(error, (Exception, ChangeRaised)):
            # KeyboardInterrupt may come in the middle of an answer.
            session.discard()
            return failure
        try:
            session.rollback()
        except Exception:  # then the connection is of no use, and the first error is the one to report
            session.discard()
        else:
            session.release()
        return failure

    def _typed(self, failure: Failure, error: BaseException, risky: bool) -> AIStorageError:
        message = f"{self._where}: {self._said(error)}"
        if failure is Failure.LOST and risky:
            return OutcomeUnknownError(f"{message} (the acknowledgement was lost)")
        if failure is Failure.CORRUPT:
            return CorruptStorageError(message)
        if failure in (Failure.MISMATCH, Failure.DENIED):
            return ConfigurationError(f"{message} ({failure.value})")
        return StorageUnavailableError(message)

    def _said(self, error: BaseException) -> str:
        words = " ".join(str(error).split()) or type(error).__name__
        return words.replace(self._secret, "***") if self._secret else words

    @property
    def _prepared(self) -> _Prepared:
        prepared = _prepared_engines.get(self._engine)
        if prepared is None:
            session = self._session()
            try:
                flavour = flavour_of(self._engine)
                prepared = _Prepared(self._engine, session, flavour)
            except Exception as error:
                session.discard()
                if not is_driver_error(error):
                    raise
                raise self._not_connected(error) from error
            session.release()
            with _prepared_lock:
                prepared = _prepared_engines.setdefault(self._engine, prepared)
        return prepared


class _Prepared:
    """What is found out about an engine's server once: its flavour, its version, its statements."""

    def __init__(self, engine: sa.Engine, session: Session, flavour: Flavour) -> None:
        self.sql = Statements(flavour, engine.dialect)
        # PostgreSQL counts in two numbers, the others in three; what follows is the packager's.
        numbers = [str(part) for part in engine.dialect.server_version_info or () if isinstance(part, int)]
        self.server = f"{_PRODUCTS[flavour]} {'.'.join(numbers[: 2 if flavour == 'postgresql' else 3])}"
        if flavour == "postgresql":
            encoding = session.rows(self.sql.encoding, {})[0][0]
            if encoding != "UTF8":
                raise ConfigurationError(f"the database's encoding is {encoding}; it must be UTF8")


_prepared_engines: weakref.WeakKeyDictionary[sa.Engine, _Prepared] = weakref.WeakKeyDictionary()
_prepared_lock = threading.Lock()

_OPTIONS: Mapping[str, Callable[[str, Any], Any]] = {
    "db": lambda _name, engine: engine,
    "timeout": config.seconds,
    "pool_size": config.positive_int,
    "max_overflow": config.positive_int,
}


def _save_at_once(record: AIProgress) -> Callable[[Session, Statements], AIProgress]:
    def save(session: Session, sql: Statements) -> AIProgress:
        reach("before_write")
        assert sql.save is not None
        return _stamped(record, session.rows(sql.save, _parameters(sql.flavour, record))[0])

    return save


def _lock(session: Session, sql: Statements, model_name: str) -> None:
    """Lock the model until the transaction ends. What is read afterwards is what the last change left."""
    if sql.flavour != "sqlite":  # there BEGIN IMMEDIATE has locked the whole database
        session.execute(sql.lock, {"model_name": model_name})


def _check(session: Session, sql: Statements, model_name: str, expected: int | None) -> bool:
    """Compare the stored version with the expected one; say whether there is a record."""
    rows = session.rows(sql.stored_version, {"model_name": model_name})
    actual = int(rows[0][0]) if rows else 0
    if expected is not None and expected != actual:
        raise VersionConflictError(model_name, expected, actual)
    return bool(rows)


def _put(session: Session, sql: Statements, record: AIProgress) -> AIProgress:
    """Write the record under its next version, within a transaction."""
    given = _parameters(sql.flavour, record)
    if sql.save is not None:
        return _stamped(record, session.rows(sql.save, given)[0])
    if sql.flavour == "sqlite":
        given["version"] = session.rows(sql.bump, given)[0][0]
        given["now"] = _parameter("sqlite", datetime.now(UTC))
        return _stamped(record, session.rows(sql.put, given)[0])
    session.execute(sql.bump, given)
    given["version"] = session.rows(sql.last_version, given)[0][0]
    session.execute(sql.put, given)
    return _stamped(record, session.rows(sql.stamps, given)[0])


def _parameters(flavour: Flavour, record: AIProgress) -> dict[str, Any]:
    given = {name: _parameter(flavour, getattr(record, name)) for name in FIELDS}
    given["metadata"] = metadata_parameter(flavour, record.metadata)
    return given


def _parameter(flavour: Flavour, value: Any) -> Any:
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat(" ", "microseconds") if flavour == "sqlite" else value
    return value


def _record(row: Row) -> AIProgress:
    try:
        return AIProgress(
            model_name=row[0],
            mse=row[1],
            accuracy=row[2],
            cross_validation_score=row[3],
            training_samples=row[4],
            training_start=_moment(row[5]),
            training_end=_moment(row[6]),
            metadata=codec.metadata_from_text(row[7]),
            version=row[8],
            created_at=_moment(row[9]),
            updated_at=_moment(row[10]),
        )
    except (TypeError, ValueError) as error:
        raise CorruptStorageError(f"model {row[0]!r}: a stored column can't be read: {error}") from error


def _stamped(record: AIProgress, stamps: Row) -> AIProgress:
    version, created_at, updated_at = stamps
    return AIProgress(
        model_name=record.model_name,
        mse=record.mse,
        accuracy=record.accuracy,
        cross_validation_score=record.cross_validation_score,
        training_samples=record.training_samples,
        training_start=record.training_start,
        training_end=record.training_end,
        metadata=record.metadata,
        version=version,
        created_at=_moment(created_at),
        updated_at=_moment(updated_at),
    )


def _moment(stored: Any) -> datetime | None:
    """The stored moment, which is UTC and does not say so."""
    if stored is None:
        return None
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return stored.replace(tzinfo=UTC)  # type: ignore[no-any-return]  # a datetime, whatever the driver


def _limited(query: ProgressQuery, limit: int, *, after: AIProgress | None = None) -> ProgressQuery:
    return dataclasses.replace(query, limit=limit, after=after or query.after)


def _type_name(value: object) -> str:
    return type(value).__name__
