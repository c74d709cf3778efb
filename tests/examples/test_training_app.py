"""The example of an application whose planted bug a race finds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "training-app"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the command of its README prints, with servers from wherever there are any."""
    copy = tmp_path_factory.mktemp("app") / SOURCE.name
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (command,) = re.findall(r"^\$ pytest (.+)$", (copy / "README.md").read_text(), re.MULTILINE)
    arguments = command.replace("embedded", "process+embedded").split()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "AI_STORAGE_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    return done.stdout


def test_only_the_planted_bug_is_found(printed: str) -> None:
    """The way with the bug fails in every order, on each backend; one worker alone finds nothing."""
    failed = set(re.findall(r"^(test_training\.py::\S+) FAILED", printed, re.MULTILINE))
    assert failed == {
        f"test_training.py::test_two_workers_in_every_order[{backend}-record_epoch]"
        for backend in ("memory", "postgres", "redis")
    }
    assert printed.count(" PASSED") == 12


def test_the_failure_says_what_was_lost(printed: str) -> None:
    """How many orders lose an epoch, which one is the shortest, and how to run it again."""
    told = re.findall(r"^E +AssertionError: 4 of all 6 schedules of 2 clients", printed, re.MULTILINE)
    assert len(told) == 3
    assert "1 of 2 epochs were counted" in printed
    assert re.search(r"Replay: pytest 'test_training\.py::\S+' --ai-storage-replay=P\d:get", printed)
