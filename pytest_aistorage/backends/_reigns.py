"""Which server of several holds a hybrid's cache now: agreed on in the database, believed for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa

from ..errors import OutcomeUnknownError, StorageUnavailableError
from ._connections import Session
from ._execution import Executor
from ._schema import SECONDS_NOW
from ._statements import Statement, Statements

__all__ = ["BELIEVED", "Reign", "Reigns"]

BELIEVED: Final = 1.0
"""Seconds for which a writer takes a server to be the cache after it has asked the database."""

_DRIFT: Final = 1.05
"""How much longer than a lease its end is waited for: clocks run at nearly the same speed."""


class Reign(NamedTuple):
    """One server's time as the cache of one place.

    Attributes:
        name: of the server's process, and of its time as a master.
        age: seconds since it was agreed on; very many for the first of a place.
    """

    name: str
    age: float


class _Belief(NamedTuple):
    name: str
    until: float


class Reigns:
    """The table ``ai_progress_cache_reigns``: for each place of the keys, the server that holds them.

    A replica that takes over from a server may not know of the writes that were announced there, and the server
    may go on for a while without knowing that it was replaced. So a copy counts for nothing by itself: it is filled
    while the database says that its server reigns, and has done so for long; and a write is announced to the
    server that the database has named no longer than `BELIEVED` ago.

    Args:
        executor: of the database.
        place_of: the place of a model's keys: their hash tag.
    """

    def __init__(self, executor: Executor, place_of: Callable[[str], str]) -> None:
        self._executor = executor
        self.place_of = place_of
        self._made: _Sql | None = None
        self._lock = threading.Lock()
        self._believed: dict[str, _Belief] = {}

    def prepare(self) -> None:
        """Make the table where it is missing.

        Raises:
            StorageUnavailableError: the database can't be reached.
            ConfigurationError: the user may not create tables.
        """
        self._executor.create_tables(self._sql().metadata)

    def of(self, place: str) -> Reign | None:
        """Return who reigns over a place; None: nobody ever has.

        Raises:
            StorageUnavailableError: the database can't be reached.
        """
        rows = self._executor.run(lambda session, _: session.rows(self._sql().of, {"place": place}))
        return Reign(str(rows[0][0]), float(rows[0][1])) if rows else None

    def is_believed(self, place: str, name: str) -> bool:
        """Whether the database has named this server a moment ago, and no older copies are left."""
        belief = self._believed.get(place)
        return belief is not None and belief.name == name and time.monotonic() < belief.until

    def confirm(self, place: str, name: str, lease: float) -> bool:
        """Have the database say that a server reigns; see to it that no older copies are left.

        Args:
            place: over what.
            name: the server's.
            lease: seconds, the longest that a copy lives.

        Returns:
            Whether it reigns, and is believed for a moment. If not, a reign has begun or one lease of it has passed:
            ask the server for its name, announce to it again, and confirm that.

        Raises:
            StorageUnavailableError: the database can't be reached.
        """
        asked = time.monotonic()
        found = self.of(place)
        if found is None or found.name != name:
            self.begin(place, name)
            return False
        if (left := lease * _DRIFT - found.age) > 0:
            time.sleep(left)
            return False
        with self._lock:
            self._believed[place] = _Belief(name, asked + BELIEVED)
        return True

    def begin(self, place: str, name: str) -> None:
        """Let a server reign from now on.

        Raises:
            StorageUnavailableError: the database can't be reached.
        """
        sql = self._sql()

        def begin(session: Session, _: Statements) -> None:
            if not session.execute(sql.change, {"place": place, "name": name}):
                session.execute(sql.first, {"place": place, "name": name})

        try:
            self._executor.run(begin, writing=True, transaction=True)
        except OutcomeUnknownError as error:
            raise StorageUnavailableError(f"the database did not answer in time: {error}") from error

    def _sql(self) -> _Sql:
        if self._made is None:
            self._made = _Sql(self._executor.prepared.sql)
        return self._made


class _Sql:
    def __init__(self, statements: Statements) -> None:
        flavour = statements.flavour
        self.metadata = sa.MetaData()
        mine = "ai_progress_cache_reigns"
        sa.Table(
            mine,
            self.metadata,
            sa.Column("place", sa.String(16), primary_key=True),
            sa.Column("name", sa.String(120), nullable=False),
            sa.Column("since", sa.Double(), nullable=False),  # seconds since 1970; 0: the first
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        now = SECONDS_NOW[flavour]

        def text(sql: str) -> Statement:
            return statements.compiled(sa.text(sql))

        self.of = text(f"SELECT name, {now} - since FROM {mine} WHERE place = :place")
        self.change = text(f"UPDATE {mine} SET name = :name, since = {now} WHERE place = :place")
        ignored = {"sqlite": " ON CONFLICT DO NOTHING", "postgresql": " ON CONFLICT DO NOTHING"}.get(
            flavour, " ON DUPLICATE KEY UPDATE place = place"
        )
        self.first = text(f"INSERT INTO {mine} (place, name, since) VALUES (:place, :name, 0){ignored}")
