"""The process that stands between a server and its disk: each fsync passes through it, or is held there.

It runs under the server's user, since nobody else may be allowed to look at the server's open files: not even root,
where a container has taken that right from it. Under that user Python's own files may be out of reach, so all modules
are imported before, and no text is decoded by a codec that would have to be. It ends with the one who started it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from typing import Any

from .child import become
from .disk import Disk
from .files import remove_tree
from .fsyncs import FSYNC, MSYNC, SYNC, Call, let_go_on, receive_call, still_there
from .trouble import FailedError
from .wire import receive, send

__all__ = ["Watcher", "main", "start_watcher"]

_O_APPEND = 0o2000


class Watcher:
    """The starter's end: gives the watcher its orders.

    Args:
        control: a Unix socket, whose other end the watcher has.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def command(self, name: str, **arguments: Any) -> Any:
        """Have something done, one of the methods of `_Watch`; returns its result.

        Raises:
            FailedError: it failed, or the watcher has ended.
        """
        try:
            send(self._control.fileno(), {"do": name, "with": arguments})
            message = receive(self._control.fileno())
        except OSError:
            message = None
        if message is None:
            raise FailedError("the process that watches the server's fsyncs has ended")
        if "failed" in message:
            raise FailedError(message["failed"])
        return message["done"]

    def close(self) -> None:
        """End it."""
        self._control.close()


def start_watcher(directory: str, owner: tuple[int, int] | None) -> tuple[Watcher, socket.socket]:
    """Fork a watcher of the files below a directory. This process must have one thread.

    Args:
        directory: of the files.
        owner: uid and gid to run under; None leaves them.

    Returns:
        It, and a Unix socket: a descriptor that is sent there (`give_away`) is listened to from then on.
    """
    control, its_control = socket.socketpair()
    inbox, its_inbox = socket.socketpair()
    if os.fork() == 0:
        status = 1
        try:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            # A lock, a pipe's end: each would seem to be in use as long as we are there.
            kept = sorted((its_control.fileno(), its_inbox.fileno()))
            for low, high in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")], strict=True):
                os.closerange(low + 1, high)
            os.chdir(os.sep)
            if owner is not None:
                become(owner)
            _Watch(Disk(directory), its_control, its_inbox).run()
            status = 0
        except BaseException as error:
            print(f"watching: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(status)
    its_control.close()
    its_inbox.close()
    return Watcher(control), inbox


def main() -> None:
    """Be a watcher that was not forked: of a directory, with two open sockets, all named by arguments.

    The inbox has a path in a directory of its own, which is removed in the end: the starter may have been killed.
    """
    _, _, directory, control, inbox = sys.argv
    its_inbox = socket.socket(fileno=int(inbox))
    try:
        _Watch(Disk(directory), socket.socket(fileno=int(control)), its_inbox).run()
    finally:
        remove_tree(os.path.dirname(its_inbox.getsockname()))


class _Watch:
    """The watcher itself."""

    def __init__(self, disk: Disk, control: socket.socket, inbox: socket.socket) -> None:
        self._disk = disk
        self._control = control
        self._inbox = inbox
        self._poll = select.poll()
        self._held: list[tuple[int, Call]] = []
        self._allowed: int | None = None
        self._done = 0
        self._problem = ""

    def run(self) -> None:
        """Work until the starter is gone."""
        control, inbox = self._control.fileno(), self._inbox.fileno()
        self._poll.register(control, select.POLLIN)
        self._poll.register(inbox, select.POLLIN)
        while True:
            for descriptor, events in self._poll.poll():
                if descriptor == control:
                    message = receive(control)
                    if message is None:
                        return
                    send(control, self._obey(message))
                elif descriptor == inbox:
                    self._listen()
                elif events & select.POLLIN:
                    self._pass_through(descriptor)
                else:  # all its callers have ended
                    self._poll.unregister(descriptor)
                    self._held = [held for held in self._held if held[0] != descriptor]
                    os.close(descriptor)

    # --- orders

    def sync(self) -> None:
        """Take all that is there for durable."""
        self._disk.sync()

    def hold(self, after: int) -> None:
        """Let so many more calls pass; who comes then stands still before his call is done."""
        self._allowed = after

    def release(self) -> None:
        """Let all pass, in the order in which they came."""
        self._allowed = None
        held, self._held = self._held, []
        for listener, call in held:
            self._do(listener, call)

    def count(self) -> tuple[int, int]:
        """How many calls have passed, and how many are held."""
        return self._done, len(self._held)

    def cut(self) -> None:
        """Put the files back to what is durable. The processes must have ended."""
        if self._problem:
            raise FailedError(self._problem)
        self._disk.cut()
        self._held.clear()
        self._allowed = None

    # --- inside

    def _obey(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"done": getattr(self, message["do"])(**message["with"])}
        except Exception as error:
            return {"failed": str(error)}

    def _listen(self) -> None:
        _, descriptors, _, _ = socket.recv_fds(self._inbox, 1, 1)
        if not descriptors:  # nobody will send any more
            self._poll.unregister(self._inbox.fileno())
        for descriptor in descriptors:
            self._poll.register(descriptor, select.POLLIN)

    def _pass_through(self, listener: int) -> None:
        try:
            call = receive_call(listener)
        except OSError as error:
            if error.errno == errno.ENOTCONN:  # they have all ended; the next poll says so
                return
            raise
        if call is None:
            return
        if self._allowed == 0:
            self._held.append((listener, call))
            return
        if self._allowed is not None:
            self._allowed -= 1
        self._do(listener, call)

    def _do(self, listener: int, call: Call) -> None:
        try:
            self._note(listener, call)
        except OSError as error:
            if still_there(listener, call):
                self._problem = f"what an {call.what} was about can't be read: {error}"
        self._done += 1
        let_go_on(listener, call)

    def _note(self, listener: int, call: Call) -> None:
        """Take down what the call makes durable, while its caller stands still."""
        if call.what == SYNC:
            self._disk.sync()
        elif call.what in (FSYNC, MSYNC):
            seen = f"/proc/{call.task}/fd/{call.argument}" if call.what == FSYNC else _mapped(call)
            path = os.readlink(seen) if call.what == FSYNC else seen
            descriptor = os.open(seen, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                appended = call.what == FSYNC and _is_appending(call)
                # After it was opened: the caller may have died, and its number been given to somebody else.
                if still_there(listener, call):
                    self._disk.fsync(descriptor, path, appended=appended)
            finally:
                os.close(descriptor)
        else:
            self._problem = (
                "files were written with O_SYNC, O_DSYNC or RWF_DSYNC, which makes each write durable without a "
                "call that could be seen: choose a setting by which the server calls fsync or fdatasync"
            )


def _is_appending(call: Call) -> bool:
    with open(f"/proc/{call.task}/fdinfo/{call.argument}", "rb") as file:
        flags = next(line.split()[1] for line in file if line.startswith(b"flags:"))
    return bool(int(flags, 8) & _O_APPEND)


def _mapped(call: Call) -> str:
    """The path of the file that is mapped at an address."""
    with open(f"/proc/{call.task}/maps", "rb") as file:
        for line in file:
            start, end = (int(address, 16) for address in line.split(b" ", 1)[0].split(b"-"))
            if start <= call.argument < end:
                return os.fsdecode(line.split(None, 5)[5].rstrip(b"\n"))
    raise FileNotFoundError(f"no file is mapped at {call.argument:#x}")
