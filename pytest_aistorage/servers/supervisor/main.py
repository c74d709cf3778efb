"""The supervisor's life: start the server, obey, wait until nobody needs it, clean up."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

from .lease import wait_until_unused
from .wire import receive, send

__all__ = ["Engine", "detach", "main", "supervise"]

_COMMANDS = ("kill", "stop", "restart", "pause", "resume")
_POWER_COMMANDS = ("cut_power", "hold_fsyncs", "release_fsyncs", "sync_fsyncs", "count_fsyncs")


class Engine(Protocol):
    """What a supervisor runs: a server out of binaries, or a container."""

    def start(self) -> dict[str, Any]:
        """Start it; returns what the starter wants to know."""

    def remove(self) -> None:
        """End it for good, whatever its state, and remove all that it had."""

    def sweep(self) -> None:
        """Remove what others have left behind."""


def detach() -> None:
    """Leave the starter's session and family: no terminal's signal reaches us, and nobody waits for us."""
    if sys.platform != "win32":
        if os.fork():
            os._exit(0)
        os.setsid()


def supervise(engine: Engine, plan: dict[str, Any], commands: int, replies: int) -> None:
    """Run a server until nobody holds its lease.

    Args:
        engine: the server.
        plan: ``lease`` (path of the file of which every user holds the shared lock), ``record`` (where to
            write who the server is, or None) and ``record_text`` (in which ``@host@ @port@ @version@
            @data@ @alive@ @pid@`` are filled in), ``linger`` (seconds), ``stop_file``; the rest is the engine's.
        commands: a pipe with the owner's commands; its end means that there will be none.
        replies: a pipe for the answers.
    """
    try:
        lease = os.open(plan["lease"], os.O_RDWR)
    except FileNotFoundError:  # the run is over already
        return
    disowned = False
    try:
        try:
            answer = engine.start()
        except Exception as error:
            engine.remove()
            # A starter that hears it may try again with the same lease.
            disowned = _reply(replies, {"failed": str(error)})
            return
        if plan["record"] is not None:
            _write_record(plan["record"], plan["record_text"], answer)
        _reply(replies, {"ready": answer})
        _sweep(engine)
        while (message := receive(commands)) is not None:
            _reply(replies, _obey(engine, message))
        wait_until_unused(lease, plan["lease"], plan["linger"], plan["stop_file"])
    finally:
        # Holding the exclusive lock: who wants to join now waits, and finds nothing to join.
        engine.remove()
        if not disowned:
            _unlink_files(plan)
        _sweep(engine)


def _obey(engine: Engine, message: dict[str, Any]) -> dict[str, Any]:
    command = message["do"]
    try:
        if command not in _COMMANDS + _POWER_COMMANDS:
            raise ValueError(f"no command {command!r}")
        result = getattr(engine, command)(**message["with"])
    except Exception as error:
        return {"failed": str(error)}
    return {"done": result}


def _sweep(engine: Engine) -> None:
    try:
        engine.sweep()
    except Exception as error:  # of whatever kind: it is not about our own server, which must go on
        print(f"sweeping: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _reply(replies: int, message: dict[str, Any]) -> bool:
    """Answer; False when the starter is gone, which we see by the lease too."""
    try:
        send(replies, message)
    except OSError:
        return False
    return True


def _write_record(path: str, text: str, answer: dict[str, Any]) -> None:
    for name, value in {**answer, "pid": os.getpid()}.items():
        text = text.replace(f"@{name}@", str(value))
    unfinished = f"{path}.{os.getpid()}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, text.encode())
    os.close(descriptor)
    os.replace(unfinished, path)


def _unlink_files(plan: dict[str, Any]) -> None:
    for path in (plan["record"], plan["users"], plan["lease"]):
        if path is not None:
            _unlink_own(path, plan)
    if os.path.exists(plan["log"]) and not os.path.getsize(plan["log"]):
        os.unlink(plan["log"])


def _unlink_own(path: str, plan: dict[str, Any]) -> None:
    """Remove a file of this server; the record may be a successor's by now."""
    try:
        if path == plan["record"]:
            with open(path, encoding="utf-8") as file:
                if os.path.basename(plan["lease"]) not in file.read():
                    return
        os.unlink(path)
    except OSError:
        return


def main() -> None:
    """Read the plan from standard input and live by it."""
    detach()
    plan = receive(0)
    if plan is not None:
        from .engine import ProcessEngine

        if sys.platform != "win32":
            import signal

            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        supervise(ProcessEngine(plan), plan, 0, 1)
