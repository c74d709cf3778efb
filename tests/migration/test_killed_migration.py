"""A migration that is killed at any moment, and run again: the same result as without."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_aistorage import AIStorage, open_storage
from pytest_aistorage.migration import read_records

KILLS = int(os.environ.get("MIGRATION_KILLS", "3"))
"""How often; ``nox -s migration`` kills 50 times."""

RECORDS = 2000
SECONDS = 120


@pytest.mark.ai_storage("postgres", "sqlite", "redis")
def test_killed_and_resumed(ai_storage: AIStorage, ai_storage_url: str, tmp_path: Path) -> None:
    """SIGKILL at random moments while records go in: the file is as it was, and each record is there once."""
    path = tmp_path / "training_metrics.json"
    text = json.dumps([{"modelName": f"model-{n}", "mse": n / 7, "epochs": n} for n in range(RECORDS)])
    path.write_text(text)
    command = [sys.executable, "-m", "pytest_aistorage.cli", "migrate", str(path), ai_storage_url]
    rng = random.Random(20261123)
    killed = 0
    for moment in sorted(rng.randrange(RECORDS) for _ in range(KILLS)):
        process = subprocess.Popen([*command, "--batch-size", "10"], stdout=subprocess.PIPE, text=True)
        try:
            wait_until_stored(ai_storage, moment, process)
            time.sleep(rng.uniform(0, 0.003))  # into the middle of a batch as well
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=SECONDS)
        killed += process.returncode == -signal.SIGKILL
    assert killed  # whatever ended before it was killed shows nothing
    done = subprocess.run(
        [*command, "--verify", "--json"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["complete"], result["verified"]) == (0, True, RECORDS)
    assert result["equal"] + result["added"] == RECORDS
    assert path.read_text() == text
    with open_storage("memory://") as expected:
        expected.save_many(read_records(path))
        wanted = [(r.model_name, r.mse, r.metadata, 1) for r in expected.load_progress()]
    assert [(r.model_name, r.mse, r.metadata, r.version) for r in ai_storage.load_progress()] == wanted


def wait_until_stored(storage: AIStorage, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many records are there, or the migration has ended."""
    deadline = time.monotonic() + SECONDS
    while storage.get_storage_info().model_count < count and process.poll() is None:
        assert time.monotonic() < deadline, "the migration does not go on"
        time.sleep(0.001)
