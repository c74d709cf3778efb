"""What the tests of the servers share: where servers may come from here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from echo import EchoServer, connect, exchange
from server_checks import ROOT, STARTER

from pytest_aistorage.servers import ServerOptions
from pytest_aistorage.servers.proxy import TCPProxy


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


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """An echo server."""
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[TCPProxy]:
    """A proxy before the echo server."""
    with TCPProxy(*echo.address) as made:
        yield made


@pytest.fixture
def client(proxy: TCPProxy) -> Iterator[socket.socket]:
    """A connection through the proxy that has been used."""
    with connect(proxy) as connection:
        assert exchange(connection, b"hello") == b"hello"
        yield connection
