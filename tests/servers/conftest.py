"""What the tests of the servers share: where servers may come from here, and what must be gone afterwards."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_aistorage.servers import Offer, ServerOptions, ServerSpec, survey

ROOT = Path(__file__).parents[2]
STARTER = Path(__file__).with_name("starter.py")
PATIENCE = 30.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait, at most ``PATIENCE`` seconds, for something that another process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.005)


def required(spec: str) -> bool:
    """Whether a server that is missing is a failure here."""
    named = [name.strip() for name in os.environ.get("AI_STORAGE_REQUIRE", "").split(",")]
    return spec in named or ("CI" in os.environ and spec in ("postgres", "redis"))


@functools.cache
def reaper_can_start() -> bool:
    """Whether testcontainers' reaper is switched off, or its image is here, or can be expected to be pulled."""
    import docker
    from testcontainers.core.config import testcontainers_config

    if testcontainers_config.ryuk_disabled or "CI" in os.environ:
        return True
    client = docker.from_env()
    try:
        client.images.get(testcontainers_config.ryuk_image)
    except docker.errors.DockerException:
        return False
    finally:
        client.close()
    return True


def offered(spec: str, provider: str, options: ServerOptions) -> Offer:
    """What a provider offers; skips (or, where the server is required, fails) when it is nothing."""
    parsed = ServerSpec.parse(spec)
    offers = {offer.provider: offer for offer in survey(parsed, options)}
    offer = offers[provider]
    if offer.available and "(to be pulled)" in offer.detail and "CI" not in os.environ:
        offer = Offer(provider, False, f"{offer.detail}", "pull the image")
    if offer.available and provider == "container" and not reaper_can_start():
        remedy = "set TESTCONTAINERS_RYUK_DISABLED=true"
        offer = Offer(provider, False, "the image of testcontainers' reaper is not here", remedy)
    if not offer.available:
        said = f"{spec} by {provider}: {offer.detail}. Remedy: {offer.remedy or 'none'}"
        if required(spec) and not any(one.available for one in offers.values()):
            pytest.fail(said)
        pytest.skip(said)
    return offer


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of data directories for all tests: made once, as for a user."""
    place = Path(tempfile.gettempdir()) / f"aistorage-tests-cache-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where servers put their data: on a path short enough for a socket, and passable for their user."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    place = Path(tempfile.mkdtemp(prefix="ais", dir=memory if roomy else "/tmp"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """The private directory of a run."""
    place = Path(tempfile.mkdtemp(prefix="aisrun"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def options(run_dir: Path, cache_dir: Path, data_dir: Path) -> ServerOptions:
    """Options with directories of this test's own; every provider, in the usual order."""
    return ServerOptions(run_dir=run_dir, cache_dir=cache_dir, data_dir=data_dir)


@pytest.fixture
def starter(options: ServerOptions) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that ask for a server, say so, and wait; those left at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(spec: str, provider: str, *more: str, run_dir: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, str(STARTER), spec, provider, str(run_dir or options.run_dir)]
        process = subprocess.Popen(
            [*command, str(options.cache_dir), str(options.data_dir), *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def processes_of(*places: Path) -> list[str]:
    """The processes whose working directory or open files lie below some directories (Linux)."""
    if sys.platform != "linux":
        return []
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            opened = [
                os.readlink(process / "cwd"),
                *(os.readlink(file) for file in (process / "fd").iterdir()),
            ]
            if any(f"{name}/".startswith(f"{place}/") for name in opened for place in places):
                found.append(f"{process.name}: {(process / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def nothing_left(options: ServerOptions) -> bool:
    """Whether no server, no supervisor and no data is left of a run."""
    assert options.data_dir is not None
    return not list(options.data_dir.iterdir()) and not processes_of(options.data_dir, options.run_dir)
