"""The fixture ``ai_storage_race`` in a run of its own."""

from __future__ import annotations

import re

from application import APPLICATION

TESTS = """
def test_orders(ai_storage_race):
    ai_storage_race.explore(count, count, setup=start, invariant=both)


def test_one_client(ai_storage_race):
    result = ai_storage_race(count, processes=1, operations=2, setup=start, invariant=both)
    assert result.seed == 5
"""


def test_the_schedule_that_fails_is_run_again_by_its_name(pytester, run):
    """On each backend the failure names a command, and that fails in the same way; another schedule passes."""
    pytester.makepyfile(test_app=APPLICATION + TESTS)
    backends = "--ai-storage=memory,sqlite"
    result = run(backends, "--ai-storage-seed=5")
    result.assert_outcomes(passed=2, failed=2)
    commands = re.findall(r"Replay: pytest '?(\S+?)'? --ai-storage-replay=(\S+)", result.stdout.str())
    assert [node for node, _ in commands] == [
        "test_app.py::test_orders[memory]",
        "test_app.py::test_orders[sqlite]",
    ]
    for node, schedule in commands:
        again = run(backends, f"--ai-storage-replay={schedule}", node)
        again.assert_outcomes(failed=1)
        again.stdout.fnmatch_lines(["*one schedule that was replayed*"])
        run(backends, "--ai-storage-replay=P1:get,P1:save", node).assert_outcomes(passed=1)


def test_the_failure_is_not_buried_in_source(pytester, run):
    """The traceback ends at the test's own line."""
    pytester.makepyfile(test_app=APPLICATION + TESTS)
    result = run("--ai-storage=memory", "-k", "orders")
    assert "explore_functions" not in result.stdout.str()
