"""A process and its threads, as the supervisor stops them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_aistorage.servers.supervisor.tree import SIGCONT, freeze, signal_all, wait_stopped

BUSY = """
import threading, time
def spin():
    while True: pass
for target in (spin, spin, lambda: time.sleep(60)):
    threading.Thread(target=target, daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


def states(pid: int) -> set[str]:
    """The states of a process's threads, one letter each."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: elsewhere threads are not to be seen")
def test_every_thread_stands_still() -> None:
    """SIGSTOP is taken by one thread, which has to get its turn; nothing runs any more when that was waited for."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            for _ in range(20):
                frozen = freeze(process.pid)
                assert wait_stopped(frozen, 30)
                assert states(process.pid) == {"T"}
                signal_all(frozen, SIGCONT)
        finally:
            process.kill()


def test_what_runs_on_is_told() -> None:
    """A process that nobody stopped does not stand still, however long one waits."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            assert not wait_stopped([process.pid], 0.05)
        finally:
            process.kill()
    assert wait_stopped([process.pid], 0.0)  # and one that is gone does
