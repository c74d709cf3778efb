"""Records in a SQL database: SQLite, PostgreSQL, MySQL or MariaDB."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from .. import config, queries
from .._failpoints import reach
from ..capabilities import Capability
from ..errors import ConfigurationError, VersionConflictError
from ..passwords import OPTION, PasswordProvider, Passwords, checked_provider, hiding
from ..progress import AIProgress, ProgressQuery
from ..storage import DEFAULT_TIMEOUT, AIStorage, Change

try:
    import sqlalchemy as sa
except ImportError:  # pragma: no cover - a dependency of the distribution, but an image may leave it out
    raise config.missing_extra("database", "sqlalchemy", "postgres") from None

from ._adding import add_many
from ._connections import Row, Session, flavour_of
from ._durability import checked_durability
from ._engines import engine_from_url
from ._execution import Executor
from ._replica import Replica
from ._rows import parameter, parameters, record_of, stamped
from ._statements import Statements

__all__ = ["DatabaseStorage"]

_POOL_SIZE = 5
_MAX_OVERFLOW = 10
_SCAN = 500
"""Records that a query by metadata looks at in one statement."""


_REPLICATED = {
    **dict.fromkeys(("postgresql", "postgres"), "PostgreSQL"),
    **dict.fromkeys(("mysql", "mariadb"), "MySQL or MariaDB"),
}


def _replica_url(name: str, value: object) -> str:
    url = config.text(name, value)
    if config.StorageURL.parse(url).scheme.partition("+")[0] not in _REPLICATED:
        raise ConfigurationError(
            f"option {name}: must be the URL of a replica, of PostgreSQL, MySQL or MariaDB"
        )
    return url


_OPTIONS: config.OptionChecks = {
    "timeout": config.seconds,
    "pool_size": config.positive_int,
    "max_overflow": config.count,
    "replica": _replica_url,
    "durability": checked_durability,
    OPTION: checked_provider,
}


class DatabaseStorage(AIStorage):
    """Records in a table ``ai_progress``, one row a model, on SQLite, PostgreSQL, MySQL or MariaDB.

    Every change of a model runs under the lock of its row in ``ai_progress_versions``, so changes of one model
    happen one at a time and each takes the next version. The tables are created with the first use.

    Args:
        url: ``sqlite:///file.db``, ``postgresql://…``, ``mysql://…`` or ``mariadb://…``.
        db: a SQLAlchemy engine to use instead; it is never closed.
        timeout: seconds that one exchange with the server may take, 5 by default; PostgreSQL's connecting
            takes at least 2.
        pool_size: connections kept open, 5 by default.
        max_overflow: connections opened beyond those for a while, when all are in use; 10 by default.
        replica: the URL of a streaming replica of this PostgreSQL, or of a replica of this MySQL or MariaDB that
            follows by GTIDs and is ``read_only``. ``load_progress``, ``iter_progress`` and ``query_progress`` read
            there; none of them shows less than was acknowledged before its call. The primary reads where the replica
            can't, or can't yet. It gets a pool of the same size, and passwords of the same provider unless its URL
            says otherwise.
        durability: ``"verified"`` compares the server's settings with what the storage declares, before the first
            operation, which raises `ConfigurationError` where an acknowledged write could be lost. ``"declared"``,
            the default, takes the server to be set as it comes.
        password_provider: returns the password, and is asked with each new connection: one that is rotated, a token
            that expires. A callable without arguments, or text: ``file:PATH``, ``aws-rds``; see `passwords`. What it
            raises is the cause of a `StorageUnavailableError`.

    Raises:
        ConfigurationError: a URL that can't be read, a driver that is missing, an engine of an unknown kind, a
            replica of what is something else.
    """

    type: ClassVar[str] = "database"
    schemes: ClassVar[tuple[str, ...]] = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")
    url_options: ClassVar[config.OptionChecks] = _OPTIONS

    def __init__(
        self,
        url: str | None = None,
        *,
        db: sa.Engine | None = None,
        timeout: float | None = None,
        pool_size: int | None = None,
        max_overflow: int | None = None,
        replica: str | None = None,
        durability: str | None = None,
        password_provider: PasswordProvider | str | None = None,
    ) -> None:
        __tracebackhide__ = True  # as in from_url
        if (url is None) == (db is None):
            raise ConfigurationError("a database storage needs either a URL or an engine (db=…)")
        options: dict[str, Any] = {
            "timeout": timeout,
            "pool_size": pool_size,
            "max_overflow": max_overflow,
            "replica": replica,
            "durability": durability,
            OPTION: password_provider,
        }
        options = {name: value for name, value in options.items() if value is not None}
        self._owned = db is None
        if url is not None:
            parts, options = config.option_of(config.StorageURL.parse(url), options, _OPTIONS)
        elif OPTION in options:
            raise ConfigurationError(
                f"option {OPTION}: the engine that is handed in has its own way to connect"
            )
        else:
            options = {name: _OPTIONS[name](name, value) for name, value in options.items()}
        limit: float = options.get("timeout", DEFAULT_TIMEOUT)
        size: int = options.get("pool_size", _POOL_SIZE)
        overflow: int = options.get("max_overflow", _MAX_OVERFLOW)
        provider: PasswordProvider | str | None = options.get(OPTION)
        if db is None:
            self._engine, self._executor = _connecting(parts, provider, limit, size, overflow)
        elif isinstance(db, sa.Engine):
            self._engine = db
            where, secret = config.redact(db.url.render_as_string()), db.url.password
            self._executor = Executor(db, where=where, hide=hiding(secret), timeout=limit)
        else:
            raise ConfigurationError(f"option db: must be a SQLAlchemy Engine, not {type(db).__name__}")
        flavour_of(self._engine)
        self._found_tables = False
        self._most_at_once = size
        self._one_writer = flavour_of(self._engine) == "sqlite"
        if self._owned and overflow:
            self._executor.keep_sessions(size)
        self._executor.verifies_durability = options.get("durability") == "verified"
        self._replica: Replica | None = None
        if "replica" in options:
            self._open_replica(options["replica"], provider, limit, size, overflow)
        self.capabilities = frozenset(Capability) - {Capability.EXPIRY}

    def _open_replica(
        self, url: str, provider: PasswordProvider | str | None, timeout: float, size: int, overflow: int
    ) -> None:
        __tracebackhide__ = True  # as in from_url
        parts, own = config.option_of(config.StorageURL.parse(url), {}, {OPTION: checked_provider})
        product = _REPLICATED[parts.scheme.partition("+")[0]]
        if _REPLICATED.get(self._engine.dialect.name) != product:
            raise ConfigurationError(f"option replica: is one of {product}, and the database is not")
        if parts.password is None and OPTION not in own:
            own[OPTION] = provider
        self._replica_engine, executor = _connecting(parts, own.get(OPTION), timeout, size, overflow)
        if overflow:
            executor.keep_sessions(size)
        self._replica = Replica(executor, self._executor)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open the database that the URL names.

        Args:
            url: ``?timeout=``, ``?pool_size=``, ``?max_overflow=``, ``?durability=``, ``?password_provider=`` and
                ``?replica=`` (percent-encoded) are options; all else is the driver's.
            options: the same, and ``db``, an engine that is used instead of connecting by the URL.

        Raises:
            ConfigurationError: as the class does, or an unknown option.
        """
        engine = options.pop("db", None)
        __tracebackhide__ = True  # pytest would print the URL, with its password
        # An unknown keyword is an error of this package, not a TypeError.
        config.option_of(config.StorageURL.parse(url), options, _OPTIONS)
        return cls(url, **options) if engine is None else cls(db=engine, **options)

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

        if expected is None and self._executor.prepared.sql.save is not None:
            return self._executor.run(_save_at_once(record), writing=True)
        return self._executor.run(save, writing=True, transaction=True)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        # Locked in one order, whatever the caller's, so that two batches don't wait for each other.
        in_order = sorted(records, key=lambda record: record.model_name)

        def save(session: Session, sql: Statements) -> list[AIProgress]:
            reach("before_write")
            if sql.save is None:
                return [_put(session, sql, record) for record in in_order]
            if not self._found_tables:  # psycopg logs a warning of whatever fails in a pipeline
                session.rows(sql.shape, {})
                self._found_tables = True
            rows = session.many(sql.save, [parameters(sql.flavour, record) for record in in_order])
            return [stamped(record, row) for record, row in zip(in_order, rows, strict=True)]

        saved = {r.model_name: r for r in self._executor.run(save, writing=True, transaction=True)}
        return [saved[record.model_name] for record in records]

    def _get(self, model_name: str) -> AIProgress | None:
        def get(session: Session, sql: Statements) -> list[Row]:
            return session.rows(sql.get, {"model_name": model_name})

        rows = self._executor.run(get)
        reach("after_read")
        return record_of(rows[0]) if rows else None

    def _add_many(self, records: list[AIProgress], ttl: timedelta | None) -> set[str]:
        return add_many(self._executor, records, _put)

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        def get(session: Session, sql: Statements) -> dict[str, Row]:
            return {row[0]: row for query in sql.several(model_names) for row in session.rows(*query)}

        found = self._executor.run(get)
        reach("after_read")
        # A record for each who asks, for its metadata can be changed.
        return [record_of(found[name]) if name in found else None for name in model_names]

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        last = ""
        while True:
            place = {"last": last, "batch_size": batch_size}

            def page(session: Session, sql: Statements, given: Mapping[str, Any] = place) -> list[Row]:
                return session.rows(sql.page, given)

            rows = self._read(page)
            yield from map(record_of, rows)
            if len(rows) < batch_size:
                return
            last = rows[-1][0]

    def _load(self) -> list[AIProgress]:
        return [record_of(row) for row in self._read(lambda session, sql: session.rows(sql.load, {}))]

    def _read(self, work: Callable[[Session, Statements], list[Row]]) -> list[Row]:
        return (self._replica or self._executor).run(work)

    def _update(self, model_name: str, change: Change) -> AIProgress:
        def update(session: Session, sql: Statements) -> AIProgress:
            _lock(session, sql, model_name)
            rows = session.rows(sql.get, {"model_name": model_name})
            reach("after_read")
            result = change(record_of(rows[0]) if rows else None)
            reach("before_write")
            return _put(session, sql, result)

        return self._executor.run(update, writing=True, transaction=True)

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

        return self._executor.run(delete, writing=True, transaction=True)

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
            statement, given = sql.query(query)
            return session.rows(
                statement, {name: parameter(sql.flavour, value) for name, value in given.items()}
            )

        return [record_of(row) for row in self._read(select)]

    def _count(self) -> int:
        return int(self._executor.run(lambda session, sql: session.rows(sql.count, {}))[0][0])

    def _server(self) -> str:
        return self._executor.prepared.server

    def _ping(self) -> None:
        self._executor.run(lambda session, sql: session.rows(sql.ping, {}))

    def _close(self) -> None:
        if self._replica is not None:
            self._replica.close()
            self._replica_engine.dispose()
        self._executor.close()
        if self._owned:
            self._engine.dispose()

    def _location(self) -> str:
        return self._executor.where


