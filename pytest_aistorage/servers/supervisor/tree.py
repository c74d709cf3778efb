"""A server as what it is to the operating system: a process, its children, and theirs."""

from __future__ import annotations

import os
import sys
import time

__all__ = [
    "descendants",
    "freeze",
    "is_running",
    "kill_recorded",
    "kill_working_in",
    "signal_all",
    "started_at",
    "wait_stopped",
]

# By number: importing `signal` builds enumerations, which takes milliseconds.
SIGKILL, SIGTERM = 9, 15
SIGSTOP, SIGCONT = (17, 19) if sys.platform == "darwin" else (19, 18)


def _table() -> list[tuple[int, int]]:
    """Process id and parent's id of every process that can be seen."""
    rows: list[tuple[int, int]] = []
    if sys.platform != "linux":
        for line in _ps("-A", "-o", "pid=,ppid=").splitlines():
            pid, parent = line.split()
            rows.append((int(pid), int(parent)))
        return rows
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat_fields(int(name))):
            rows.append((int(name), int(fields[1])))
    return rows


def _ps(*arguments: str) -> str:
    import subprocess

    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout


def _stat_fields(pid: int | str) -> list[str]:
    """What follows the command's name in ``/proc/<pid>/stat``: the state, the parent, …; empty when gone.

    Args:
        pid: or ``"<pid>/task/<tid>"``, of one thread.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().decode("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """The process ids of a process's children, and theirs, parents first."""
    table = _table()
    found = [pid]
    for parent in found:
        found.extend(child for child, of in table if of == parent and child not in found)
    return found[1:]


def is_running(pid: int) -> bool:
    """Whether a process is there; one that is dead and waits for its parent to notice is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return not _ps("-o", "state=", "-p", str(pid)).startswith("Z")
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] not in "ZX"


def started_at(pid: int) -> str:
    """What tells a process from a later one with the same id; empty when it is gone."""
    if sys.platform != "linux":
        return _ps("-o", "lstart=", "-p", str(pid)).strip()
    fields = _stat_fields(pid)
    return fields[19] if len(fields) > 19 else ""


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to processes of which some may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def freeze(pid: int) -> list[int]:
    """Stop a process and all below it; returns them. A process that is stopped can't have more children."""
    frozen: list[int] = []
    fresh = [pid]
    while fresh:
        signal_all(fresh, SIGSTOP)
        frozen.extend(fresh)
        fresh = [child for child in descendants(pid) if child not in frozen]
    return frozen


def wait_stopped(pids: list[int], timeout: float) -> bool:
    """Wait, at most `timeout` seconds, until every thread of processes that were sent SIGSTOP stands still.

    The signal is taken by one of a process's threads, which stops the others: until that one has its turn, a server
    goes on answering.
    """
    deadline = time.monotonic() + timeout
    while not all(_is_stopped(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _is_stopped(pid: int) -> bool:
    if sys.platform != "linux":
        return _ps("-o", "state=", "-p", str(pid)).strip()[:1] in ("T", "Z", "")
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True
    states = (_stat_fields(f"{pid}/task/{task}") for task in tasks)
    return all(not fields or fields[0] in "TtZX" for fields in states)


def kill_recorded(path: str) -> None:
    """Kill the process that a file names (its id, and when it started), if it is still that one."""
    try:
        with open(path, encoding="ascii") as file:
            pid, _, started = file.read().partition(" ")
        number = int(pid)
    except (OSError, ValueError):
        return
    if started and started_at(number) == started:
        signal_all(freeze(number), SIGKILL)


def kill_working_in(directory: str) -> None:
    """Kill the processes whose working directory lies below a directory (Linux; elsewhere nothing)."""
    if sys.platform != "linux":
        return
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            at = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if at.startswith(directory + "/"):
            signal_all([pid], SIGKILL)
            wait_gone([pid], 5.0)


def wait_gone(pids: list[int], timeout: float) -> bool:
    """Wait, at most `timeout` seconds, until none of the processes is running."""
    deadline = time.monotonic() + timeout
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
