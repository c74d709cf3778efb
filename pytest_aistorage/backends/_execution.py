"""Running work on a database: connections, transactions, what to try again, and the one translator of errors."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from .. import _interruption as interruption
from .._failpoints import reach
from ..errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from ..storage import ChangeRaised
from ._connections import Session, flavour_of, open_session
from ._durability import verify_durability
from ._engines import is_ours
from ._schema import Flavour
from ._schema_check import check_schema
from ._sql_errors import (
    Failure,
    failure_of,
    failure_of_commit,
    is_already_there,
    is_driver_error,
    without_frames,
)
from ._statements import Statements, shared_statements

__all__ = ["Executor", "Prepared"]

T = TypeVar("T")

_PRODUCTS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}


class Executor:
    """Runs work on the connections of an engine.

    Args:
        engine: whose pool to use.
        where: the URL without secrets, for messages.
        hide: takes the passwords out of a driver's message.
        timeout: seconds after which nothing is tried again.
    """

    def __init__(self, engine: sa.Engine, *, where: str, hide: Callable[[str], str], timeout: float) -> None:
        self._engine = engine
        self._hide = hide
        self.timeout = timeout
        self.verifies_durability = False
        self._prepared: Prepared | None = None
        self._resting: collections.deque[Session] = collections.deque()
        self._rests = 0
        self._is_closed = False
        self.where = where
        _executors.add(self)

    def keep_sessions(self, most: int) -> None:
        """Let up to `most` sessions rest here between operations: taking one out of the pool takes longer.

        For an engine that nobody else uses; the sessions are given back by `close`.
        """
        self._rests = most

    def close(self) -> None:
        """Give the sessions that rest here back to the pool; what is in use is closed when it is done."""
        self._is_closed = True
        self._rests = 0
        while self._resting:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._resting.pop().release()

    def run(
        self, work: Callable[[Session, Statements], T], *, writing: bool = False, transaction: bool = False
    ) -> T:
        """Do the work on one connection; again, as long as there is time, where it surely had no effect.

        Args:
            work: executes statements; may run several times.
            writing: a broken connection leaves the outcome unknown.
            transaction: between BEGIN and COMMIT, so that only a break in COMMIT leaves the outcome unknown.
        """
        prepared = self.prepared
        deadline = time.monotonic() + self.timeout
        attempt = created = 0
        while True:
            attempt += 1
            session = self._session()
            risky = writing and not transaction
            call: interruption.Call | None = None
            try:
                call = self._watched(session)
                if transaction:
                    session.begin()
                result = work(session, prepared.sql)
                if transaction:
                    reach("before_commit")
                    risky = writing
                    session.commit()
            except BaseException as error:
                failure = self._end(session, error, prepared.sql.flavour, call)
                interruption.check()
                if failure is None:
                    raise
                if transaction and risky:
                    failure = failure_of_commit(failure, prepared.sql.flavour)
                if failure is Failure.NO_TABLE and created < 3:
                    created += 1
                    self.create_tables(prepared.sql.tables.metadata)
                elif failure is Failure.LOST and not writing and attempt == 1 and time.monotonic() < deadline:
                    pass  # a read does no harm twice, and the second time the connection is new
                elif failure is not Failure.BUSY or time.monotonic() >= deadline:
                    raise self._typed(failure, error, risky) from error
                else:
                    interruption.pause(random.uniform(0, min(0.001 * 2**attempt, 0.02)))
                continue
            if call is None or call.unwatch():
                self._rest(session)
            else:
                session.discard()
            return result

    def _session(self) -> Session:
        while self._resting:
            try:
                session = self._resting.pop()
            except IndexError:  # another thread was quicker
                break
            if not session.is_stale():
                return session
            session.discard()
        try:
            return open_session(self._engine)
        except Exception as error:
            translated = self._not_connected(error)
            raise translated from (
                None if isinstance(translated, ConfigurationError) else without_frames(error)
            )

    @staticmethod
    def _watched(session: Session) -> interruption.Call | None:
        """Let another thread end what this one does on a session, if there is one that might."""
        if (call := interruption.current_call()) is not None:
            call.watch(session.cutter())
        return call

    def _rest(self, session: Session) -> None:
        # Only while the pool has connections to give: whoever waits for one waits there, and not here.
        if self._rests and self._checked_out() <= self._rests:
            self._resting.append(session)
            if not self._rests:  # closed meanwhile
                self.close()
        else:
            self._release(session)

    def _release(self, session: Session) -> None:
        """Give a session back; what it did is done, even if the connection breaks now."""
        if self._is_closed:  # and so may be the pool, which would keep it open for ever
            session.discard()
            return
        try:
            session.release()
        except (
            Exception
        ) as error:  # of the statement by which an engine that is not ours gets its settings back
            if not is_driver_error(error) and not isinstance(error, OSError):
                raise
            session.discard()

    def _checked_out(self) -> int:
        pool = self._engine.pool
        assert isinstance(pool, sa.QueuePool)  # as engine_from_url makes it
        return pool.checkedout()

    def _not_connected(self, error: Exception) -> AIStorageError:
        if is_driver_error(error) or isinstance(error, (sa.exc.SQLAlchemyError, OSError)):
            return StorageUnavailableError(f"{self.where}: {self._said(error)}")
        if isinstance(error, (TypeError, ValueError)):
            # A driver that chokes on an argument may repeat it, and it may be the password.
            return ConfigurationError(f"{self.where}: the driver can't use this URL ({type(error).__name__})")
        raise error

    def create_tables(self, metadata: sa.MetaData) -> None:
        """Create what is missing. Several clients may do so at once.

        Raises:
            StorageUnavailableError: the database can't be reached.
            ConfigurationError: the user may not create tables.
        """
        for attempt in range(20):
            try:
                metadata.create_all(self._engine, checkfirst=True)
                return
            except sa.exc.DBAPIError as error:
                original = error.orig
                assert isinstance(original, Exception)  # what a DBAPIError wraps
                failure = failure_of(original, self.prepared.sql.flavour)
                # Between the check and the creation another client came first: the next check finds its table.
                if attempt == 19 or not (failure is Failure.BUSY or is_already_there(original)):
                    raise self._typed(failure, original, False) from error
                interruption.pause(random.uniform(0, 0.02))

    def _end(
        self, session: Session, error: BaseException, flavour: Flavour, call: interruption.Call | None
    ) -> Failure | None:
        """Leave the connection clean, or close it; say what a driver's error means, None for any other."""
        failure = None
        if isinstance(error, Exception) and (is_driver_error(error) or isinstance(error, OSError)):
            failure = failure_of(error, flavour)
        if call is not None and not call.unwatch():
            session.discard()
            if call.is_over:
                session.call_off(self._engine)
            return failure
        if failure is Failure.LOST or not isinstance(error, (Exception, ChangeRaised)):
            # KeyboardInterrupt may come in the middle of an answer.
            session.discard()
            return failure
        try:
            session.rollback()
        except Exception:  # then the connection is of no use, and the first error is the one to report
            session.discard()
        else:
            self._release(session)
        return failure

    def _typed(self, failure: Failure, error: BaseException, risky: bool) -> AIStorageError:
        message = f"{self.where}: {self._said(error)}"
        if failure is Failure.LOST and risky:
            return OutcomeUnknownError(f"{message} (the acknowledgement was lost)")
        if failure is Failure.CORRUPT:
            return CorruptStorageError(message)
        if failure in (Failure.MISMATCH, Failure.DENIED):
            return ConfigurationError(f"{message} ({failure.value})")
        return StorageUnavailableError(message)

    def _said(self, error: BaseException) -> str:
        return self._hide(" ".join(str(error).split()) or type(error).__name__)

    @property
    def prepared(self) -> Prepared:
        """What is known of the server; finding it out makes the first connection."""
        if self._prepared is not None:
            return self._prepared
        prepared = _prepared_engines.get(self._engine)
        if prepared is None:
            prepared = self._prepare()
            with _prepared_lock:
                prepared = _prepared_engines.setdefault(self._engine, prepared)
        if self.verifies_durability:
            flavour = prepared.sql.flavour
            self._first(lambda session: verify_durability(session, flavour, self.where))
        self._prepared = prepared
        return prepared

    def _prepare(self) -> Prepared:
        return self._first(
            lambda session: Prepared(self._engine, session, flavour_of(self._engine), self.where)
        )

    def _first(self, find_out: Callable[[Session], T]) -> T:
        """Find something out before the first operation; again while others hold a lock, as long as there is time."""
        deadline = time.monotonic() + self.timeout
        while True:
            session = self._session()
            try:
                found = find_out(session)
            except Exception as error:
                session.discard()
                if not is_driver_error(error):
                    raise
                busy = failure_of(error, flavour_of(self._engine)) is Failure.BUSY
                if busy and time.monotonic() < deadline:
                    interruption.pause(random.uniform(0, 0.02))
                    continue
                raise self._not_connected(error) from error
            self._release(session)
            return found