def _connecting(
    url: config.StorageURL,
    provider: PasswordProvider | str | None,
    timeout: float,
    size: int,
    overflow: int,
) -> tuple[sa.Engine, Executor]:
    """An engine for a URL, and what runs work on it."""
    __tracebackhide__ = True  # the URL's password
    passwords = Passwords(url, provider)
    engine = engine_from_url(url, timeout=timeout, pool_size=size, max_overflow=overflow, passwords=passwords)
    return engine, Executor(engine, where=str(url), hide=passwords.hide, timeout=timeout)


def _save_at_once(record: AIProgress) -> Callable[[Session, Statements], AIProgress]:
    def save(session: Session, sql: Statements) -> AIProgress:
        reach("before_write")
        assert sql.save is not None
        return stamped(record, session.rows(sql.save, parameters(sql.flavour, record))[0])

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
    given = parameters(sql.flavour, record)
    if sql.save is not None:
        return stamped(record, session.rows(sql.save, given)[0])
    if sql.flavour == "sqlite":
        given["version"] = session.rows(sql.bump, given)[0][0]
        given["now"] = parameter("sqlite", datetime.now(UTC))
        return stamped(record, session.rows(sql.put, given)[0])
    session.execute(sql.bump, given)
    given["version"] = session.rows(sql.last_version, given)[0][0]
    session.execute(sql.put, given)
    return stamped(record, session.rows(sql.stamps, given)[0])


def _limited(query: ProgressQuery, limit: int, *, after: AIProgress | None = None) -> ProgressQuery:
    return dataclasses.replace(query, limit=limit, after=after or query.after)
