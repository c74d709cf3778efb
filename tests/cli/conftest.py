"""What the tests of the command line share: the command, as a user calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def aistorage():
    """Yields what runs the command and returns its completed process; its temporary files go to a place of ours."""
    # Not below tmp_path: where no Unix socket would fit below TMPDIR, servers use another place.
    place = Path(tempfile.mkdtemp(prefix="cli-"))

    def run(*arguments, cwd=None, **environment):
        chosen = command(*arguments)
        return subprocess.run(
            chosen, capture_output=True, text=True, timeout=120, cwd=cwd, env=env(**environment)
        )

    def command(*arguments):
        return [sys.executable, "-m", "pytest_aistorage.cli", *arguments]

    def env(**environment):
        ours = {"PYTHONPATH": str(ROOT), "TMPDIR": str(place)}
        return {**os.environ, **ours, **environment}

    run.command, run.env, run.place = command, env, place
    yield run
    shutil.rmtree(place)
