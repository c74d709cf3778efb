"""What two storages must remember together: the step they are at, and the models whose copy is not there yet."""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from .. import _interruption as interruption
from ..errors import StorageUnavailableError, UnsupportedOperationError

__all__ = ["Journal", "Pending", "Step"]

_TABLES = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (
  model_name TEXT PRIMARY KEY, unknown INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS deleted (model_name TEXT PRIMARY KEY) WITHOUT ROWID;
"""

_LONGEST_PAUSE = 0.02
"""Seconds between two tries to get the lock."""

Pending = dict[str, bool]
"""Models whose copy is not there yet; whether a write of it may still take effect, by name."""


class Step(enum.Enum):
    """How far the way from the old storage to the new one has come."""

    NOT_BEGUN = "not begun"
    """The old storage is all there is."""
    DUAL_WRITE = "dual-write"
    """The old storage is written and read; the new one gets a copy."""
    VERIFIED = "verified"
    """The same, and all copies were compared."""
    SWITCHED = "switched"
    """The new storage is written and read; the old one gets a copy."""
    RETIRED = "retired"
    """The new storage is all there is."""

    @property
    def reads_new(self) -> bool:
        """Whether the new storage is the one that is believed."""
        return self in (Step.SWITCHED, Step.RETIRED)


class Journal:
    """A SQLite file, and beside it a lock that the operating system releases however its holder ends.

    What is noted survives a kill at any moment, and a loss of power. Whoever writes holds the lock.

    Args:
        path: of the file. It comes into being with the first note, the lock with the first operation; both must be on
            a disk that all clients share.
        timeout: seconds to wait for the lock.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to this process alone: a forked child shares neither a connection nor a lock."""
        self._process = os.getpid()
        self._threads = threading.Lock()
        self._holder: int | None = None
        self._file_lock = FileLock(f"{self.path}.lock", thread_local=False)
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold off every other client, in this process and in others, for the length of a ``with`` block.

        Raises:
            StorageUnavailableError: another client held it until the time was up.
            UnsupportedOperationError: this thread holds it: ``change`` of an update uses the storage.
        """
        if self._process != os.getpid():
            self._inherited = (
                self._connection,
                self._file_lock,
            )  # never to be closed here: they are the parent's
            self._begin()
        if self._holder == threading.get_ident():
            raise UnsupportedOperationError("update_progress: change must not use the storage")
        deadline = time.monotonic() + self.timeout
        threads = self._threads
        while not threads.acquire(blocking=False):
            self._wait(deadline)
        try:
            self._holder = threading.get_ident()
            self._acquire(deadline)
            try:
                yield
            finally:
                self._file_lock.release()
        finally:
            self._holder = None
            threads.release()

    @contextlib.contextmanager
    def one_step(self) -> Iterator[None]:
        """Hold off whoever else takes a step, for the length of a ``with`` block; the application goes on.

        Two steps at once would undo each other: a comparison that ends behind a switch must not note what it found.

        Raises:
            StorageUnavailableError: somebody takes one just now.
        """
        self._need_directory()
        lock = FileLock(f"{self.path}.step.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise StorageUnavailableError(f"{self.path}: another step is being taken just now") from None
        except OSError as error:
            raise StorageUnavailableError(f"{lock.lock_file}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def _need_directory(self) -> None:
        if not self.path.parent.is_dir():  # the lock's own code would make it
            raise StorageUnavailableError(f"{self.path.parent}: no such directory")

    def _acquire(self, deadline: float) -> None:
        self._need_directory()
        while True:
            try:
                self._file_lock.acquire(blocking=False)
            except Timeout:
                self._wait(deadline)
            except OSError as error:
                raise StorageUnavailableError(f"{self.path}.lock: {error.strerror or error}") from error
            else:
                return

    def _wait(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise StorageUnavailableError(f"{self.path}: another client held the lock for {self.timeout:g} s")
        interruption.pause(min(_LONGEST_PAUSE, left))

    # -- under the lock -------------------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """Return what was noted under a name."""
        with self._reading() as connection:
            if connection is None:
                return None
            row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0])

    def put(self, **state: str) -> None:
        """Note values under their names, all or none."""
        with self._writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    @property
    def step(self) -> Step:
        """How far the way has come."""
        noted = self.get("step")
        return Step.NOT_BEGUN if noted is None else Step(noted)

    def note(self, names: Iterable[str], *, deleted: bool = False) -> list[str]:
        """Note models before they are written; return those that were not pending yet.

        Args:
            names: the models.
            deleted: whether they are to be remembered as deleted as well.
        """
        with self._writing() as connection:
            rows = [(name,) for name in names]
            found = [
                name
                for (name,) in rows
                if connection.execute(
                    "INSERT OR IGNORE INTO pending (model_name) VALUES (?)", (name,)
                ).rowcount
            ]
            if deleted:
                connection.executemany("INSERT OR IGNORE INTO deleted VALUES (?)", rows)
            return found

    def done(self, names: Sequence[str], **state: str) -> None:
        """Forget models whose copies are there; note values along with it."""
        with self._writing() as connection:
            connection.executemany("DELETE FROM pending WHERE model_name = ?", [(name,) for name in names])
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    def failed(self, names: Sequence[str], reason: str, *, unknown: bool) -> None:
        """Note why copies are not there; ``unknown``: one may yet come."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE pending SET reason = ?, unknown = max(unknown, ?) WHERE model_name = ?",
                [(reason, int(unknown), name) for name in names],
            )

    def pending(self, limit: int) -> Pending:
        """Return the models whose copies are not there, the oldest first, no more than ``limit``."""
        with self._reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "SELECT model_name, unknown FROM pending ORDER BY rowid LIMIT ?", (limit,)
            )
            return {name: bool(unknown) for name, unknown in rows}

    def pending_of(self, names: Iterable[str]) -> Pending:
        """Return those of the models whose copies are not there, however many others are."""
        with self._reading() as connection:
            if connection is None:
                return {}
            one = "SELECT model_name, unknown FROM pending WHERE model_name = ?"
            return {
                found: bool(unknown) for name in names for found, unknown in connection.execute(one, (name,))
            }

    def pending_count(self) -> int:
        """Return how many copies are not there."""
        with self._reading() as connection:
            if connection is None:
                return 0
            return int(connection.execute("SELECT count(*) FROM pending").fetchone()[0])

    def reason(self) -> str | None:
        """Return why a copy is not there: what was said last."""
        with self._reading() as connection:
            if connection is None:
                return None
            row = connection.execute(
                "SELECT reason FROM pending WHERE reason > '' ORDER BY rowid DESC LIMIT 1"
            ).fetchone()
            return None if row is None else str(row[0])

    def deleted(self) -> list[str]:
        """Return the models that were remembered as deleted."""
        with self._reading() as connection:
            if connection is None:
                return []
            return [str(row[0]) for row in connection.execute("SELECT model_name FROM deleted")]

    def forget_deleted(self) -> None:
        """Forget them."""
        with self._writing() as connection:
            connection.execute("DELETE FROM deleted")

    def close(self) -> None:
        """Close the file, if this process has opened it."""
        if self._process == os.getpid() and self._connection is not None:
            with self._threads:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when the ``with`` block has ended."""
        with self._translated():
            if self._connection is None:
                self._connection = self._connect()
                self._connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """What is there; None: nothing was ever noted."""
        with self._translated():
            if self._connection is None and self._has_tables():
                self._connection = self._connect()
            yield self._connection

    def _has_tables(self) -> bool:
        # A kill between the making of the file and its first commit leaves it without.
        if not self.path.exists():
            return False
        with contextlib.closing(self._connect()) as connection:
            return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=self.timeout
        )
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageUnavailableError(f"{self.path}: {error}") from error
