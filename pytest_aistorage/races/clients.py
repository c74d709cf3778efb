"""Clients of a race: processes out of a nursery, or threads where a storage isn't shared between processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from ..errors import UnsupportedOperationError
from ._client import serve
from .errors import RaceError, StuckError
from .given import pickled
from .invariants import name_of
from .outcomes import Outcome

__all__ = ["PATIENCE", "Client", "ClientPool"]

PATIENCE = 30.0
"""Seconds after which a client that says nothing is given up. No step takes so long on a machine that works."""

_Channel = Connection


class Client(ABC):
    """One client: a channel to where it runs, and one storage that it has opened there.

    Attributes:
        channel: to be waited on by `multiprocessing.connection.wait`.
        alive: whether it may be used again.
    """

    def __init__(self, channel: _Channel[Any, Any]) -> None:
        self.channel = channel
        self.alive = True

    @abstractmethod
    def packed(self, thing: object) -> object:
        """Return what stands for an object in a message to this client."""

    @abstractmethod
    def end(self) -> None:
        """End it, whatever it is doing."""

    @abstractmethod
    def task(self) -> str:
        """Return where Linux says how it does, a directory of ``/proc``."""

    def is_idle(self) -> bool:
        """Whether it may be used: an idle client has nothing to say, and a dead one's channel is at its end."""
        if self.alive and self.channel.poll():
            self.end()
        return self.alive

    def is_busy(self) -> bool:
        """Whether it runs, would run if a processor were free, or waits for a disk; False where nobody knows.

        One that is none of it may be waiting for a lock.
        """
        try:
            with open(f"{self.task()}/stat", encoding="ascii", errors="replace") as stat:
                return stat.read().rpartition(")")[2].split()[0] in "RD"
        except (OSError, IndexError):
            return False

    def pulse(self) -> int | None:
        """How often it has gone to sleep, if it sleeps; None: it doesn't, or nobody knows.

        As long as the number stays the same it has slept all the while: whoever gives a lock back wakes the
        one that waits for it before doing anything else.
        """
        try:
            with open(f"{self.task()}/status", encoding="ascii", errors="replace") as status:
                said = dict(line.split(":", 1) for line in status.read().splitlines())
            return int(said["voluntary_ctxt_switches"]) if said["State"].strip()[0] == "S" else None
        except (OSError, KeyError, ValueError, IndexError):
            return None

    def is_sleeping(self) -> bool:
        """Whether it sleeps until a time has passed, and for nothing else; False where nobody knows.

        One that waits for a lock then looks by itself from time to time whether it is free.
        """
        try:
            with open(f"{self.task()}/wchan", encoding="ascii", errors="replace") as function:
                return "nanosleep" in function.read()
        except OSError:
            return False

    def send(self, command: str, argument: object = None) -> None:
        """Give a command; a client that has died is found out when its answer is awaited."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self.channel.send((command, argument))

    def answer(self, patience: float = PATIENCE) -> tuple[Any, ...]:
        """Return its next message.

        Returns:
            ``("stop", label)``, ``("wait",)``, or ``("done", label, outcome)``, which is the last.

        Raises:
            StuckError: it said nothing in time; it is ended.
        """
        try:
            if not self.channel.poll(patience):
                self.end()
                raise StuckError(f"a client said nothing for {patience:g} s")
            message: tuple[Any, ...] = self.channel.recv()
        except (EOFError, ConnectionError):
            self.alive = False
            return ("done", "", Outcome("died"))
        return message

    def open(self, opener: Callable[[], Any]) -> None:
        """Let it open a storage, unless it is the one that it has open.

        Raises:
            Exception: what the opener raised.
            RaceError: the client died of it.
        """
        __tracebackhide__ = True
        self._told("open", self.packed(opener))

    def close(self) -> None:
        """Let it close its storage."""
        self._told("close", None)

    def call(self, operation: Callable[[Any], Any]) -> Outcome:
        """Let it run an operation on its storage, and wait for the end."""
        self.send("call", self.packed((operation, None)))
        outcome: Outcome = self.answer()[2]
        return outcome

    def result(self, operation: Callable[[Any], Any]) -> Any:
        """Let it run an operation on its storage, and return what it returns.

        Raises:
            Exception: what the operation raised.
            RaceError: the client died.
        """
        return self._value(self.call(operation), "call")

    def _told(self, command: str, argument: object) -> None:
        __tracebackhide__ = True
        self.send(command, argument)
        self._value(self.answer()[2], command)

    def _value(self, outcome: Outcome, command: str) -> Any:
        __tracebackhide__ = True
        if outcome.error is not None:
            raise outcome.error
        if outcome.kind == "died":
            raise RaceError(f"a client died at {command!r}")
        return outcome.value


class _Process(Client):
    def __init__(self, channel: _Channel[Any, Any], pid: int) -> None:
        super().__init__(channel)
        self.pid = pid
        self._surroundings: tuple[list[str], dict[str, str], str] | None = None

    def task(self) -> str:
        return f"/proc/{self.pid}"

    def packed(self, thing: object) -> object:
        __tracebackhide__ = True  # the arguments of what opens a storage are its URL, with its password
        # What is pickled by name must be found there, too, and what it opens may be named relatively, or by the
        # environment of a test that came long after the process.
        surroundings = list(sys.path), _environment(), os.getcwd()
        if self._surroundings != surroundings:
            self._told("surroundings", surroundings)
            self._surroundings = surroundings
        return pickled(thing, _called(thing))

    def end(self) -> None:
        self.alive = False
        if self.channel.closed:
            return  # by an end before
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        # Its end of the channel closes when the kernel has dropped its locks and connections: after this they
        # are gone.
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(EOFError, ConnectionError):
            while self.channel.poll(max(0.0, deadline - time.monotonic())):
                self.channel.recv()
        self.channel.close()


def _called(thing: object) -> str:
    """What the words of an error call it; without its arguments, among which a URL with a password may be."""
    if isinstance(thing, tuple):
        return "what a client is to do"
    return f"what opens a storage ({name_of(thing) if callable(thing) else type(thing).__name__})"


def _environment() -> dict[str, str]:
    # pytest says there at every moment which test it is running: no storage's business.
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


class _Thread(Client):
    def __init__(self) -> None:
        here, there = Pipe()
        super().__init__(here)
        self._things: dict[int, object] = {}
        self._numbers = itertools.count()
        self._opened: Callable[[], Any] | None = None
        # A daemon: one that is stuck in a lock for good must not keep the interpreter from ending.
        self._thread = threading.Thread(
            target=serve, args=(there, self._things.pop), name="race client", daemon=True
        )
        self._thread.start()

    def task(self) -> str:
        return f"/proc/self/task/{self._thread.native_id}"

    def packed(self, thing: object) -> object:
        number = next(self._numbers)
        self._things[number] = thing
        return number

    def open(self, opener: Callable[[], Any]) -> None:
        # By identity: a number of its own for each message would open the same storage again.
        if self._opened is not opener:
            super().open(opener)
            self._opened = opener

    def close(self) -> None:
        super().close()
        self._opened = None

    def end(self) -> None:
        self.alive = False
        self.channel.close()


class ClientPool:
    """Clients that are started once and used for one race after another. A context manager.

    Raises:
        UnsupportedOperationError: clients of their own process were asked for where there is no ``fork``.
    """

    def __init__(self) -> None:
        self._nursery: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._processes: list[_Process] = []
        self._threads: list[_Thread] = []

    def clients(self, number: int, *, threads: bool = False) -> list[Client]:
        """Return so many clients, started now or before. They belong to the caller until the next call.

        Args:
            number: how many.
            threads: whether they are threads of this process.
        """
        pool: list[Any] = self._threads if threads else self._processes
        pool[:] = [client for client in pool if client.is_idle()]
        while len(pool) < number:
            pool.append(_Thread() if threads else self._forked())
        return list(pool[:number])

    def start(self) -> None:
        """Start the nursery, so that its imports run while the caller does something else."""
        if self._nursery is None:
            self._nursery = _start_nursery()

    def close(self) -> None:
        """End all clients. Idempotent."""
        for client in (*self._processes, *self._threads):
            client.channel.close()
        self._processes.clear()
        self._threads.clear()
        if self._nursery is not None:
            process, control = self._nursery
            self._nursery = None
            control.close()  # at which the nursery kills what it has forked, and ends
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _forked(self) -> _Process:
        self.start()
        assert self._nursery is not None
        control = self._nursery[1]
        here, there = socket.socketpair()
        with there:
            try:
                socket.send_fds(control, [b"f"], [there.fileno()])
                pid = int.from_bytes(_exactly(control, 8), "big")
            except BaseException as error:
                # Also by Ctrl-C: the answer that was not read must not be taken for that to the next request.
                here.close()
                self.close()
                if isinstance(error, OSError):
                    raise RaceError(f"the process that starts clients has ended: {error}") from error
                raise
        return _Process(Connection(here.detach()), pid)


def _start_nursery() -> tuple[subprocess.Popen[bytes], socket.socket]:
    if not hasattr(os, "fork"):
        raise UnsupportedOperationError("races between processes need os.fork, which this system has not")
    here, there = socket.socketpair()
    here.settimeout(PATIENCE)
    root = str(Path(__file__).resolve().parents[2])  # of whichever copy of this package is running here
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with there:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__package__}._client import main; main({there.fileno()})"],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is ours to handle: the terminal sends it to all of a group
            env={**os.environ, "PYTHONPATH": path},
        )
    return process, here


def _exactly(connection: socket.socket, number: int) -> bytes:
    received = b""
    while len(received) < number:
        chunk = connection.recv(number - len(received))
        if not chunk:
            raise ConnectionResetError("it hung up")
        received += chunk
    return received
