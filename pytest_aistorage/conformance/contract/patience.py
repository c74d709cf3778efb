"""A contract test ends, also on a storage that does not: it says where it was waiting."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

__all__ = ["LIMITS", "bounded"]

LIMITS = {"quick": 120.0, "normal": 300.0, "thorough": 3600.0}
"""By effort, the seconds that one contract test may take: no measure of speed, the slowest take a hundredth."""

_AGAIN = 30.0  # seconds until the next one, where closing hangs as well
_SHOWN = 6  # the innermost calls that a failure shows


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Fail the block if it does not end, with the calls in which it was waiting.

    By an alarm, which ends a wait for a lock, a socket or a sleep in the main thread. On Windows, in other threads
    and where somebody else set an alarm (pytest-timeout, say) nothing is bounded here.

    Args:
        seconds: how long it may take.
    """
    if (
        not hasattr(signal, "SIGALRM")
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
    ):
        yield
        return

    def fail(_number: int, frame: FrameType | None) -> None:
        waiting = traceback.extract_stack(frame)[-_SHOWN:]
        calls = "\n".join(f"  {call.filename}:{call.lineno} {call.name}: {call.line}" for call in waiting)
        pytest.fail(f"the test did not end within {seconds:g} s; it was waiting in\n{calls}", pytrace=False)

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
