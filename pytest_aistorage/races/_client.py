"""One client: opens a storage and runs operations as it is told, stopping where its seams say.

`main` is the nursery: a process that has imported the drivers, has no thread and no connection, and forks one
client after another. A fork takes milliseconds, where a new interpreter that imports SQLAlchemy takes some tenths
of a second.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ..errors import AIStorageError, OutcomeUnknownError
from ..storage import AIStorage
from .errors import RaceError
from .history import Operation
from .outcomes import Outcome
from .seams import Seams

__all__ = ["main", "serve"]

# Whatever of it is not installed no backend here will want.
_PRELOADED = (
    "pytest_aistorage.backends.file",
    "pytest_aistorage.backends.database",
    "pytest_aistorage.backends._psycopg",
    "pytest_aistorage.backends.redis",
    "pytest_aistorage.races.operations",
    "pytest_aistorage.races.schedule_history",
    "pytest_aistorage.races.calls",
    "pytest_aistorage.races.stress",
    "pymysql",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.mysql.pymysql",
)


class _End(BaseException):
    """The controller hung up in the middle of an operation."""


class _Pause:
    """The client's end of the talk at a seam; see `seams.Pause`."""

    def __init__(self, channel: Connection[Any, Any]) -> None:
        self._channel = channel

    def stop(self, did: str | None, told: tuple[Operation, ...] = ()) -> object:
        return self._say(("stop", did, told))

    def wait(self) -> None:
        self._say(("wait",))

    def _say(self, message: tuple[Any, ...]) -> object:
        try:
            self._channel.send(message)
            return self._channel.recv()[1]
        except (EOFError, OSError):
            raise _End from None


def serve(channel: Connection[Any, Any], load: Callable[[Any], Any] = pickle.loads) -> None:
    """Do what the channel says until it is closed.

    Args:
        channel: carries ``(command, argument)``; each is answered once or more, the last time with ``"done"``.
        load: turns what stands for an object in a message into the object.
    """
    storage: AIStorage | None = None
    held: Any = None
    try:
        while True:
            try:
                command, argument = channel.recv()
            except (EOFError, OSError):
                return
            label = ""
            try:
                if command == "surroundings":
                    sys.path[:], environ, directory = argument
                    os.environ.clear()
                    os.environ.update(environ)
                    os.chdir(directory)
                    outcome = Outcome("ok", None)
                elif command == "open":
                    if (
                        held != argument or storage is None
                    ):  # the same one again stays open, its connections with it
                        if storage is not None:
                            storage.close()
                        storage, held = None, argument
                        storage = load(argument)()
                        # Connected, its tables there: what it does once must not be part of a step.
                        with contextlib.suppress(AIStorageError):
                            storage.get_progress("nobody")
                    outcome = Outcome("ok", getattr(storage, "capabilities", None))
                elif command == "close":
                    if storage is not None:
                        storage.close()
                    storage = held = None
                    outcome = Outcome("ok", None)
                else:
                    assert storage is not None, "no storage was opened"
                    operation, seams = _loaded(load, argument)
                    label, outcome = _run(operation, storage, seams, channel)
            except Exception as error:
                outcome = _failed(error)
            _answer(channel, label, outcome)
    except _End:
        return
    finally:
        if storage is not None:
            with contextlib.suppress(Exception):
                storage.close()


def _run(
    operation: Callable[[AIStorage], Any],
    storage: AIStorage,
    seams: Seams | None,
    channel: Connection[Any, Any],
) -> tuple[str, Outcome]:
    if seams is None:
        return "", Outcome("ok", operation(storage))
    pause = _Pause(channel)
    with seams.watching(pause) as watch:
        if seams.starts_stopped:
            pause.stop(None)
        try:
            outcome = Outcome("ok", operation(seams.around(storage, watch)))
        except _End:
            raise
        except BaseException as error:  # also what sys.exit and pytest.fail raise: the client must answer
            outcome = _failed(error)
        told = seams.told(watch)
        return watch.last(), dataclasses.replace(outcome, operations=told) if told else outcome


def _loaded(load: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return load(argument)
    except Exception as error:  # whatever an import raises
        raise RaceError(
            f"a client can't load what it is to do: {type(error).__name__}: {error}; it must be importable by name"
        ) from error


def _failed(error: BaseException) -> Outcome:
    return Outcome("unknown" if isinstance(error, OutcomeUnknownError) else "failed", error=_portable(error))


def _portable(error: BaseException) -> Exception:
    """The error, if it survives pickling; else its name and words. Its cause stays here: it may be a driver's."""
    if not isinstance(error, Exception):  # raised over there it would end more than a test
        return RuntimeError(f"{type(error).__name__}: {error}")
    try:
        return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _answer(channel: Connection[Any, Any], label: str, outcome: Outcome) -> None:
    try:
        channel.send(("done", label, outcome))
    except (BrokenPipeError, ConnectionError):
        raise _End from None
    except Exception as error:  # the result can't be pickled; nothing of it was sent
        channel.send(("done", label, Outcome("failed", error=RuntimeError(f"no result to send: {error}"))))


# -- the nursery --------------------------------------------------------------------------------------------


def _nursery(control: socket.socket) -> None:
    """Fork a client for every descriptor that arrives; end them all when the other side hangs up."""
    children: set[int] = set()
    try:
        while True:
            paths, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            for pid in tuple(children):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    children.discard(pid)
            if not paths:
                return
            pid = os.fork()
            if not pid:
                control.close()
                _be_client(descriptors[0])
            os.close(descriptors[0])
            children.add(pid)
            control.sendall(pid.to_bytes(8, "big"))
    except ConnectionError:
        return  # it hung up before it had read everything
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _be_client(descriptor: int) -> None:
    status = 1
    try:
        serve(Connection(descriptor))
        status = 0
    finally:
        os._exit(status)  # never back into the nursery's frames


def main(descriptor: int) -> None:
    """Be the nursery.

    Args:
        descriptor: of the socket over which the descriptors of clients come.
    """
    for module in _PRELOADED:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    _nursery(socket.socket(fileno=descriptor))
