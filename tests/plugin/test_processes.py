"""Several workers, several runs, and runs that are killed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("xdist", reason="pytest-xdist is not installed: pip install pytest-xdist")

WORK = """
    import os, pathlib, pytest
    from pytest_aistorage import AIProgress

    @pytest.mark.parametrize("i", range(8))
    def test_it(i, ai_storage, ai_storage_url, request):
        assert ai_storage.load_progress() == []
        ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
        worker = os.environ.get("PYTEST_XDIST_WORKER", "none")
        with open(pathlib.Path(__file__).with_name("seen"), "a") as file:
            file.write(f"{worker} {ai_storage_url}\\n")
"""


@pytest.fixture
def place():
    """A directory for temporary files that a server's unprivileged user can pass, as it can pass /tmp."""
    path = Path(tempfile.mkdtemp(prefix="aistorage-place-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def _seen(pytester):
    lines = (pytester.path / "seen").read_text().splitlines()
    return [line.split() for line in lines]


def test_one_server_for_all_workers(pytester, run, local_postgres, local_redis):
    """All workers share one server of a kind, each with a database of its own; the end says which they were."""
    pytester.makepyfile(WORK)
    result = run("-n2", "--dist=each", "--ai-storage=postgres,redis", subprocess=True)
    result.assert_outcomes(passed=32)
    (line,) = [line for line in result.outlines if line.startswith("aistorage:")]
    assert re.fullmatch(r"aistorage: postgres: PostgreSQL .*\), redis: \w+ .*\)", line)
    for scheme in ("postgresql", "redis"):
        used = {(worker, url) for worker, url in _seen(pytester) if url.startswith(scheme)}
        assert len(used) == len({worker for worker, _ in used}) == len({url for _, url in used}) == 2
        assert len({url.rpartition("/")[0] for _, url in used}) == 1


def test_policy_over_workers(pytester, run):
    """Skips are counted over all workers, and what is required counts once any worker ran it."""
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('i', range(4))\ndef test_it(i, ai_storage): ..."
    )
    result = run("-n2", "--ai-storage=memory,postgres", "--ai-storage-servers=url", subprocess=True)
    result.assert_outcomes(passed=4, skipped=4)
    result.stdout.fnmatch_lines(["aistorage: 4 tests not run on postgres: no postgres server: *"])
    result = run("-n2", "--ai-storage=memory", "--ai-storage-require=memory,file", subprocess=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["aistorage: ERROR: required, but no test ran on file"])


def test_deselected_over_workers(pytester, run):
    """Workers agree on what is deselected."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_aistorage import Capability

        @pytest.mark.ai_storage(requires=Capability.EXPIRY)
        def test_it(ai_storage): ...
        """
    )
    run("-n2", "--ai-storage=memory,file,sqlite", subprocess=True).assert_outcomes(passed=1)


def _start(pytester, place, *arguments):
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--ai-storage-servers=process+embedded",
    ]
    return subprocess.Popen(
        [*command, *arguments], cwd=pytester.path, env=environment, stdout=subprocess.PIPE, text=True
    )


def test_two_runs_at_once(pytester, clean_environment, place, local_postgres, local_redis):
    """Two runs on one machine don't meet."""
    pytester.makepyfile(WORK)
    one = _start(pytester, place, "--ai-storage=postgres,redis")
    two = _start(pytester, place, "--ai-storage=postgres,redis")
    for started in (one, two):
        output, _ = started.communicate(timeout=120)
        assert started.returncode == 0, output
        assert "16 passed" in output
    assert len({url.rpartition("/")[0] for _, url in _seen(pytester)}) == 4
    assert not list(place.glob("aistorage-run-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_kill_leaves_nothing(pytester, clean_environment, place, local_postgres, local_redis, workers):
    """After kill -9 of pytest no server listens and no data is there; the next run removes its directory."""
    pytester.makepyfile(
        """
        import pathlib, time

        def test_it(ai_storage, ai_storage_url):
            path = pathlib.Path(__file__).with_name("seen")
            with path.open("a") as file:
                file.write(f"x {ai_storage_url}\\n")
            time.sleep(60)
        """
    )
    seen = pytester.path / "seen"
    expected = 1 if workers == "-n0" else 2
    with _start(pytester, place, "--ai-storage=postgres,redis", workers) as run:
        try:
            _wait(
                lambda: run.poll() is not None or (seen.exists() and seen.read_text().count("\n") == expected)
            )
            assert run.poll() is None
            ports = [urlsplit(url).port for _, url in _seen(pytester)]
            assert all(_listens(port) for port in ports)
        finally:
            run.kill()
    _wait(lambda: not any(_listens(port) for port in ports))
    _wait(lambda: not _data(place))
    pytester.makepyfile(test_kill_leaves_nothing="def test_it(ai_storage): ...")
    with _start(pytester, place, "--ai-storage=sqlite") as run:
        assert "1 passed" in run.communicate(timeout=60)[0]
    assert not list(place.glob("aistorage-run-*"))


def _wait(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _data(place):
    """The files of servers below a directory that is just being removed; small ones are logs and locks."""
    sizes = {}
    for path in place.rglob("*"):
        with suppress(OSError):
            if path.is_file() and path.stat().st_size > 10_000:
                sizes[path] = path.stat().st_size
    return sizes


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
