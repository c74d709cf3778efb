"""Listings from a read replica, none older than what the primary had acknowledged before."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from .. import _interruption as interruption
from ..errors import AIStorageError, StorageUnavailableError
from ._connections import Session
from ._execution import Executor
from ._statements import Statement, Statements

__all__ = ["Replica"]

T = TypeVar("T")

_log = logging.getLogger("pytest_aistorage")

REST = 5.0
"""Seconds for which a replica that failed is left alone."""
_PATIENCE = 1.0
"""Seconds that a replica may need to catch up with the primary; or a quarter of the timeout, if that is less."""
_POLL = 0.002


@dataclasses.dataclass(frozen=True, slots=True)
class _Way:
    """How servers of a kind say how far they are.

    Attributes:
        position: asked of the primary: a row of parameters for ``state``, or of None where nobody can follow it. No
            row: it is itself a replica, which says so when it is written to.
        names: of these parameters.
        state: asked of the replica: whether it is one, whether of this primary, and whether it has got so far. It may
            wait for that, for so many ``seconds``.
    """

    position: Statement
    names: tuple[str, ...]
    state: Statement


# Where the write-ahead log ends, flushed or not: with synchronous_commit = off others see what is not flushed yet.
_POSTGRES = _Way(
    Statement(
        "SELECT pg_current_wal_insert_lsn()::text, timeline_id, system_identifier "
        "FROM pg_control_checkpoint(), pg_control_system() WHERE NOT pg_is_in_recovery()"
    ),
    ("position", "timeline", "system"),
    Statement(
        "SELECT pg_is_in_recovery(), timeline_id = %(timeline)s AND system_identifier = %(system)s, "
        "pg_last_wal_replay_lsn() >= %(position)s::pg_lsn FROM pg_control_checkpoint(), pg_control_system()"
    ),
)
# A write is in the binary log before it is acknowledged. Only who is read_only is taken for a replica: another one
# may have records of its own, and has them for certain when it was promoted.
_MYSQL = _Way(
    Statement("SELECT NULLIF(@@GLOBAL.gtid_executed, '')"),
    ("position",),
    Statement(
        "SELECT @@GLOBAL.read_only, 1, WAIT_FOR_EXECUTED_GTID_SET(%(position)s, %(seconds)s) = 0"
    ),  # a GTID has the UUID of its server in it: that of another primary never comes
)
_MARIADB = _Way(
    Statement("SELECT NULLIF(@@GLOBAL.gtid_binlog_pos, '')"),
    ("position",),
    Statement(
        "SELECT @@GLOBAL.read_only, @@GLOBAL.gtid_slave_pos <> '', MASTER_GTID_WAIT(%(position)s, %(seconds)s) = 0"
    ),
)
_WAYS = {"postgresql": _POSTGRES, "mysql": _MYSQL, "mariadb": _MARIADB}


class Replica:
    """A replica that listings are read from: PostgreSQL's by streaming, MySQL's and MariaDB's by GTIDs.

    A replica is behind its primary, always. So that a listing shows every save acknowledged before it began, the
    primary is asked how far its log goes, which costs it next to nothing, and the replica reads when it has replayed
    that much. Where it can't, the primary reads: when the replica is down, too far behind, or no replica of this
    primary (another server, another timeline, promoted). Then it is left alone for `REST` seconds.

    Args:
        executor: of the replica.
        primary: of its primary.
    """

    def __init__(self, executor: Executor, primary: Executor) -> None:
        self._executor = executor
        self._primary = primary
        self._resumes = 0.0

    def run(self, work: Callable[[Session, Statements], T]) -> T:
        """Do work that only reads, on the replica if it has all that the primary has.

        Raises:
            AIStorageError: the primary can't be reached, or the work failed there as well.
        """
        if time.monotonic() < self._resumes:
            return self._primary.run(work)
        way = _WAYS[self._primary.prepared.sql.flavour]
        rows = self._primary.run(lambda session, sql: session.rows(way.position, {}))
        if not rows:
            return self._primary.run(work)
        target = dict(zip(way.names, rows[0], strict=True))
        deadline = time.monotonic() + min(_PATIENCE, self._executor.timeout / 4)

        def caught_up(session: Session, sql: Statements) -> T:
            while True:
                left = max(0.0, deadline - time.monotonic())
                ((is_replica, same, has_all),) = session.rows(way.state, {**target, "seconds": left})
                if not is_replica or not same:
                    raise StorageUnavailableError(
                        f"{self._executor.where}: is no replica of {self._primary.where}"
                    )
                if has_all:
                    return work(session, sql)
                if time.monotonic() >= deadline:
                    raise StorageUnavailableError(f"{self._executor.where}: is too far behind its primary")
                interruption.pause(_POLL)

        try:
            if target["position"] is None:
                raise StorageUnavailableError(
                    f"{self._primary.where}: has no binary log with GTIDs to follow"
                )
            return self._executor.run(caught_up)
        except AIStorageError as error:
            self._resumes = time.monotonic() + REST
            _log.warning("listings come from the primary for %g s: %s", REST, error)
            return self._primary.run(work)

    def close(self) -> None:
        """Give its sessions back."""
        self._executor.close()
