"""What the tests of the servers check by: what is offered here, what must be gone afterwards."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
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
