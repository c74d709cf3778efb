"""What the clients of a hybrid storage tell each other by the database: the cache's name, and who can't reach it."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from ._connections import Session
from ._execution import Executor
from ._schema import SECONDS_NOW
from ._statements import Statement, Statements

__all__ = ["CacheTable", "Seen"]

_STORE = "store"


class Seen(NamedTuple):
    """What the table says at one moment.

    Attributes:
        store: the name of this store in every cache; empty: it has none yet.
        lease: seconds, the longest that any client lets an entry live.
        span: seconds, the longest that any client takes from its announcement of a write to the write.
        cut_off: whether a client writes that can't reach the cache.
    """

    store: str
    lease: float
    span: float
    cut_off: bool


class CacheTable:
    """The table ``ai_progress_cache``, made when it is first used.

    A row ``store`` names the store: the name begins all of its keys in a cache, so that two databases never mix
    in one Redis, whatever URLs lead there. Another row for each client that can't reach the cache, until a
    moment by the database's clock; while there is one, nobody fills a cache.

    Args:
        executor: of the database.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._sql: _Sql | None = None

    def prepare(self) -> None:
        """Make the table where it is missing.

        Raises:
            StorageUnavailableError: the database can't be reached.
            ConfigurationError: the user may not create tables.
        """
        self._executor.create_tables(self._statements().metadata)

    def register(self, store: str, lease: float, span: float) -> None:
        """Let others know how long this client's entries and writes last.

        Args:
            store: what to call the store, if it has no name yet.
            lease: seconds.
            span: seconds.

        Raises:
            StorageUnavailableError: the database can't be reached.
            OutcomeUnknownError: the acknowledgement was lost.
        """
        sql = self._statements()
        given = {"entry": _STORE, "value": store, "lease": lease, "span": span}
        self._executor.run(lambda session, _: session.execute(sql.register, given), writing=True)

    def seen(self) -> Seen:
        """Read the table.

        Raises:
            StorageUnavailableError: the database can't be reached.
        """
        sql = self._statements()
        rows = self._executor.run(lambda session, _: session.rows(sql.seen, {"entry": _STORE}))
        found = {row[0]: row for row in rows}
        _, store, lease, span = found.pop(_STORE, (_STORE, "", 0.0, 0.0))
        return Seen(str(store), float(lease), float(span), bool(found))

    def mark(self, client: str, seconds: float) -> None:
        """Let all know that this client writes without the cache, for some time from now on.

        Args:
            client: its name, at most 40 characters.
            seconds: how long; a mark that was there is prolonged.

        Raises:
            StorageUnavailableError: the database can't be reached.
            OutcomeUnknownError: the acknowledgement was lost.
        """
        sql = self._statements()
        given = {"entry": f"cut off {client}", "seconds": seconds}

        def mark(session: Session, _: Statements) -> None:
            session.execute(sql.sweep, {"entry": _STORE})
            session.execute(sql.mark, given)

        self._executor.run(mark, writing=True)

    def clear(self, client: str) -> None:
        """Take this client's mark back.

        Raises:
            StorageUnavailableError, OutcomeUnknownError: as for `mark`.
        """
        sql = self._statements()
        given = {"entry": f"cut off {client}"}
        self._executor.run(lambda session, _: session.execute(sql.clear, given), writing=True)

    def _statements(self) -> _Sql:
        if self._sql is None:
            self._sql = _Sql(self._executor.prepared.sql)
        return self._sql


class _Sql:
    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        flavour = statements.flavour
        self.metadata = sa.MetaData()
        sa.Table(
            "ai_progress_cache",
            self.metadata,
            sa.Column("entry", sa.String(64), primary_key=True),
            sa.Column("value", sa.String(64), nullable=False),
            sa.Column("lease", sa.Double(), nullable=False),
            sa.Column("span", sa.Double(), nullable=False),
            sa.Column("ends", sa.Double(), nullable=False),  # seconds since 1970
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        now = SECONDS_NOW[flavour]
        conflict = (
            "ON DUPLICATE KEY UPDATE"
            if flavour in ("mysql", "mariadb")
            else "ON CONFLICT (entry) DO UPDATE SET"
        )
        mine = "ai_progress_cache"
        self.seen = self._text(
            f"SELECT entry, value, lease, span FROM {mine} WHERE entry = :entry OR ends > {now}"
        )
        # The longest that anybody ever asked for holds: whoever asked for it may still be there.
        longest = ", ".join(
            f"{name} = CASE WHEN {mine}.{name} < :{name} THEN :{name} ELSE {mine}.{name} END"
            for name in ("lease", "span")
        )
        self.register = self._text(
            f"INSERT INTO {mine} (entry, value, lease, span, ends) "
            f"VALUES (:entry, :value, :lease, :span, 0) {conflict} {longest}"
        )
        self.mark = self._text(
            f"INSERT INTO {mine} (entry, value, lease, span, ends) "
            f"VALUES (:entry, '', 0, 0, {now} + :seconds) {conflict} ends = {now} + :seconds"
        )
        self.clear = self._text(f"DELETE FROM {mine} WHERE entry = :entry")
        self.sweep = self._text(f"DELETE FROM {mine} WHERE entry <> :entry AND ends < {now}")

    def _text(self, text: str) -> Statement:
        return self._statements.compiled(sa.text(text))
