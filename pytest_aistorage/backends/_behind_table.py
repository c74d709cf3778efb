"""What the clients of a hybrid storage that writes behind agree on in the database, and how it takes their writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from .. import codec
from ..errors import OutcomeUnknownError, StorageUnavailableError
from ..progress import AIProgress
from ._connections import Session
from ._execution import Executor, Prepared
from ._rows import parameter, parameters, record_of
from ._schema import Flavour
from ._statements import Statement, Statements

__all__ = ["GAP", "BehindTable", "Change", "Fenced", "FencedExecutor", "State"]

T = TypeVar("T")

GAP: Final = 1_000_000
"""Versions that a model may be ahead of the database, at most; and how many are passed over when what is ahead may be
lost, so that none is given twice."""


class Fenced(Exception):
    """The database is not written this way now: an epoch was opened or closed meanwhile. Nothing was done."""


class State(NamedTuple):
    """Where the truth is.

    Attributes:
        epoch: the cache's that is open or being closed; empty: none is, the database is the truth.
        is_closing: whether it is being closed.
        era: how often a cache was given up that may have held what the database has not got.
    """

    epoch: str
    is_closing: bool
    era: int


class Change(NamedTuple):
    """The last change of a model, on its way into the database.

    Attributes:
        model_name: the model's.
        base: the last version that the database had.
        last: the last version given to it.
        record: None: it was deleted.
    """

    model_name: str
    base: int
    last: int
    record: AIProgress | None


class BehindTable:
    """The table ``ai_progress_behind``, of one row, whose lock puts everything that matters in one order.

    A flush and the opening or closing of an epoch hold the row alone; what goes to the database directly, while no
    epoch is open, shares it. So a flush that comes late, from an epoch that is over, changes nothing.

    Args:
        executor: of the database.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._made: _Sql | None = None

    def prepare(self) -> None:
        """Make the table and its row where they are missing.

        Raises:
            StorageUnavailableError: the database can't be reached.
            ConfigurationError: the user may not create tables.
        """
        self._executor.create_tables(self._sql().metadata)
        self._agree(lambda session, _: session.execute(self._sql().create, {}))

    def state(self) -> State:
        """Read the row.

        Raises:
            StorageUnavailableError: the database can't be reached.
        """
        rows = self._executor.run(lambda session, _: session.rows(self._sql().state, {}))
        if not rows:
            self.prepare()
            return self.state()
        return _state(rows[0])

    def _agree(self, work: Callable[[Session, Statements], T]) -> T:
        """Change what the clients agree on: done twice it does no harm, so a lost acknowledgement is none."""
        try:
            return self._executor.run(work, writing=True, transaction=True)
        except OutcomeUnknownError as error:
            raise StorageUnavailableError(f"the database did not answer in time: {error}") from error

    def begin_closing(self, epoch: str) -> None:
        """Let no client renew its lease on this epoch, if it is open.

        Raises:
            StorageUnavailableError: the database does not answer.
        """
        sql, given = self._sql(), {"was": f"{_OPEN}{epoch}", "becomes": f"{_CLOSING}{epoch}"}
        self._agree(lambda session, _: session.execute(sql.change, given))

    def finish_closing(self, epoch: str, *, complete: bool) -> None:
        """Make the database the truth, if this epoch is being closed.

        Args:
            epoch: which.
            complete: whether the database has everything. If not, a million versions of each model are passed over.

        Raises:
            StorageUnavailableError: as above.
        """
        sql = self._sql()

        def finish(session: Session, _: Statements) -> None:
            state = self._locked(session)
            if state.epoch != epoch or not state.is_closing:
                return
            session.execute(sql.change, {"was": f"{_CLOSING}{epoch}", "becomes": ""})
            if not complete:
                session.execute(sql.pass_over, {"gap": GAP})
                session.execute(sql.next_era, {})

        self._agree(finish)

    def open(self, epoch: str, left: Iterable[tuple[int, Change]]) -> bool:
        """Open an epoch, if none is.

        Args:
            epoch: its name.
            left: what epochs before it have left in the cache, each with the era of its epoch. It is taken where
                nobody has changed the model since.

        Returns:
            Whether it is open; False: another one is.

        Raises:
            StorageUnavailableError: as above.
        """
        sql = self._sql()

        def begin(session: Session, statements: Statements) -> bool:
            state = self._locked(session)
            if state.epoch:
                return False
            taken = []
            for era, change in left:
                # Every loss of a cache since has passed a million versions over, of each model alike.
                untouched = change.base + GAP * (state.era - era)
                if self._last(session, statements, change.model_name, state.era) == untouched:
                    taken.append(change)
            self._put(session, statements, taken)
            session.execute(sql.opened, {"becomes": f"{_OPEN}{epoch}"})
            return True

        return self._agree(begin)

    def flush(self, epoch: str, number: int, changes: Sequence[Change]) -> None:
        """Write what was taken out of the cache at one moment, unless something taken later is there already.

        Args:
            epoch: of which it is.
            number: of the taking.
            changes: all that was not in the database.

        Raises:
            Fenced: the epoch is over.
            StorageUnavailableError: as above; it may be repeated.
        """
        sql = self._sql()

        def write(session: Session, statements: Statements) -> None:
            if self._locked(session).epoch != epoch:
                raise Fenced
            if session.execute(sql.flushed, {"number": number}):
                self._put(session, statements, changes)

        self._agree(write)

    def load(self, model_names: Sequence[str], era: int) -> list[str]:
        """Read models as the cache keeps them; see `_behind_scripts`.

        Raises:
            StorageUnavailableError, CorruptStorageError: as `DatabaseStorage`.
        """

        def read(session: Session, statements: Statements) -> list[str]:
            texts = []
            for name in model_names:
                rows = session.rows(statements.get, {"model_name": name})
                last = self._last(session, statements, name, era)
                texts.append(_text(last, record_of(rows[0]) if rows else None))
            return texts

        return self._executor.run(read)

    def check_closed(self, session: Session, model_names: Sequence[str]) -> None:
        """Within a transaction: see to it that no epoch is opened before its end.

        Args:
            session: the transaction's.
            model_names: what it may write. Models that are new to the database begin behind the versions that a
                lost cache may have given them.

        Raises:
            Fenced: an epoch is open or being closed.
        """
        rows = session.rows(self._sql().shared, {})
        if not rows or (state := _state(rows[0])).epoch:
            raise Fenced
        if state.era:
            for name in sorted(model_names):
                session.execute(self._sql().seed, {"model_name": name, "version": state.era * GAP})

    # -- inside ---------------------------------------------------------------------------------------------

    def _locked(self, session: Session) -> State:
        rows = session.rows(self._sql().alone, {})
        if not rows:  # emptied around us
            raise Fenced
        return _state(rows[0])

    def _last(self, session: Session, statements: Statements, model_name: str, era: int) -> int:
        rows = session.rows(statements.last_version, {"model_name": model_name})
        return int(rows[0][0]) if rows else era * GAP

    def _put(self, session: Session, statements: Statements, changes: Sequence[Change]) -> None:
        sql, flavour = self._sql(), statements.flavour
        in_order = sorted(changes)
        versions: list[Mapping[str, Any]] = [
            {"model_name": change.model_name, "version": change.last} for change in in_order
        ]
        records: list[Mapping[str, Any]] = [
            _row(flavour, change.record) for change in in_order if change.record is not None
        ]
        for statement, rows in ((sql.version, versions), (sql.put, records)):
            if flavour == "postgresql" and rows:
                session.many(statement, rows)
                continue
            for row in rows:
                session.execute(statement, row)
        for change in in_order:
            if change.record is None:
                session.execute(statements.delete, {"model_name": change.model_name})

    def _sql(self) -> _Sql:
        if self._made is None:
            self._made = _Sql(self._executor.prepared.sql)
        return self._made


