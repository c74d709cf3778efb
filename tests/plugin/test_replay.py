"""The option ``--ai-storage-replay``: one schedule instead of all."""

from __future__ import annotations

import re

import pytest
from application import APPLICATION

import pytest_aistorage.conformance.contract  # noqa: F401  # else inner runs import it anew, and forget it again

TESTS = """
def test_orders(ai_storage_race):
    found = ai_storage_race.explore(count, count, setup=start, invariant=both)
    print("explored", found.schedules)


def test_without_any_order(ai_storage):
    assert ai_storage.load_progress() == []
"""

CONTRACT = """
import contextlib
import functools
import pytest
from pytest_aistorage.backends.{module} import {base}
from pytest_aistorage.capabilities import Capability
from pytest_aistorage.conformance import AIStorageContract


class Broken({base}):
    def __init__(self, where):
        super().__init__(where)
        self.capabilities |= {{Capability.LINEARIZABLE}}
        {fault}


class TestBroken(AIStorageContract):
    @pytest.fixture
    def ai_storage_opener(self, tmp_path):
        return functools.partial(Broken, {where})
"""


def replays(result):
    """The options that the failures of a run name, without the word that comes before them."""
    return re.findall(r"--ai-storage-replay=(\S+)", result.stdout.str())


def test_tests_that_explore_run_this_one_only(pytester, run):
    """One that fails fails again, by the full name as by the shrunk one; another passes."""
    pytester.makepyfile(APPLICATION + TESTS)
    first = run("--ai-storage=sqlite", "-k", "orders")
    first.assert_outcomes(failed=1)
    names = [*replays(first), "P1:get,P2:get,P2:save,P1:save"]
    assert len(names) == 2
    for name in names:
        again = run("--ai-storage=sqlite", "-k", "orders", f"--ai-storage-replay={name}")
        again.assert_outcomes(failed=1)
        again.stdout.fnmatch_lines(["*iolation in the one schedule that was replayed*"])
        assert replays(again) == [name]
    serial = "--ai-storage-replay=P1:get,P1:save,P2:get,P2:save"
    other = run("--ai-storage=sqlite", "-s", "-k", "orders", serial)
    other.assert_outcomes(passed=1)
    other.stdout.fnmatch_lines(["*explored 1*"])


def test_tests_that_do_not_explore_are_left_alone(pytester, run):
    """They run as ever, and are neither skipped nor deselected."""
    pytester.makepyfile(APPLICATION + TESTS)
    result = run("--ai-storage=memory", "-k", "without", "--ai-storage-replay=P1:get")
    result.assert_outcomes(passed=1, deselected=1)


@pytest.mark.parametrize(
    ("schedule", "step"), [("P1:get,P2", "'P2'"), ("P1:get,,P2:get", "''"), ("both", "'both'")]
)
def test_what_is_no_schedule_is_refused_at_the_start(pytester, run, schedule, step):
    """The error names the step that can't be read, before any test."""
    pytester.makepyfile("def test_never(): raise AssertionError")
    result = run(f"--ai-storage-replay={schedule}")
    assert result.ret is pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--ai-storage-replay: schedule: {step} is no step such as P1:read"])


def test_the_option_is_told(run):
    """``--help`` says what it is for."""
    run("--help").stdout.fnmatch_lines(["*--ai-storage-replay=SCHEDULE*"])


MEMORY = {
    "module": "memory",
    "base": "MemoryStorage",
    "fault": "self._store.lock = contextlib.nullcontext()",
    "where": "tmp_path.name",
}
FILE = {
    "module": "file",
    "base": "FileStorage",
    "fault": "pass",
    "where": 'tmp_path / "metrics.json"',
}


@pytest.fixture
def contract(pytester, run):
    """Runs one contract test of a broken storage; with a schedule, this one only. Returns the result."""

    def contract(storage, schedule=None):
        # A name of its own: clients live on from run to run, and have imported the one before.
        name = f"test_broken_{storage['module']}"
        pytester.makepyfile(**{name: CONTRACT.format(**storage)})
        given = [] if schedule is None else [f"--ai-storage-replay={schedule}"]
        return run("-rs", "-k", "interrupted_update_loses", f"{name}.py", *given)

    return contract


@pytest.mark.parametrize("storage", [MEMORY, FILE], ids=["threads", "processes"])
def test_a_contract_test_is_replayed(contract, storage):
    """Who interrupts a client at a line names the option, by which it fails again in the same way."""
    first = contract(storage)
    first.assert_outcomes(failed=1)
    (name,) = replays(first)
    assert re.search(":line[0-9]+,", name)
    again = contract(storage, name)
    again.assert_outcomes(failed=1)
    assert replays(again) == [name]
    other = contract(storage, "P1:run,P2:run")
    other.assert_outcomes(skipped=1)
    other.stdout.fnmatch_lines(["*inconclusive: nothing is wrong with P1:run,P2:run, the only schedule*"])


def test_a_contract_test_replays_what_is_done_to_a_file(contract):
    """A client can be stopped at the events of a file, too; where there is none, nothing was shown."""
    contract(FILE, "P1:read,P2:read,P2:write,P1:write").assert_outcomes(failed=1)
    kept = contract(FILE, "P1:read,P1:write,P2:read,P2:write")
    kept.stdout.fnmatch_lines(["*inconclusive: nothing is wrong with P1:read,P1:write,P2:read,P2:write,*"])
    result = contract(MEMORY, "P1:read,P2:read")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*inconclusive: no client of this test can be stopped as P1:read,P2:read says*"]
    )
