"""File locks that the operating system releases: held by the users of a server, awaited by its supervisor."""

from __future__ import annotations

import os
import sys
import time

__all__ = ["is_free", "lock_exclusive", "lock_shared", "try_exclusive", "unlock", "wait_until_unused"]

if sys.platform == "win32":
    import msvcrt

    # There are no shared locks here: a user locks one byte of the file, chosen at random; the exclusive
    # lock is a lock of all the bytes, which can't be had while any of them is taken.
    _BYTES = 1 << 20
    _held: dict[int, tuple[int, int]] = {}

    def _range(fd: int, start: int, length: int) -> bool:
        os.lseek(fd, start, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, length)
        except OSError:
            return False
        _held[fd] = (start, length)
        return True

    def lock_shared(fd: int) -> None:
        """Take the shared lock of an open file; waits while somebody holds the exclusive one."""
        unlock(fd)
        while not _range(fd, int.from_bytes(os.urandom(4), "big") % _BYTES, 1):
            time.sleep(0.01)

    def try_exclusive(fd: int) -> bool:
        """Take the exclusive lock of an open file if nobody holds a lock of it. A lock held is given up."""
        unlock(fd)
        return _range(fd, 0, _BYTES)

    def lock_exclusive(fd: int) -> None:
        """Take the exclusive lock of an open file; waits for everybody else to be gone."""
        while not try_exclusive(fd):
            time.sleep(0.1)

    def unlock(fd: int) -> None:
        """Give the lock back, whichever it is."""
        if fd in _held:
            start, length = _held.pop(fd)
            os.lseek(fd, start, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, length)

else:
    import fcntl

    def lock_shared(fd: int) -> None:
        """Take the shared lock of an open file; waits while somebody holds the exclusive one."""
        fcntl.flock(fd, fcntl.LOCK_SH)

    def try_exclusive(fd: int) -> bool:
        """Take the exclusive lock of an open file if nobody holds a lock of it. A lock held is given up."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_UN)
            return False
        return True

    def lock_exclusive(fd: int) -> None:
        """Take the exclusive lock of an open file; waits for everybody else to be gone."""
        fcntl.flock(fd, fcntl.LOCK_EX)

    def unlock(fd: int) -> None:
        """Give the lock back, whichever it is, for every process that shares the open file."""
        fcntl.flock(fd, fcntl.LOCK_UN)


def is_free(path: str) -> bool:
    """Whether a lock file is gone, or nobody holds its lock."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:  # somebody else's, so nothing is known
        return False
    try:
        return try_exclusive(descriptor)
    finally:
        unlock(descriptor)
        os.close(descriptor)


def wait_until_unused(lease: int, path: str, linger: float, stop_file: str) -> None:
    """Return, holding the exclusive lock, when a server is not needed any more.

    Args:
        lease: the open lease file, of which every user holds the shared lock.
        path: its path; users touch it, so that its age tells how long the server has been idle.
        linger: seconds to go on after the last user went; 0 ends at once.
        stop_file: while this file exists, nothing lingers.
    """
    while True:
        lock_exclusive(lease)
        if not linger:
            return
        while True:
            try:
                idle = time.time() - os.stat(path).st_mtime
            except FileNotFoundError:
                return
            if idle >= linger or os.path.exists(stop_file):
                return
            unlock(lease)
            time.sleep(0.2)
            if not try_exclusive(lease):
                break
