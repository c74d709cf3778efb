"""Start a server's process so that it dies with the supervisor, under another uid where that is asked for."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from .tree import is_running, signal_all, wait_gone

if TYPE_CHECKING:
    import socket

__all__ = ["Child", "adopt_orphans", "become", "release_shared_memory"]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _IPC_RMID = 1, 36, 0


def _libc() -> Any:
    """The C library on Linux, where it can be had; else None."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        return ctypes.CDLL(None)
    except (ImportError, OSError):
        return None


def adopt_orphans() -> None:
    """Let a server's orphaned children become ours, so that none stays behind as a zombie (Linux)."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def become(owner: tuple[int, int]) -> None:
    """Let this process, which is root's, run as somebody else from now on, without root's groups.

    Args:
        owner: uid and gid.
    """
    os.setgroups([])
    os.setgid(owner[1])
    os.setuid(owner[0])  # last: who is not root may do neither of the above


def release_shared_memory(data: str, owner: tuple[int, int] | None) -> None:
    """Remove the System V segment of a PostgreSQL that was killed, named in its pid file (Linux).

    Args:
        data: its data directory.
        owner: uid and gid that it ran under; None: ours.
    """
    libc = _libc()
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            segment = int(file.read().splitlines()[6].split()[1])
    except (OSError, ValueError, IndexError):
        return  # it ended by itself, and took both with it
    if libc is None:
        return
    if owner is None:
        libc.shmctl(segment, _IPC_RMID, None)
        return
    # As the owner: in a container, root may not remove what belongs to others.
    pid = os.fork()
    if pid == 0:
        try:
            become(owner)
            libc.shmctl(segment, _IPC_RMID, None)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


class Child:
    """A running server process.

    Args:
        argv: the program's path and its arguments.
        env: its whole environment.
        cwd: its working directory.
        log: an open file for what it prints.
        owner: uid and gid to run under; None leaves them.
        death_signal: what it gets when the supervisor is killed (Linux).
        inbox: of the watcher that is to stand at its fsyncs; None: nobody does.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        log: int,
        owner: tuple[int, int] | None,
        death_signal: int,
        inbox: socket.socket | None = None,
    ) -> None:
        self._status: int | None = None
        if sys.platform == "win32":
            import subprocess

            self._popen = subprocess.Popen(
                argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            self.pid = self._popen.pid
        else:
            self.pid = _fork(argv, env, cwd, log, owner, death_signal, inbox)

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if sys.platform == "win32":
            return self._popen.poll()
        while self._status is None:
            try:
                # Whoever it is: orphaned grandchildren are reaped on the way.
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._status = -1
                break
            if pid == 0:
                break
            if pid == self.pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def signal(self, number: int) -> None:
        """Send the main process a signal, unless it has ended."""
        if self.poll() is None:
            if sys.platform == "win32":
                self._popen.terminate()
            else:
                signal_all([self.pid], number)

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until it has ended; False: it has not."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def reap(self, pids: list[int], timeout: float) -> bool:
        """Wait until this process and others below it are gone, reaping those that became ours."""
        if not self.wait(timeout):
            return False
        if sys.platform != "win32":
            _reap_orphans()
            while any(is_running(pid) for pid in pids):
                if not wait_gone(pids, timeout):
                    return False
            _reap_orphans()
        return True


def _reap_orphans() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _fork(
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    log: int,
    owner: tuple[int, int] | None,
    death_signal: int,
    inbox: socket.socket | None,
) -> int:
    # Not subprocess: importing it takes longer than Redis takes to start. This process has one thread.
    libc = _libc()
    null = os.open(os.devnull, os.O_RDWR)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.dup2(null, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if owner is not None:
                become(owner)
            if libc is not None:  # after setuid, which clears it
                libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
            os.umask(0o077)
            os.chdir(cwd)
            if inbox is not None:
                from .fsyncs import give_away

                give_away(inbox)
            os.execve(argv[0], argv, env)
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(127)
    os.close(writer)
    os.close(null)
    problem = b""
    while piece := os.read(reader, 4096):
        problem += piece
    os.close(reader)
    if problem:
        os.waitpid(pid, 0)
        raise OSError(problem.decode(errors="replace"))
    return pid