class Prepared:
    """What is found out about an engine's server once: its flavour, its version, its statements.

    Raises:
        ConfigurationError: the database has another encoding or another schema than this package needs.
    """

    def __init__(self, engine: sa.Engine, session: Session, flavour: Flavour, where: str) -> None:
        written = shared_statements if is_ours(engine) else Statements
        self.sql = written(flavour, engine.dialect)
        # PostgreSQL counts in two numbers, the others in three; what follows is the packager's.
        numbers = [str(part) for part in engine.dialect.server_version_info or () if isinstance(part, int)]
        self.server = f"{_PRODUCTS[flavour]} {'.'.join(numbers[: 2 if flavour == 'postgresql' else 3])}"
        if flavour == "postgresql":
            encoding = session.rows(self.sql.encoding, {})[0][0]
            if encoding != "UTF8":
                raise ConfigurationError(f"the database's encoding is {encoding}; it must be UTF8")
        check_schema(session, self.sql, where)


_prepared_engines: weakref.WeakKeyDictionary[sa.Engine, Prepared] = weakref.WeakKeyDictionary()
_prepared_lock = threading.Lock()


# -- after fork() -------------------------------------------------------------------------------------------

_executors: weakref.WeakSet[Executor] = weakref.WeakSet()
_inherited: list[object] = []


def _leave_connections_to_the_parent() -> None:
    """Let a forked child connect anew: two processes on one socket read each other's answers.

    What is inherited is kept as it is, since closing it here would say farewell to the parent's server.
    """
    engines = {executor._engine for executor in _executors}
    for executor in _executors:
        _inherited.append(executor._resting)
        executor._resting = collections.deque()
    for engine in engines:
        _inherited.append(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_connections_to_the_parent)
