"""The starter's end of a supervisor: start it, hear whether its server is ready, command it, hold the lease."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_aistorage.servers.base import ProviderUnavailableError, ServerOptions
from pytest_aistorage.servers.supervisor import wire
from pytest_aistorage.servers.supervisor.lease import lock_shared, try_exclusive, unlock

__all__ = ["Lease", "Supervisor", "sweep_roots"]

_END_PATIENCE = 10.0
_MARGIN = 60.0


class Lease:
    """A user's share in a server: while anybody holds one, its supervisor keeps the server running.

    Args:
        path: the lease file.
        create: make the file; otherwise it must be there.

    Raises:
        FileNotFoundError: the server is gone, or going.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        self.path = path
        self._files: list[int] = []
        for name in (path, path.with_suffix(".users")):
            descriptor = os.open(name, flags, 0o600)
            self._files.append(descriptor)
            lock_shared(descriptor)
        # We may have waited for the lock until the supervisor was through with its server and removed the file.
        if not path.exists():
            self.release(wait=False)
            raise FileNotFoundError(path)
        os.utime(path)
        _leases.add(self)

    def alone(self) -> bool:
        """Whether nobody else uses the server; who comes now must be kept out by the caller."""
        alone = try_exclusive(self._files[1])
        lock_shared(self._files[1])
        return alone

    def release(self, *, wait: bool) -> None:
        """Give it back. With `wait`, the last user waits (bounded) until the server is gone."""
        if not self._files:
            return
        last = wait and try_exclusive(self._files[1])
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path)
        for descriptor in self._files:
            unlock(descriptor)
        self.forget()
        deadline = time.monotonic() + _END_PATIENCE
        while last and self.path.exists() and time.monotonic() < deadline:
            time.sleep(0.002)

    def forget(self) -> None:
        """Close the files; a forked child does so, which leaves the locks to its parent."""
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()


_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget_after_fork() -> None:
    # A child that outlives a killed pytest would keep the server alive.
    for lease in list(_leases):
        lease.forget()
    for supervisor in list(_supervisors):
        supervisor.hang_up()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def sweep_roots(options: ServerOptions) -> list[str]:
    """Where directories of servers and runs may lie."""
    own = [] if options.data_dir is None else [str(options.data_dir)]
    places = (
        ["/dev/shm", tempfile.gettempdir(), "/tmp"] if sys.platform != "win32" else [tempfile.gettempdir()]
    )
    return [place for place in dict.fromkeys([*own, *places]) if os.path.isdir(place)]


@dataclass(frozen=True, slots=True)
class Records:
    """Where the supervisor of a server that is to be found by others writes about it.

    Attributes:
        record: the JSON file.
        text: what goes into it, with ``@port@`` and the like for what is only known later.
        linger: seconds that the server outlives its last user.
        stop_file: while it exists, it does not.
    """

    record: Path
    text: Mapping[str, Any]
    linger: float
    stop_file: Path


class Supervisor:
    """A supervisor that this process started.

    Args:
        command: the arguments of the interpreter.
        env: the supervisor's environment.
        plan: what its engine is to do.
        lease: the lease file; this process holds a share in it already.
        records: how others find the server; None for a private one.
        timeout: seconds until it must have answered.

    Attributes:
        answer: what the engine said: ``host``, ``port``, ``version``, ``data``.

    Raises:
        ProviderUnavailableError: the server did not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        plan: Mapping[str, Any],
        lease: Path,
        records: Records | None,
        timeout: float,
    ) -> None:
        self._timeout = timeout + _MARGIN
        command_reader, self._commands = os.pipe()
        self._replies, reply_writer = os.pipe()
        _supervisors.add(self)
        self._log = lease.with_suffix(".log")
        try:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                starter = subprocess.Popen(
                    [sys.executable, *command],
                    stdin=command_reader,
                    stdout=reply_writer,
                    stderr=log,  # never pytest's own: who reads that to its end would wait for us
                    env=dict(env),
                    cwd=os.sep,
                    **_detached(),
                )
            finally:
                os.close(log)
                os.close(command_reader)
                os.close(reply_writer)
            whole = {
                **plan,
                "lease": str(lease),
                "users": str(lease.with_suffix(".users")),
                "log": str(self._log),
                "record": str(records.record) if records else None,
                "record_text": json.dumps({**records.text, "lease": str(lease)}) if records else "",
                "linger": records.linger if records else 0.0,
                "stop_file": str(records.stop_file) if records else "",
            }
            wire.send(self._commands, whole)
            if sys.platform != "win32":
                starter.wait()  # it has forked
            message = self._receive()
        except OSError as error:
            self.hang_up()
            raise ProviderUnavailableError(f"the supervisor could not be started: {error}") from error
        except BaseException:
            self.hang_up()
            raise
        if "failed" in message:
            self.hang_up()
            raise ProviderUnavailableError(message["failed"])
        self.answer: dict[str, Any] = message["ready"]

    def command(self, name: str, **arguments: Any) -> Any:
        """Have the engine do something, and wait until it is done; returns what the engine does.

        Raises:
            ProviderUnavailableError: it failed, or the supervisor is gone.
        """
        try:
            wire.send(self._commands, {"do": name, "with": arguments})
        except OSError as error:
            raise ProviderUnavailableError("the supervisor is gone") from error
        message = self._receive()
        if "failed" in message:
            raise ProviderUnavailableError(message["failed"])
        return message["done"]

    def hang_up(self) -> None:
        """There will be no more commands; the lease alone decides how long the server lives."""
        for descriptor in (self._commands, self._replies):
            if descriptor >= 0:
                os.close(descriptor)
        self._commands = self._replies = -1

    def _receive(self) -> dict[str, Any]:
        if sys.platform != "win32":
            import select

            if not select.select([self._replies], [], [], self._timeout)[0]:
                raise ProviderUnavailableError(f"the supervisor did not answer within {self._timeout:g} s")
        message = wire.receive(self._replies)
        if message is None:
            try:
                said = self._log.read_text("utf-8", "replace").strip().splitlines()
            except OSError:
                said = []
            raise ProviderUnavailableError(f"the supervisor ended: {said[-1] if said else 'it said nothing'}")
        return message


_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {}  # it detaches itself, which spares the double fork here