class FencedExecutor:
    """Does what an `Executor` does, in transactions that take place while no epoch is open.

    Args:
        executor: whose connections to use.
        table: says whether one is.
        model_names: what is written.
    """

    def __init__(self, executor: Executor, table: BehindTable, model_names: Sequence[str]) -> None:
        self._executor = executor
        self._table = table
        self._model_names = model_names

    @property
    def prepared(self) -> Prepared:
        """As `Executor.prepared`."""
        return self._executor.prepared

    def run(
        self, work: Callable[[Session, Statements], T], *, writing: bool = False, transaction: bool = False
    ) -> T:
        """Do the work as `Executor.run` does, in a transaction.

        Raises:
            Fenced: an epoch is open; nothing was done.
        """

        def fenced(session: Session, statements: Statements) -> T:
            self._table.check_closed(session, self._model_names if writing else ())
            return work(session, statements)

        return self._executor.run(fenced, writing=writing, transaction=True)


_OPEN: Final = "open "
_CLOSING: Final = "closing "


def _state(row: tuple[Any, ...]) -> State:
    value, era = row
    kind, _, epoch = str(value).partition(" ")
    return State(epoch, f"{kind} " == _CLOSING, int(era))


def _text(last: int, record: AIProgress | None) -> str:
    if record is None:
        return f"{last} -"
    assert record.created_at is not None  # what is stored has stamps
    assert record.updated_at is not None
    created, updated = codec.to_microseconds(record.created_at), codec.to_microseconds(record.updated_at)
    return f"{last} {record.version} {created} {updated} {codec.fields_to_text(record)}"


