"""Listings from a read replica of PostgreSQL, none older than what the primary had acknowledged before."""

from __future__ import annotations

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

# Where the write-ahead log ends, flushed or not: with synchronous_commit = off others see what is not flushed yet.
_POSITION = Statement(
    "SELECT pg_current_wal_insert_lsn()::text, timeline_id, system_identifier "
    "FROM pg_control_checkpoint(), pg_control_system() WHERE NOT pg_is_in_recovery()"
)
_STATE = Statement(
    "SELECT pg_is_in_recovery(), timeline_id = %(timeline)s AND system_identifier = %(system)s, "
    "pg_last_wal_replay_lsn() >= %(position)s::pg_lsn FROM pg_control_checkpoint(), pg_control_system()"
)


class Replica:
    """A streaming replica that listings are read from.

    A replica is behind its primary, always. So that a listing shows every save acknowledged before it began, the
    primary is asked how far its write-ahead log goes, which costs it next to nothing, and the replica reads when it
    has replayed that much. Where it can't, the primary reads: when the replica is down, too far behind, or no replica
    of this primary (another cluster, another timeline, promoted). Then it is left alone for `REST` seconds.

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
        rows = self._primary.run(lambda session, sql: session.rows(_POSITION, {}))
        if not rows:  # what is called the primary is a standby itself: it says so when it is written to
            return self._primary.run(work)
        target = dict(zip(("position", "timeline", "system"), rows[0], strict=True))
        deadline = time.monotonic() + min(_PATIENCE, self._executor.timeout / 4)

        def caught_up(session: Session, sql: Statements) -> T:
            while True:
                ((in_recovery, same, has_all),) = session.rows(_STATE, target)
                if not in_recovery or not same:
                    raise StorageUnavailableError(
                        f"{self._executor.where}: is no replica of {self._primary.where}"
                    )
                if has_all:
                    return work(session, sql)
                if time.monotonic() >= deadline:
                    raise StorageUnavailableError(f"{self._executor.where}: is too far behind its primary")
                interruption.pause(_POLL)

        try:
            return self._executor.run(caught_up)
        except AIStorageError as error:
            self._resumes = time.monotonic() + REST
            _log.warning("listings come from the primary for %g s: %s", REST, error)
            return self._primary.run(work)

    def close(self) -> None:
        """Give its sessions back."""
        self._executor.close()
