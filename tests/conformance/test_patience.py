"""A storage that never answers makes a contract test fail, not wait for ever."""

from __future__ import annotations

import signal
import threading
from textwrap import dedent

import pytest

from pytest_aistorage.conformance.contract import patience

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs alarms, which Windows has not")

SUITE = """
    import functools
    import threading

    import pytest

    from pytest_aistorage import MemoryStorage
    from pytest_aistorage.conformance import AIStorageContract


    class Hanging:
        def __init__(self):
            self.good = MemoryStorage()

        def __getattr__(self, name):
            return getattr(self.good, name)

        def get_progress(self, model_name):
            threading.Lock().acquire()
            threading.Event().wait()

        def close(self):
            threading.Event().wait()


    class TestHanging(AIStorageContract):
        @pytest.fixture
        def ai_storage_opener(self):
            return Hanging
"""


def test_endless_wait_fails_and_says_where() -> None:
    """What waits longer than its limit is ended, with the calls in which it was waiting."""
    held = threading.Lock()
    held.acquire()

    def waits_for_a_lock() -> None:
        held.acquire()

    with pytest.raises(pytest.fail.Exception) as failure, patience.bounded(0.05):
        waits_for_a_lock()
    assert "did not end within 0.05 s" in str(failure.value)
    assert "waits_for_a_lock" in str(failure.value)


def test_what_ends_in_time_is_left_alone() -> None:
    """Behind the block no alarm is set, and the handler is what it was."""
    with patience.bounded(60.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_alarms_of_others_are_left_alone() -> None:
    """Where somebody else waits for the alarm, pytest-timeout say, it stays theirs."""

    def theirs(*_: object) -> None:
        """Never called."""

    signal.signal(signal.SIGALRM, theirs)
    try:
        with patience.bounded(0.01):
            assert signal.getsignal(signal.SIGALRM) is theirs
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_storage_that_never_answers_fails_its_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test of such a storage ends, and so does closing it."""
    monkeypatch.setattr(patience, "LIMITS", dict.fromkeys(patience.LIMITS, 0.2))
    monkeypatch.setattr(patience, "_AGAIN", 0.2)
    pytester.makepyfile(test_suite=dedent(SUITE))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "test_unknown_model_is_none")
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*did not end within 0.2 s; it was waiting in*", "*get_progress*"])