def _row(flavour: Flavour, record: AIProgress) -> dict[str, Any]:
    return {
        **parameters(flavour, record),
        "version": record.version,
        "created_at": parameter(flavour, record.created_at),
        "updated_at": parameter(flavour, record.updated_at),
    }


class _Sql:
    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._flavour = flavour = statements.flavour
        is_mysql = flavour in ("mysql", "mariadb")
        self.metadata = sa.MetaData()
        table = sa.Table(
            "ai_progress_behind",
            self.metadata,
            sa.Column("entry", sa.Integer(), primary_key=True, autoincrement=False),  # 1
            sa.Column("epoch", sa.String(120), nullable=False),
            sa.Column("era", sa.Integer(), nullable=False),
            sa.Column("flushed", sa.BigInteger(), nullable=False),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        mine = table.name
        doubled = "ON DUPLICATE KEY UPDATE entry = entry" if is_mysql else "ON CONFLICT (entry) DO NOTHING"
        self.create = self._text(
            f"INSERT INTO {mine} (entry, epoch, era, flushed) VALUES (1, '', 0, 0) {doubled}"
        )
        state = f"SELECT epoch, era FROM {mine} WHERE entry = 1"
        share = {"sqlite": "", "postgresql": " FOR SHARE"}.get(flavour, " LOCK IN SHARE MODE")
        self.state = self._text(state)
        self.alone = self._text(state + ("" if flavour == "sqlite" else " FOR UPDATE"))
        self.shared = self._text(state + share)
        self.change = self._text(f"UPDATE {mine} SET epoch = :becomes WHERE entry = 1 AND epoch = :was")
        self.opened = self._text(f"UPDATE {mine} SET epoch = :becomes, flushed = 0 WHERE entry = 1")
        self.flushed = self._text(
            f"UPDATE {mine} SET flushed = :number WHERE entry = 1 AND flushed < :number"
        )
        self.next_era = self._text(f"UPDATE {mine} SET era = era + 1 WHERE entry = 1")
        self.pass_over = self._text("UPDATE ai_progress_versions SET version = version + :gap")
        self.seed = statements.compiled(self._upsert(statements.tables.versions, {}, is_mysql))
        self.version = statements.compiled(
            self._upsert(
                statements.tables.versions,
                {"version": "max" if flavour == "sqlite" else "greatest"},
                is_mysql,
            )
        )
        progress = statements.tables.progress
        self.put = statements.compiled(
            self._upsert(progress, {c.name: "" for c in progress.c if c.name != "id"}, is_mysql)
        )

    def _upsert(self, table: sa.Table, replaced: dict[str, str], is_mysql: bool) -> Any:
        """Insert a row, or replace these columns of it, each by what is new or by a function of old and new."""
        values: dict[str, Any] = {c.name: self._value(c) for c in table.c if c.name != "id"}
        if is_mysql:
            put = mysql.insert(table).values(**values)
            incoming: Any = put.inserted
        else:
            insert = postgresql.insert if self._flavour == "postgresql" else sqlite.insert
            put = insert(table).values(**values)  # type: ignore[assignment]  # of another dialect
            incoming = put.excluded  # type: ignore[attr-defined]
        following = {
            name: getattr(sa.func, combine)(table.c[name], incoming[name]) if combine else incoming[name]
            for name, combine in replaced.items()
        }
        if is_mysql:
            return put.on_duplicate_key_update(**(following or {"model_name": table.c.model_name}))
        name = [table.c.model_name]
        if not following:
            return put.on_conflict_do_nothing(index_elements=name)  # type: ignore[attr-defined]
        put = put.on_conflict_do_update(index_elements=name, set_=following)  # type: ignore[attr-defined]
        return put.returning(table.c.version) if self._flavour == "postgresql" else put

    def _value(self, column: sa.Column[Any]) -> Any:
        if column.name == "metadata" and self._flavour == "postgresql":
            return sa.cast(sa.bindparam("metadata", type_=sa.Text()), postgresql.JSONB)
        if column.name in ("created_at", "updated_at") and self._flavour == "sqlite":
            return sa.bindparam(column.name, type_=sa.Text())
        return sa.bindparam(column.name, type_=column.type)

    def _text(self, text: str) -> Statement:
        return self._statements.compiled(sa.text(text))
