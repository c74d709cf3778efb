"""Run directories, and what is swept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from server_checks import ROOT

from pytest_aistorage.servers import RunDirectory
from pytest_aistorage.servers.supervisor.files import make_base, sweep


def test_a_run_directory_is_private_and_goes_with_close() -> None:
    """Only this user can enter it; a second close is nothing."""
    with RunDirectory() as run:
        assert run.path.stat().st_mode & 0o077 == 0
        (run.path / "file").touch()
    assert not run.path.exists()
    run.close()


def test_a_sweep_removes_what_is_stale_and_nothing_else(data_dir: Path) -> None:
    """A killed run's directory; not one in use, not a young one without a lock, not what is not ours."""
    used, alive = make_base(str(data_dir), traversable=False)
    code = (
        "import sys, os, signal; from pytest_aistorage.servers.supervisor.files import make_base; "
        "print(make_base(sys.argv[1], traversable=False)[0], flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data_dir)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL
    stale = Path(done.stdout.strip())
    assert stale.parent == data_dir
    young = data_dir / "aistorage-00000000"
    foreign = [data_dir / "aistorage-notes", data_dir / "aistorage-7y3w6ies", data_dir / "00000000"]
    for place in (young, *foreign):
        place.mkdir()
    for place in foreign:
        os.utime(place, (0, 0))
    assert stale.exists()
    sweep([str(data_dir), "/nonexistent"])
    assert not stale.exists()
    assert Path(used).exists()
    assert young.exists()
    assert all(place.exists() for place in foreign)
    os.utime(young, (0, 0))
    os.close(alive)
    sweep([str(data_dir)])
    assert not young.exists()
    assert not Path(used).exists()


def test_a_sweep_follows_no_symbolic_link(tmp_path: Path) -> None:
    """A link with the right name, put there by whomever, leads nowhere."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").touch()
    (tmp_path / "aistorage-00000000").symlink_to(target)
    sweep([str(tmp_path)])
    assert (target / "precious").exists()
