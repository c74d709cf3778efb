"""A server out of binaries: its directory, its process, and what can be done to both."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from .child import Child, adopt_orphans, release_shared_memory
from .files import copy_tree, make_base, remove_tree, sweep, write_private
from .tree import SIGCONT, SIGKILL, descendants, freeze, signal_all, started_at, wait_stopped
from .trouble import FailedError, NotReadyError

if TYPE_CHECKING:
    import socket

    from .watcher import Watcher

__all__ = ["ProcessEngine"]

_POLL = 0.002
_PORTS_TRIED = 8
_STOP_PATIENCE = 10.0


class ProcessEngine:
    """Runs one server as a child of this process.

    Args:
        plan: what the starter sent:

            - ``kind``, ``password``, ``timeout`` (seconds until the server must answer);
            - ``port``: one that was free just now; another one is chosen where it is not any more;
            - ``root``: where its directory goes; ``sweep``: where stale ones are looked for;
            - ``template``: a data directory to copy, or None for an empty one;
            - ``argv``, ``first_argv`` (for the first start only), ``env``, ``files`` (path: text), where
              ``@base@ @data@ @sockets@ @port@`` stand for what is only known here;
            - ``owner``: uid and gid of the server, or None;
            - ``setup``: a statement to run once after the first start;
            - ``death_signal``, ``end_signal`` (fast, for good), ``shutdown_signal`` (orderly);
            - ``power``: whether its power may be cut.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._owner: tuple[int, int] | None = plan["owner"]
        self._base = ""
        self._alive = -1
        self._port: int = plan["port"]
        self._version: str = plan["version"]
        self._child: Child | None = None
        self._frozen: list[int] = []
        self._watcher: Watcher | None = None
        self._inbox: socket.socket | None = None

    # --- for the loop

    def start(self) -> dict[str, Any]:
        """Make the directory and start the server; returns what the starter wants to know.

        Raises:
            FailedError: with the reason, and the last lines of the log.
        """
        plan = self._plan
        adopt_orphans()
        uid, gid = self._owner or (None, None)
        self._base, self._alive = make_base(plan["root"], traversable=uid is not None)
        if plan["template"] is not None:
            copy_tree(plan["template"], self._path("data"), uid, gid)
        else:
            self._make_directory("data")
        self._make_directory("s")
        if plan["power"]:
            from .watcher import start_watcher

            self._watcher, self._inbox = start_watcher(self._path("data"), self._owner)
        for attempt in range(_PORTS_TRIED):
            if attempt:
                from .ports import free_port

                self._port = free_port()
            for path, text in plan["files"].items():
                write_private(self._filled(path), self._filled(text), uid, gid)
            try:
                self._launch([*plan["argv"], *plan["first_argv"]], first=True)
            except FailedError:
                if attempt + 1 < _PORTS_TRIED and self._port_was_taken():
                    continue
                raise
            break
        for path in plan["passing_files"]:
            os.unlink(self._filled(path))
        if self._watcher is not None:
            self._watcher.command("sync")  # what it made before it was handed over is no test's business
        return {
            "host": "127.0.0.1",
            "port": self._port,
            "version": self._version,
            "data": self._path("data"),
            "alive": self._path("alive"),
        }

    def remove(self) -> None:
        """End the server for good, and remove all that it had."""
        try:
            if self._child is not None and self._child.poll() is None:
                self.resume()
                self._child.signal(self._plan["end_signal"])
                if not self._child.wait(_STOP_PATIENCE):
                    self.kill()
            if self._watcher is not None:
                self._watcher.close()
            if self._base:
                release_shared_memory(self._path("data"), self._owner)
        finally:
            if self._base:
                remove_tree(self._base)

    def sweep(self) -> None:
        """Remove what others have left behind."""
        sweep(self._plan["sweep"])

    # --- commands of the owner of a private server

    def kill(self) -> None:
        """SIGKILL to the server and all its processes; returns when they are gone."""
        child = self._running()
        if sys.platform == "win32":
            child.signal(SIGKILL)
            pids = [child.pid]
        else:
            # Stopped first: a server that sees a child die starts to recover, and has new children.
            pids = freeze(child.pid)
            signal_all(pids, SIGKILL)
        self._frozen = []
        if not child.reap(pids, _STOP_PATIENCE):
            raise FailedError("the server outlived SIGKILL")

    def stop(self) -> None:
        """Shut the server down in order; its data stays for a restart."""
        child = self._running()
        self.resume()
        below = [] if sys.platform == "win32" else descendants(child.pid)
        child.signal(self._plan["shutdown_signal"])
        if not child.reap(below, self._plan["timeout"]):
            raise FailedError(f"the server did not shut down within {self._plan['timeout']:g} s")

    def restart(self) -> None:
        """Start it on the same port and data, after a stop if it runs; returns when it answers."""
        if self._child is not None and self._child.poll() is None:
            self.stop()
        self._launch(self._plan["argv"], first=False)

    def pause(self) -> None:
        """SIGSTOP to the server and all its processes; returns when each thread of them stands still."""
        if sys.platform == "win32":
            raise FailedError("a process can't be paused on Windows")
        self._frozen = freeze(self._running().pid)
        if not wait_stopped(self._frozen, self._plan["timeout"]):
            raise FailedError(f"the server did not stand still within {self._plan['timeout']:g} s")

    def resume(self) -> None:
        """SIGCONT to all that was paused."""
        signal_all(self._frozen, SIGCONT)
        self._frozen = []

    # --- commands of the owner of a server whose power may be cut

    def cut_power(self) -> None:
        """End it as `kill` does, unless it has ended, and take from its files what was not fsynced."""
        watcher = self._watched()
        watcher.command("hold", after=0)
        if self._child is not None and self._child.poll() is None:
            self.kill()
        watcher.command("cut")

    def hold_fsyncs(self, after: int) -> None:
        """Let so many more fsyncs pass, and hold all that come then."""
        self._watched().command("hold", after=after)

    def release_fsyncs(self) -> None:
        """Let those that are held pass, and all that follow."""
        self._watched().command("release")

    def sync_fsyncs(self) -> None:
        """Take for durable what is in the files now."""
        self._watched().command("sync")

    def count_fsyncs(self) -> tuple[int, int]:
        """How many have passed since the first start, and how many are held."""
        passed, held = self._watched().command("count")
        return passed, held

    # --- inside

    def _watched(self) -> Watcher:
        if self._watcher is None:
            raise FailedError("the server was not started as one whose power may be cut")
        return self._watcher

    def _path(self, name: str) -> str:
        return os.path.join(self._base, name)

    def _filled(self, text: str) -> str:
        for name, value in (
            ("@base@", self._base),
            ("@data@", self._path("data")),
            ("@sockets@", self._path("s")),
            ("@port@", str(self._port)),
        ):
            text = text.replace(name, value)
        return text

    def _make_directory(self, name: str) -> None:
        os.mkdir(self._path(name), 0o700)
        if self._owner is not None and sys.platform != "win32":
            os.chown(self._path(name), *self._owner)

    def _running(self) -> Child:
        if self._child is None or self._child.poll() is not None:
            raise FailedError("the server is not running")
        return self._child

    def _launch(self, argv: list[str], *, first: bool) -> None:
        log = os.open(self._path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(log).st_size
        try:
            self._child = Child(
                [self._filled(argument) for argument in argv],
                {name: self._filled(value) for name, value in self._plan["env"].items()},
                self._path("data"),
                log,
                self._owner,
                self._plan["death_signal"],
                self._inbox,
            )
        except OSError as error:
            raise FailedError(f"{argv[0]} can't be run: {error}") from error
        finally:
            os.close(log)
        write_private(
            self._path("server.pid"), f"{self._child.pid} {started_at(self._child.pid)}", None, None
        )
        self._await_answer(self._child, first=first)

    def _await_answer(self, child: Child, *, first: bool) -> None:
        timeout = self._plan["timeout"]
        deadline = time.monotonic() + timeout
        problem = "it does not answer"
        while True:
            status = child.poll()
            if status is not None:
                raise FailedError(f"the server ended with status {status}{self._log_tail()}")
            try:
                if self._answers(child.pid, first=first):
                    return
            except (NotReadyError, OSError) as error:
                problem = str(error)
            if time.monotonic() > deadline:
                self.kill()
                raise FailedError(f"not ready within {timeout:g} s ({problem}){self._log_tail()}")
            time.sleep(_POLL)

    def _answers(self, pid: int, *, first: bool) -> bool:
        """Whether the server is ready; on its first start the version is noted and the setup done."""
        # Only now, while the server starts: importing `socket` takes as long as starting a Redis does.
        from .probes import mysql_version, postgres_run, postgres_says_ready, redis_version

        kind = self._plan["kind"]
        if kind == "postgres":
            if not postgres_says_ready(self._path("data"), pid):
                return False
            if first and self._plan["setup"]:
                path = self._filled("@sockets@/.s.PGSQL.@port@")
                self._version = f"PostgreSQL {postgres_run(path, self._plan['setup']).split()[0]}"
                # The socket trusts who gets at it; that was for this one statement. TCP wants the password.
                os.unlink(path)
        elif kind == "redis":
            self._version = redis_version(self._port, self._plan["password"])
        else:
            self._version = mysql_version(self._path("s/m.sock"))
        return True

    def _log(self) -> str:
        try:
            with open(self._path("log"), encoding="utf-8", errors="replace") as file:
                file.seek(self._log_start)
                return file.read()
        except OSError:
            return ""

    def _port_was_taken(self) -> bool:
        text = self._log().lower()
        return "address already in use" in text or "bind on tcp/ip port" in text

    def _log_tail(self) -> str:
        lines = [line.strip() for line in self._log().splitlines() if line.strip()][-4:]
        return f": {' | '.join(lines)}".replace(self._plan["password"], "***") if lines else ""
