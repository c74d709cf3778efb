"""Stop a process at every call that makes data durable, by a seccomp filter (Linux 5.5 and later; no root needed).

The process puts the filter on itself, and all that it starts inherit it. It gives away a descriptor by which somebody
else is told of each such call at its entry, while the caller stands still, and lets it go on.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if sys.platform != "win32":
    import fcntl
if TYPE_CHECKING:
    import socket

__all__ = [
    "FSYNC",
    "MSYNC",
    "SYNC",
    "UNSEEN",
    "Call",
    "filter_this_process",
    "give_away",
    "let_go_on",
    "receive_call",
    "still_there",
    "unsupported",
]

FSYNC, MSYNC, SYNC, UNSEEN = "fsync", "msync", "sync", "unseen"
"""What a call makes durable: the file that its first argument is open for; the file that is mapped there; every file;
or what is written, of which nothing more is seen."""

# The architecture's number and those of its calls. `sync_file_range` is none of them: it promises nothing, and
# PostgreSQL uses it as a hint.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        {"fsync": 74, "fdatasync": 75, "msync": 26, "sync": 162, "syncfs": 306}
        | {"open": 2, "openat": 257, "pwritev2": 328, "seccomp": 317},
    ),
    "aarch64": (
        0xC00000B7,
        {"fsync": 82, "fdatasync": 83, "msync": 227, "sync": 81, "syncfs": 267}
        | {"openat": 56, "pwritev2": 287, "seccomp": 277},
    ),
}
_MEANING = {"fsync": FSYNC, "fdatasync": FSYNC, "msync": MSYNC, "sync": SYNC, "syncfs": SYNC}
# Of these the argument of that place must have one of those bits: MS_SYNC; O_DSYNC, which is a part of O_SYNC;
# RWF_DSYNC or RWF_SYNC.
_BITS = {"msync": (2, 0x4), "open": (1, 0x1000), "openat": (2, 0x1000), "pwritev2": (5, 0x6)}

_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_PR_SET_NO_NEW_PRIVS, _SET_FILTER, _GET_NOTIFICATION_SIZES = 38, 1, 3
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTICE, _ANSWER, _NUMBER = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI"), struct.Struct("Q")
_CONTINUE = 1
_ENOENT, _EINVAL, _EBUSY = 2, 22, 16
_SOL_SOCKET, _SCM_RIGHTS = 1, 1


class Call(NamedTuple):
    """A call at whose entry a thread stands still.

    Attributes:
        number: by which it is let go on.
        task: the thread's id.
        what: ``FSYNC``, ``MSYNC``, ``SYNC`` or ``UNSEEN``.
        argument: the first one.
    """

    number: int
    task: int
    what: str
    argument: int


def unsupported() -> str | None:
    """Why processes can't be stopped at their fsyncs on this system; None: they can."""
    if sys.platform != "linux":
        return f"it takes Linux, and this is {sys.platform}"
    machine = os.uname().machine
    if machine not in _MACHINES:
        return f"the numbers of system calls are known for {' and '.join(_MACHINES)}, and this is {machine}"
    try:
        import ctypes
    except ImportError as error:
        return f"this Python can't call the C library: {error}"
    sizes = (ctypes.c_uint16 * 3)()
    error_number, _ = _seccomp(ctypes, _GET_NOTIFICATION_SIZES, 0, ctypes.byref(sizes))
    if error_number:
        return f"the kernel offers no seccomp notifications ({os.strerror(error_number)}); Linux 5.5 does"
    if (sizes[0], sizes[1]) != (_NOTICE.size, _ANSWER.size):
        return f"the kernel's seccomp notifications have {sizes[0]} and {sizes[1]} bytes, which is not known here"
    return None


def filter_this_process() -> int:
    """Put the filter on this process, which must have one thread; returns the descriptor for `receive_call`.

    The process and all below it gain no privileges any more by running a set-user-ID program.

    Raises:
        OSError: the kernel refuses; with ``EBUSY`` another filter of the kind is there already.
    """
    import ctypes

    class Instruction(ctypes.Structure):
        _fields_ = (
            ("code", ctypes.c_uint16),
            ("if_true", ctypes.c_uint8),
            ("if_false", ctypes.c_uint8),
            ("operand", ctypes.c_uint32),
        )

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction)))

    rows = _program(os.uname().machine)
    program = Program(len(rows), (Instruction * len(rows))(*(Instruction(*row) for row in rows)))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs is refused")
    # No signal but SIGKILL shall wake who stands still at a call. Before Linux 5.19, any lets it call once more.
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        error, listener = _seccomp(ctypes, _SET_FILTER, flags, ctypes.byref(program))
        if error != _EINVAL:
            break
    if error:
        why = "; something watches its system calls already" if error == _EBUSY else ""
        raise OSError(error, f"the seccomp filter is refused: {os.strerror(error)}{why}")
    return listener


def give_away(inbox: socket.socket) -> None:
    """Put the filter on this process, and send the descriptor to a watcher. Raises as `filter_this_process`."""
    listener = filter_this_process()
    # The message itself says nothing; without one, no descriptor goes with it.
    inbox.sendmsg([b"l"], [(_SOL_SOCKET, _SCM_RIGHTS, struct.pack("i", listener))])
    os.close(listener)


def receive_call(listener: int) -> Call | None:
    """The next call; None where the caller has died meanwhile.

    Args:
        listener: what `filter_this_process` returned; wait until it is readable.
    """
    notice = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice, True)
    except OSError as error:
        if error.errno == _ENOENT:
            return None
        raise
    number, task, _, called, _, _, argument, *_ = _NOTICE.unpack(notice)
    names = {call: name for name, call in _MACHINES[os.uname().machine][1].items()}
    return Call(number, task, _MEANING.get(names[called], UNSEEN), argument)


def still_there(listener: int, call: Call) -> bool:
    """Whether the caller still stands there; asked after looking at it, which may have been somebody else by then."""
    try:
        fcntl.ioctl(listener, _IS_VALID, _NUMBER.pack(call.number))
    except OSError as error:
        if error.errno == _ENOENT:
            return False
        raise
    return True


def let_go_on(listener: int, call: Call) -> None:
    """Let the call be done. A caller that has died meanwhile is no error."""
    try:
        fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(call.number, 0, 0, _CONTINUE)), True)
    except OSError as error:
        if error.errno != _ENOENT:
            raise


def _program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter: (code, jump if true, jump if false, operand) of each instruction."""
    architecture, calls = _MACHINES[machine]
    rows = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _ALLOW),
    ]
    for name, number in calls.items():
        rows += [(_LOAD, 0, 0, 0)]
        if name in _BITS:
            place, bits = _BITS[name]
            rows += [
                (_IF_EQUAL, 0, 3, number),
                (_LOAD, 0, 0, 16 + 8 * place),
                (_IF_ANY_BIT, 0, 1, bits),
                (_RETURN, 0, 0, _NOTIFY),
            ]
        elif name in _MEANING:
            rows += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _NOTIFY)]
    return [*rows, (_RETURN, 0, 0, _ALLOW)]


def _seccomp(ctypes: Any, operation: int, flags: int, argument: Any) -> tuple[int, int]:
    """The error's number and the result of a call of ``seccomp``, for which C libraries have no function."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _MACHINES[os.uname().machine][1]["seccomp"]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), ctypes.c_ulong(operation), ctypes.c_ulong(flags), argument)
    return (ctypes.get_errno() if result < 0 else 0), result
